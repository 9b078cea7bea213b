"""deepbet's two networks: of the box around the brain, and of the brain in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metakd_monai.apps.raw.volumes import largest_part
from metakd_monai.data.nifti import AXES

if TYPE_CHECKING:
    import torch

BOX_SIZE, MODEL_SIZE = (128,) * 3, (256,) * 3  # voxels for the two networks
BOX_MARGIN, BOX_LEAST = 0.1, 0.02
MEAN, SPREAD = 0.449, 0.226  # of intensities, as the networks expect


def load_deepbet(paths: list[Path]) -> list[Any]:
    """Read deepbet's two networks, of the box around the brain and of the brain in it."""
    import torch

    return [torch.jit.load(str(path), map_location="cpu").eval() for path in paths]


def find_with_deepbet(networks: list[Any], voxels: np.ndarray) -> np.ndarray:
    """Return the probability of brain ``(*S)`` by deepbet's networks."""
    import torch

    boxes, brain = networks
    image = torch.from_numpy(np.ascontiguousarray(voxels))
    small = resize(image, BOX_SIZE)
    low, high = small.quantile(0.005), small.quantile(0.995)
    with torch.inference_mode():
        rough = boxes(normalise(small, low, high)[None, None])[0, 1].numpy() > 0.5
        box = brain_box(rough, voxels.shape)
        inside = image[box]
        found = brain(normalise(resize(inside, MODEL_SIZE), low, high)[None, None])[0, 1]
    share = np.zeros(voxels.shape, np.float32)
    share[box] = resize(found, inside.shape).numpy()
    return share


def resize(image: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return ``(*S)`` in another shape, nearest neighbours, as deepbet was trained."""
    from torch.nn import functional

    return functional.interpolate(image[None, None].float(), tuple(shape), mode="nearest-exact")[0, 0]


def normalise(image: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Return intensities as deepbet's networks expect them."""
    clipped = ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return SPREAD * (clipped - clipped.mean()) / clipped.std().clamp(min=1e-6) + MEAN


def brain_box(mask: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the box of a brain in a volume of another shape, with a margin; the whole volume if there is no brain."""
    largest = largest_part(mask) if mask.any() else mask
    box = []
    for axis, size in enumerate(shape):
        others = tuple(other for other in range(AXES) if other != axis)
        inside = np.flatnonzero(largest.mean(axis=others) > BOX_LEAST)
        if not inside.size:
            return (slice(None),) * AXES
        scale = size / mask.shape[axis]
        low, high = inside[0] * scale, (inside[-1] + 1) * scale
        margin = BOX_MARGIN * (high - low)
        box.append(slice(max(0, round(low - margin)), min(size, round(high + margin))))
    return tuple(box)
