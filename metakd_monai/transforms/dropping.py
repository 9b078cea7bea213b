"""Simulated missing modalities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform


class RandDropModalitiesd(Randomizable, Transform):
    """Mark some of the available modalities as missing, as in the training of Sec. 8.

    Args:
        key: of the availability mask ``(N,)`` bool.
        law: ``"count"``: draw the number kept uniformly from 1..N, then the subset uniformly (the official code's law);
            ``"subset"``: uniform over all non-empty subsets (15 of four).
        prob: probability of dropping; otherwise all modalities are kept.

    Raises:
        ValueError: for an unknown law.
    """

    def __init__(self, key: str = "available", law: str = "count", prob: float = 1.0) -> None:
        if law not in ("count", "subset"):
            raise ValueError(f"law must be 'count' or 'subset', got {law!r}.")
        self.key, self.law, self.prob = key, law, prob

    def randomize(self, data: np.ndarray) -> np.ndarray:
        """Draw the modalities to keep from the indices of the available ones."""
        if self.R.random_sample() >= self.prob or len(data) == 0:
            return data
        if self.law == "subset":
            code = self.R.randint(1, 2 ** len(data))
            return data[[bool(code >> bit & 1) for bit in range(len(data))]]
        return self.R.permutation(data)[: self.R.randint(1, len(data) + 1)]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with some, but never all, of its modalities made unavailable."""
        available = torch.as_tensor(data[self.key])
        kept = self.randomize(available.nonzero().flatten().numpy())
        mask = torch.zeros_like(available)
        mask[torch.as_tensor(np.sort(kept))] = True
        return {**data, self.key: mask}
