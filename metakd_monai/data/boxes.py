"""Bounding boxes of masks."""

from __future__ import annotations

import numpy as np


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...]:
    """Return the bounding box of a non-empty mask ``(*S)``, with a margin in voxels, clipped to the array."""
    box = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(inside[0] - margin, 0), min(inside[-1] + 1 + margin, size)))
    return tuple(box)
