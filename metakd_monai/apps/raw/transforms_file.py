"""``transforms.json``: everything needed to resample from a case in SRI24 back to its raw series."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metakd_monai.apps.raw.template import AFFINE, SHAPE
from metakd_monai.data.files import read_json
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

FILE = "transforms.json"
EXPECTED = "what metakd prepare wrote"
MOST_VOXELS = 2**30  # of a series


@dataclass(frozen=True)
class RawGrid:
    """The grid of a raw series, and its position relative to the case.

    Attributes:
        shape: voxels along each axis.
        affine: ``(4, 4)``, from voxels to mm towards right, anterior, superior.
        from_case: ``(4, 4)``, from the world of the case (SRI24) to that of the series, rigid.
        file: the raw NIfTI file; None for a DICOM series.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    from_case: np.ndarray
    file: Path | None


def read_transforms(folder: Path) -> dict[Modality, RawGrid]:
    """Read the raw grids of a prepared case; raises UserError for invalid content."""
    path = folder / FILE
    content = read_json(path, EXPECTED)
    try:
        to_centre = read_matrix(content["case_to_centre"])
        return {Modality(name): read_grid(entry, to_centre) for name, entry in content["series"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise UserError(f"{path}: no record of raw grids found; expected {EXPECTED}") from None


def read_grid(entry: Mapping[str, Any], to_centre: np.ndarray) -> RawGrid:
    """Read one series; raises KeyError, TypeError or ValueError for invalid content."""
    shape = tuple(int(n) for n in entry["shape"])
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MOST_VOXELS:
        raise ValueError(f"shape {shape} found")
    from_case = read_matrix(entry["centre_to_series"]) @ to_centre
    file = entry.get("file")
    return RawGrid(shape, read_matrix(entry["affine"]), from_case, None if file is None else Path(file))


def read_matrix(content: Any) -> np.ndarray:
    """Return a matrix ``(4, 4)`` that can be inverted; raises ValueError for anything else."""
    matrix = np.array(content, dtype=float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-9:
        raise ValueError("a matrix that is not 4 x 4 and invertible found")
    return matrix


def case_grid() -> tuple[tuple[int, ...], np.ndarray]:
    """Return shape and affine of every prepared case."""
    return SHAPE, AFFINE
