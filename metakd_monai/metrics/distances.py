"""HD95 of two masks, in the three kinds that are in use; they differ, so every result names its kind.

- ``pooled``: the 95th percentile of both directions' surface distances taken together, as in
  ``medpy.metric.binary.hd95``. BraTS 2020 to 2022 (CaPTk).
- ``directed``: the larger of the two directions' 95th percentiles, as in MONAI's ``HausdorffDistanceMetric``.
- ``surface``: the larger of the two directions' area-weighted percentiles over surface elements between voxels, as in
  DeepMind's ``surface-distance``. BraTS 2023 and 2024.

Distances run from surface point to surface point, found in a k-d tree: no distance transform of a volume is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from scipy.spatial import KDTree

from metakd_monai.data.boxes import bounding_box

PERCENT = 95.0
LEAF_SIZE = 32  # points; larger than SciPy's own, since each tree is asked only once


def hd95(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], kind: str = "pooled") -> float:
    """Return the 95th percentile Hausdorff distance of two masks in mm.

    Args:
        prediction: ``(*S)`` bool, not empty.
        reference: ``(*S)`` bool, not empty.
        spacing: in mm, for each axis.
        kind: ``"pooled"``, ``"directed"`` or ``"surface"`` (three axes only).

    Raises:
        ValueError: for an empty mask, shapes that differ, or an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    if prediction.shape != reference.shape or len(spacing) != prediction.ndim:
        raise ValueError(f"masks {prediction.shape} and {reference.shape} and spacing {tuple(spacing)} do not match.")
    if not (prediction.any() and reference.any()):
        raise ValueError("HD95 of an empty mask is not defined.")
    box = bounding_box(prediction | reference)
    return KINDS[kind](prediction[box].astype(bool), reference[box].astype(bool), tuple(map(float, spacing)))


def border(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask ``(*S)`` with a face neighbour outside it; beyond the array all is outside."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis, size in enumerate(mask.shape):
        for start in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(start, start + size)
            inner &= padded[tuple(window)]
    return mask & ~inner


def distances_between(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances in mm from each true voxel of one mask to the nearest of the other, both ways round.

    Args:
        prediction: ``(*S)`` bool, P voxels true.
        reference: ``(*S)`` bool, Q voxels true.
        spacing: in mm.

    Returns:
        ``(P,)`` from the prediction and ``(Q,)`` from the reference, each in array order.
    """
    here, there = (np.argwhere(mask) * np.asarray(spacing, dtype=float) for mask in (prediction, reference))
    forth: np.ndarray = KDTree(there, leafsize=LEAF_SIZE).query(here)[0]
    back: np.ndarray = KDTree(here, leafsize=LEAF_SIZE).query(there)[0]
    return forth, back


def pooled_hd95(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> float:
    """Return the percentile, linearly interpolated, of the distances of both directions together."""
    both = np.concatenate(distances_between(border(prediction), border(reference), spacing))
    return float(np.percentile(both, PERCENT))


def directed_hd95(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> float:
    """Return the larger of the percentiles, linearly interpolated, of the two directions."""
    ways = distances_between(border(prediction), border(reference), spacing)
    return max(float(np.percentile(way, PERCENT)) for way in ways)


def surface_hd95(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> float:
    """Return the larger of the area-weighted percentiles, not interpolated, of the two directions."""
    codes = [corner_codes(mask) for mask in (prediction, reference)]
    edges = [(code != 0) & (code != 255) for code in codes]
    areas = [surface_areas(tuple(spacing))[code[edge]] for code, edge in zip(codes, edges, strict=True)]
    ways = distances_between(edges[0], edges[1], spacing)
    return max(weighted_percentile(way, area) for way, area in zip(ways, areas, strict=True))


def corner_codes(mask: np.ndarray) -> np.ndarray:
    """Return which of the eight voxels around each corner of the voxel grid are in a mask.

    Args:
        mask: ``(X, Y, Z)`` bool.

    Returns:
        ``(X+1, Y+1, Z+1)`` uint8, the first voxel in the highest bit.

    Raises:
        ValueError: when there are not three axes.
    """
    if mask.ndim != 3:
        raise ValueError(f"surface HD95 needs three axes, got a mask of shape {mask.shape}.")
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(product((0, 1), repeat=3)):
        window = tuple(slice(start, start + size) for start, size in zip(corner, codes.shape, strict=True))
        codes |= padded[window] << np.uint8(7 - bit)
    return codes


@lru_cache(maxsize=8)
def surface_areas(spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the area in mm2 of the surface at a corner, for each code ``(256,)``.

    The triangles are those of MONAI's table, which is DeepMind's. MONAI's own areas are float32; the percentile asks
    where a running sum crosses 95 %, so that they are made here in float64, as DeepMind's are.
    """
    from monai.metrics.utils import _get_neighbour_code_to_normals_table

    normals = np.asarray(_get_neighbour_code_to_normals_table(), dtype=float)  # (256, 4, 3)
    x, y, z = spacing
    areas: np.ndarray = np.linalg.norm(normals * (y * z, x * z, x * y), axis=-1).sum(axis=-1)
    return areas


def weighted_percentile(distances: np.ndarray, areas: np.ndarray) -> float:
    """Return the smallest distance ``(N,)`` up to which surface elements ``(N,)`` make up 95 % of the area."""
    order = np.lexsort((areas, distances))
    shares = np.cumsum(areas[order]) / np.sum(areas[order])
    place = min(int(np.searchsorted(shares, PERCENT / 100)), len(order) - 1)
    return float(distances[order][place])


KINDS = {"pooled": pooled_hd95, "directed": directed_hd95, "surface": surface_hd95}
