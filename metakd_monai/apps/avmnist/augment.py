"""Random changes of a batch of pairs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TURN, SCALE, SHIFT = 15.0, 0.15, 0.10  # degrees, share, share of the width
NOISE, LOUDNESS = 0.2, 0.2  # in standard deviations of a coefficient


def jitter(batch: dict[str, Any], seed: int) -> dict[str, Any]:
    """Turn, scale and shift images; add noise to sounds and change their loudness. Absent modalities stay NaN.

    Args:
        batch: may have ``image`` ``(B, 1, 28, 28)`` and ``sound`` ``(B, 1, 20, 20)``.
        seed: of all draws.
    """
    generator = torch.Generator().manual_seed(seed)
    changes = {"image": jitter_images, "sound": jitter_sounds}
    return {**batch, **{name: change(batch[name], generator) for name, change in changes.items() if name in batch}}


def jitter_images(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images ``(B, 1, H, W)``, each under its own affine map."""
    turn, scale, right, down = 2 * torch.rand(4, len(images), generator=generator) - 1
    angle = turn * TURN * math.pi / 180
    factor = 1 + scale * SCALE
    rows = [factor * angle.cos(), -factor * angle.sin(), 2 * SHIFT * right]
    rows += [factor * angle.sin(), factor * angle.cos(), 2 * SHIFT * down]
    grid = functional.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def jitter_sounds(sounds: Tensor, generator: torch.Generator) -> Tensor:
    """Return sounds ``(B, 1, 20, F)`` with noise, and another loudness (the first coefficient) where there is sound.

    Both are shares of each coefficient's standard deviation in the batch: the first's is fifteen times the last's.
    """
    heard = sounds != 0  # after the end of a recording there are zeros
    values = torch.where(heard, sounds, torch.nan)
    centred = values - values.nanmean(dim=(0, 3), keepdim=True)
    spread = centred.square().nanmean(dim=(0, 3), keepdim=True).sqrt().nan_to_num()  # (1, 1, 20, 1)
    noise = NOISE * spread * torch.randn(sounds.shape, generator=generator)
    noise[:, :, 0] += LOUDNESS * spread[:, :, 0] * torch.randn(len(sounds), 1, 1, generator=generator)
    return torch.where(heard, sounds + noise, sounds)
