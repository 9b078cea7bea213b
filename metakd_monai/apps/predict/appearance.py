"""Numbers that tell an unusual case from a usual one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metakd_monai.data.boxes import bounding_box
from metakd_monai.data.nifti import voxel_ml
from metakd_monai.vocabulary import MODALITY_NAMES, Modality

Appearance = dict[str, float]
Values = NDArray[np.floating[Any]]

BRIGHT = 99.5  # percentile; in 28 real brains the sign was right for all from 99 to 99.7, and here most clearly
ENOUGH = 500_000  # voxels sampled from a volume for percentiles


def measure_appearance(image: Tensor, available: Tensor, affine: ArrayLike) -> Appearance:
    """Measure what distinguishes unusual cases; no number depends on the intensity scale.

    Args:
        image: sequences, 0 outside the brain, ``(N, *S)``.
        available: which sequences are present, ``(N,)`` bool.
        affine: from voxels to mm, ``(4, 4)``.

    Returns:
        ``shortest_edge`` and ``longest_edge`` of a voxel in mm; ``brain_ml``, volume of the nonzero
        voxels; ``brain_share``, their share of the bounding box (an ellipsoid fills half of it, nonzero air all of it);
        and for each sequence present, from the percentiles p of its values in the brain:

        - ``<sequence>_skew``, (p95 + p5 - 2 p50) / (p95 - p5), which changes sign when contrast is reversed,
        - ``<sequence>_tails``, (p99 - p1) / (p75 - p25), large for outliers, small for cut-off values,
        - ``<sequence>_cover``, the share of the brain in which it is not 0, small where only a part was scanned;

        with T1 and T1ce, ``contrast``, see :func:`measure_contrast`.
    """
    there = available.tolist()
    given = {m: values.numpy() for m, values, is_there in zip(Modality, image, there, strict=True) if is_there}
    filled = {modality: values != 0 for modality, values in given.items()}
    brain = reduce(np.logical_or, filled.values())
    edges = voxel_sizes(np.asarray(affine, dtype=float))
    voxels, box = int(brain.sum()), math.prod(side.stop - side.start for side in bounding_box(brain))
    appearance = {
        "shortest_edge": float(min(edges)),
        "longest_edge": float(max(edges)),
        "brain_ml": voxels * voxel_ml(affine),
        "brain_share": voxels / box,
    }
    for modality, values in given.items():
        appearance |= {f"{modality.value}_{name}": value for name, value in measure_values(values).items()}
        appearance[f"{modality.value}_cover"] = int(filled[modality].sum()) / voxels
    if {Modality.T1, Modality.T1CE} <= given.keys():
        appearance["contrast"] = measure_contrast(given[Modality.T1], given[Modality.T1CE])
    return appearance


def measure_values(values: Values) -> Appearance:
    """Return skew and tails of the nonzero values ``(*S)``, see :func:`measure_appearance`."""
    sample = thin_out(values.ravel())
    p1, p5, p25, p50, p75, p95, p99 = np.percentile(sample[sample != 0], [1, 5, 25, 50, 75, 95, 99]).astype(float)
    tiny = np.finfo(np.float32).tiny  # percentiles may coincide in an image with few values
    return {"skew": (p95 + p5 - 2 * p50) / max(p95 - p5, tiny), "tails": (p99 - p1) / max(p75 - p25, tiny)}


def measure_contrast(t1: Values, t1ce: Values) -> float:
    """Return how much brighter the brightest voxels of T1ce ``(*S)`` are than those of T1, each scaled by quartiles.

    Contrast agent brightens few places, vessels and meninges in every brain, so the :data:`BRIGHT` percentile of T1ce
    is higher. If the files are exchanged, it is lower by as much, and the number is negative.
    """
    both = (t1 != 0) & (t1ce != 0)
    if not both.any():
        return 0.0
    dull, bright = (float(np.percentile(scale_by_quartiles(one[both]), BRIGHT)) for one in (t1, t1ce))
    return bright - dull


def scale_by_quartiles(values: Values) -> Values:
    """Return a sample of values ``(V,)`` minus their median, divided by their interquartile range."""
    sample = thin_out(values).astype(float)
    p25, p50, p75 = np.percentile(sample, [25, 50, 75])
    scaled: Values = (sample - p50) / max(p75 - p25, np.finfo(np.float32).tiny)
    return scaled


def thin_out(values: Values) -> Values:
    """Return every n-th of values ``(V,)``, enough for percentiles."""
    return values[:: max(1, values.size // ENOUGH)]


def part_of(appearance: Appearance, names: Sequence[str]) -> Appearance:
    """Return the appearance of a case as if only the named sequences were given."""
    others = set(MODALITY_NAMES) - set(names)
    kept = {name: value for name, value in appearance.items() if name.split("_")[0] not in others}
    if others & {Modality.T1.value, Modality.T1CE.value}:
        kept.pop("contrast", None)
    return kept
