"""Which modalities are there, and what a training step needs beside the prediction."""

from typing import Any

import torch
from torch import Tensor, nn


def find_available(x: Tensor) -> Tensor:
    """Tell which modalities are there when nobody says: a channel that is 0 or NaN all over is absent.

    Args:
        x: whole images (not windows of them), ``(B, N, *S)``.

    Returns:
        ``(B, N)`` bool.
    """
    return ~((x == 0) | torch.isnan(x)).flatten(2).all(dim=-1)


class WithFeatures(nn.Module):
    """A network seen through its ``forward_features``: what the trainer calls and what DDP may wrap."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, x: Tensor, available: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return prediction, features ``(B, N, C, *S)`` and availability ``(B, N)``.

        Args:
            x: images ``(B, N, *S)``.
            available: ``(B, N)``, or ``(B, K, N)`` for K subsets of each, see
                :meth:`~metakd_monai.networks.MetaKDUNet.forward_subsets`.
        """
        if available is not None and available.dim() == 3:
            return self.network.forward_subsets(x, available)
        return self.network.forward_features(x, available)
