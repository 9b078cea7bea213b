"""Which modalities are present."""

import torch
from torch import Tensor


def find_available(x: Tensor) -> Tensor:
    """Find which modalities are present if the caller does not say: a channel that is all 0 or NaN is absent.

    Args:
        x: whole images (not sliding windows), ``(B, N, *S)``.

    Returns:
        ``(B, N)`` bool.
    """
    return ~((x == 0) | torch.isnan(x)).flatten(2).all(dim=-1)


def check_input(x: Tensor, available: Tensor, in_channels: int) -> None:
    """Raise ValueError if x has a different number of channels, or if no modality is present."""
    if x.shape[1] != in_channels:
        raise ValueError(f"expected {in_channels} channels, one for each modality, got {x.shape[1]}.")
    if not bool(available.any()):
        raise ValueError("no modality is present: nothing to encode.")


def settle_available(x: Tensor, available: Tensor | None) -> Tensor:
    """Return which modalities of images ``(B, N, *S)`` are present, ``(B, N)`` bool.

    Args:
        x: images.
        available: ``(B, N)`` or one row for all, ``(1, N)``; without it see :func:`find_available`.
    """
    if available is None:
        return find_available(x)
    return available.to(device=x.device, dtype=torch.bool).expand(x.shape[0], -1)
