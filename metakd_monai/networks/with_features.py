"""The outputs that a training step needs beside the prediction, also for several subsets at once."""

from typing import Any

import torch
from torch import Tensor, nn

from metakd_monai.networks.fusion import scatter_rows


class WithFeatures(nn.Module):
    """A network whose ``forward`` is its ``forward_features``: the trainer calls it, and DDP may wrap it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, x: Tensor, available: Tensor | None = None) -> tuple[Any, ...]:
        """Return prediction, features ``(B, N, C, *S)`` and availability ``(B, N)``; then extras, if it has any.

        Args:
            x: images ``(B, N, *S)``.
            available: ``(B, N)``, or ``(B, K, N)`` for K subsets per sample, see :func:`segment_subsets`.
        """
        several = available is not None and available.dim() == 3
        forward = self.network.forward_subsets if several else self.network.forward_features
        found: tuple[Any, ...] = forward(x, available)
        return found


def segment_subsets(network: Any, x: Tensor, available: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Segment from several subsets of the modalities; each modality is encoded once, each distinct subset decoded once.

    Args:
        network: a :class:`~metakd_monai.networks.MetaKDUNet`.
        x: images, ``(B, N, *S)``.
        available: ``(B, K, N)`` bool, K subsets per sample.

    Returns:
        Logits of ``K * B`` samples, first subsets before second ones (each as from ``network.decode``); bottleneck
        features ``(B, N, C, *S)`` of the modalities in any subset, and which modalities these are, ``(B, N)``.
    """
    available = available.to(device=x.device, dtype=torch.bool)
    every = available.any(1)
    features = network.encode(x, every)
    decoded: dict[tuple[bool, ...], Tensor] = {}
    names = [tuple(one.flatten().tolist()) for one in available.unbind(1)]
    for name, one in zip(names, available.unbind(1), strict=True):
        if name not in decoded:
            decoded[name] = network.decode(features, one, None, list(x.shape[2:]), every)
    return torch.cat([decoded[name] for name in names]), scatter_rows(features[-1], every), every
