"""What classifiers of two modalities share that know which one will be missing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from metakd_monai.apps.classification.compared import ComparedClassifier


class ScarceClassifier(ComparedClassifier):
    """Classify two modalities, one of which is scarce in training and missing in testing.

    Args:
        scarce: place of the scarce modality.
        args: of MetaKDClassifier, with two encoders.
        kwargs: likewise.
    """

    head: nn.Sequential

    def __init__(self, *args: Any, scarce: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scarce = scarce

    def fill_scarce(self, features: Tensor, available: Tensor, told: Tensor) -> Tensor:
        """Return features ``(B, 2, C)`` with ``told`` ``(B, C)`` where the scarce modality is absent."""
        scarce = torch.where(available[:, self.scarce, None], features[:, self.scarce], told)
        return features.index_copy(1, torch.tensor([self.scarce], device=features.device), scarce[:, None])
