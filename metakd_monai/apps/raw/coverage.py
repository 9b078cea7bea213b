"""What part of a brain in SRI24 a raw series shows."""

from __future__ import annotations

import numpy as np
from nibabel.affines import apply_affine

from metakd_monai.apps.raw.template import AFFINE
from metakd_monai.apps.raw.volumes import Volume
from metakd_monai.data.boxes import bounding_box
from metakd_monai.data.nifti import AXES

SPARSE = 4  # voxels of SRI24 between those that tell how much of the brain a series shows


def cut_brain(brain: np.ndarray) -> tuple[tuple[slice, ...], Volume]:
    """Return the box of a brain in SRI24, and the brain in it, bool, with its affine."""
    box = bounding_box(brain)
    affine = AFFINE.copy()
    affine[:AXES, AXES] = apply_affine(AFFINE, [part.start for part in box])
    return box, Volume(brain[box], affine)


def share_covered(volume: Volume, matrix: np.ndarray, brain: np.ndarray) -> float:
    """Return the share of a brain in SRI24 that a volume, moved by a matrix, covers."""
    some = brain[::SPARSE, ::SPARSE, ::SPARSE]
    inside = covered(volume, matrix, some.shape, AFFINE @ np.diag([SPARSE, SPARSE, SPARSE, 1.0]))
    return float(inside[some].mean())


def covered(volume: Volume, matrix: np.ndarray, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Return the voxels of a grid in SRI24 that a volume, moved by a matrix, covers: ``(*shape)`` bool."""
    place = np.linalg.inv(volume.affine) @ matrix @ affine
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    inside = np.ones(shape, bool)
    for axis, size in enumerate(volume.voxels.shape):
        x = sum((np.float32(place[axis, n]) * axes[n] for n in range(AXES)), np.float32(place[axis, AXES]))
        inside &= (x >= -0.5) & (x <= size - 0.5)
    return inside
