"""Resample masks and maps of a case in SRI24 onto its raw series' grids, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy.ndimage import affine_transform

from metakd_monai.apps.raw.template import AFFINE
from metakd_monai.apps.raw.transforms_file import RawGrid
from metakd_monai.data.boxes import bounding_box
from metakd_monai.data.nifti import AXES
from metakd_monai.vocabulary import Label

SAMPLE_MM = 1.0  # mm between the points over which a voxel is averaged
OUTER_FIRST = (int(Label.OEDEMA), int(Label.NECROSIS))  # the others, enhancing tumour, are innermost


def labels_to_raw(labels: np.ndarray, grid: RawGrid) -> np.ndarray:
    """Return a label map on a raw grid, on which each region keeps its volume; see :func:`choose_labels`.

    Args:
        labels: ``(240, 240, 155)`` uint8 on the case's grid.
        grid: of the series.

    Returns:
        ``(*S)`` uint8.
    """
    found = np.zeros(grid.shape, np.uint8)
    box = box_on(grid, labels > 0)
    if box is None:
        return found
    found[box] = choose_labels(labels, lambda share: mean_over_voxels(share, grid, box))
    return found


def choose_labels(labels: np.ndarray, place: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return labels on another grid, on which all labels together, and the regions inside them, keep their volumes.

    A region gets the voxels that it fills most, as many as its shares of all voxels add up to. With a fixed limit of
    half a voxel, thin rims would shrink or grow by 5 % and small lesions would vanish between thick slices.

    Args:
        labels: ``(*S)`` uint8, some of them not 0.
        place: brings the share of a region, ``(*S)`` float32, onto the other grid.
    """
    values = [int(value) for value in np.unique(labels) if value]
    values.sort(key=lambda value: OUTER_FIRST.index(value) if value in OUTER_FIRST else len(OUTER_FIRST))
    found = within = None
    for number, value in enumerate(values):
        share = place(np.isin(labels, values[number:]).astype(np.float32))
        within = fullest(share, share > 0 if within is None else within)
        found = np.where(within, value, 0 if found is None else found)
    return np.asarray(found, np.uint8)


def fullest(share: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Return the voxels of ``within`` with the largest shares, as many as all shares add up to, bool."""
    count = min(round(float(share.sum(dtype=np.float64))), int(np.count_nonzero(within)))
    chosen = np.zeros(share.size, bool)
    places = np.flatnonzero(within)
    chosen[places[np.argsort(-share.ravel()[places], kind="stable")[:count]]] = True
    return chosen.reshape(share.shape)


def map_to_raw(values: np.ndarray, grid: RawGrid) -> np.ndarray:
    """Return a map ``(240, 240, 155)`` of floats on a raw grid, ``(*S)`` float32: the mean over each voxel."""
    return mean_over_voxels(values.astype(np.float32), grid, tuple(slice(0, n) for n in grid.shape))


def labels_to_case(labels: np.ndarray, grid: RawGrid, shape: Sequence[int]) -> np.ndarray:
    """Return labels that were drawn on a raw grid, ``(*S)`` uint8, on the case's grid; see :func:`choose_labels`."""
    if not labels.any():
        return np.zeros(shape, np.uint8)
    place = case_to_voxels(grid)
    return choose_labels(labels, lambda s: affine_transform(s, place[:AXES, :AXES], place[:AXES, AXES], shape, order=1))


def case_to_voxels(grid: RawGrid) -> np.ndarray:
    """Return the matrix ``(4, 4)`` from voxels of the case to those of a raw grid."""
    return np.asarray(np.linalg.inv(grid.affine) @ grid.from_case @ AFFINE)


def box_on(grid: RawGrid, mask: np.ndarray) -> tuple[slice, ...] | None:
    """Return the part of a raw grid that a mask on the case's grid can reach; None if it reaches nothing."""
    if not mask.any():
        return None
    ends = [(part.start - 1, part.stop) for part in bounding_box(mask)]
    corners = apply_affine(case_to_voxels(grid), np.array(list(product(*ends)), dtype=float))
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, grid.shape)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)) if (high > low).all() else None


def mean_over_voxels(values: np.ndarray, grid: RawGrid, box: tuple[slice, ...]) -> np.ndarray:
    """Return the mean of a volume over each voxel of a part of a raw grid, from points about 1 mm apart.

    Args:
        values: ``(*S)`` float32 on the case's grid, 0 outside.
        grid: of the series.
        box: the part.
    """
    place = np.linalg.inv(case_to_voxels(grid))
    counts = [max(1, int(np.ceil(edge / SAMPLE_MM - 1e-3))) for edge in voxel_sizes(grid.affine)]
    start = np.array([part.start for part in box])
    shape = tuple(part.stop - part.start for part in box)
    total = np.zeros(shape, np.float32)
    steps = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    for point in product(*steps):
        offset = apply_affine(place, start + np.array(point))
        total += affine_transform(values, place[:AXES, :AXES], offset, shape, np.float32, order=1)
    return total / float(np.prod(counts))
