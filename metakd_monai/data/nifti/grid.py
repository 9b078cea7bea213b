"""Compare grids, and compute the volume of a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metakd_monai.data.nifti.header import AXES, show
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Region, split_regions

TOLERANCE = 1e-3  # mm, for each entry of an affine; below the rounding of other programs
RELATIVE = 1e-5  # of an entry, for distant origins: affines are stored in 32 bits


def check_grid(
    where: str | Path,
    shape: Sequence[int],
    affine: np.ndarray,
    want_shape: Sequence[int],
    want_affine: np.ndarray,
    of: str,
) -> None:
    """Refuse a volume that is not on the grid of another volume.

    Args:
        where: for messages.
        shape: of the volume.
        affine: of the volume, ``(4, 4)``.
        want_shape: of the other volume, three axes.
        want_affine: of the other volume.
        of: name of the other volume, for messages.

    Raises:
        UserError: if it does not have three axes, has another shape, or an affine that differs by more than 1e-3 mm.
    """
    sizes, want_sizes = tuple(map(int, shape)), tuple(map(int, want_shape))
    if len(sizes) != AXES:
        raise UserError(f"{where}: shape {sizes} found; expected a 3-D volume")
    if sizes != want_sizes:
        raise UserError(f"{where}: shape {sizes} found; expected {want_sizes} as in {of}")
    have, want = np.asarray(affine, dtype=float), np.asarray(want_affine, dtype=float)
    if not np.allclose(have, want, atol=TOLERANCE, rtol=RELATIVE):
        found, wanted = (show(matrix[:AXES]) for matrix in (have, want))
        raise UserError(
            f"{where}: affine differs by {np.abs(have - want).max():.3g} from that of {of}; {found} found, expected"
            f" {wanted}, within {TOLERANCE:g}"
        )


def is_on_grid(shape: Sequence[int], affine: np.ndarray, want_shape: Sequence[int], want_affine: np.ndarray) -> bool:
    """Tell whether a volume is on the grid of another volume; see :func:`check_grid`."""
    try:
        check_grid("", shape, affine, want_shape, want_affine, "")
    except UserError:
        return False
    return True


def region_ml(labels: Any, affine: ArrayLike) -> dict[str, float]:
    """Return the volumes in mL of ET, TC and WT in a label map (array or tensor), with an affine ``(4, 4)`` in mm."""
    each = voxel_ml(affine)
    return {r.value: round(float(m.sum()) * each, 3) for r, m in zip(Region, split_regions(labels), strict=True)}


def voxel_ml(affine: ArrayLike) -> float:
    """Return the volume of a voxel in mL: the determinant of the affine, which includes shear."""
    return float(abs(np.linalg.det(np.asarray(affine, dtype=float)[:AXES, :AXES]))) / 1000
