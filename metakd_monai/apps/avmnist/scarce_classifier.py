"""What classifiers of two modalities share that know which one will be missing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metakd_monai.apps.classification.compared import ComparedClassifier


class ScarceClassifier(ComparedClassifier):
    """Classify two modalities, one of which is scarce in training and missing in testing.

    Args:
        encoders: as of MetaKDClassifier; two.
        features: length C of their features.
        out_channels: number of classes.
        hidden: width between the two fully connected layers.
        dropout: between them.
        scarce: place of the scarce modality.
    """

    head: nn.Sequential

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        features: int,
        out_channels: int,
        hidden: int = 64,
        dropout: float = 0.5,
        scarce: int = 1,
    ) -> None:
        super().__init__(encoders, features, out_channels, hidden, dropout)
        self.scarce = scarce
        self.add_parts(features, hidden)

    def add_parts(self, features: int, hidden: int) -> None:
        """Add what a subclass has beside encoders and head."""

    def fill_scarce(self, features: Tensor, available: Tensor, told: Tensor) -> Tensor:
        """Return features ``(B, 2, C)`` with ``told`` ``(B, C)`` where the scarce modality is absent."""
        scarce = torch.where(available[:, self.scarce, None], features[:, self.scarce], told)
        return features.index_copy(1, torch.tensor([self.scarce], device=features.device), scarce[:, None])
