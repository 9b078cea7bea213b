"""The calibration curve of a cross-validation's probabilities: its numbers, its error, its picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metakd_monai.apps.calibration.voxelwise import BINS, COLUMNS
from metakd_monai.data.files import write_safely
from metakd_monai.vocabulary import REGION_NAMES


class CurvePoint(NamedTuple):
    """One bin of probability: number of voxels, their mean probability, and the share that is in the region."""

    masks: str
    region: str
    lowest: float
    highest: float
    voxels: int
    probability: float
    share: float


def merge_counts(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the counts of all records, ``(C, B)`` by kind of masks and region; see :class:`Reliability`."""
    merged: dict[str, dict[str, NDArray[np.float64]]] = {}
    for record in records:
        for masks, regions in record["reliability"].items():
            for region, rows in regions.items():
                counts = np.array([rows[column] for column in COLUMNS], dtype=float)
                together = merged.setdefault(masks, {})
                together[region] = together.get(region, np.zeros_like(counts)) + counts
    return merged


def curve_points(records: Iterable[Mapping[str, Any]]) -> list[CurvePoint]:
    """Return the points of all curves; bins without voxels have none."""
    return [
        CurvePoint(masks, region, i / BINS, (i + 1) / BINS, int(voxels), chance / voxels, positive / voxels)
        for masks, regions in merge_counts(records).items()
        for region, counts in regions.items()
        for i, (voxels, positive, chance) in enumerate(counts.T)
        if voxels
    ]


def expected_error(points: Iterable[CurvePoint], masks: str, region: str) -> float:
    """Return the expected calibration error: the mean difference of probability and share, weighted by voxels."""
    mine = [point for point in points if (point.masks, point.region) == (masks, region)]
    total = sum(point.voxels for point in mine)
    return sum(point.voxels * abs(point.probability - point.share) for point in mine) / total if total else float("nan")


def draw_curves(path: Path, points: Iterable[CurvePoint]) -> None:
    """Write a PNG of the calibration curves, one panel for each region."""
    from matplotlib.figure import Figure

    every = list(points)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for region, axes in zip(REGION_NAMES, figure.subplots(1, len(REGION_NAMES), sharey=True), strict=True):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for masks in dict.fromkeys(point.masks for point in every):
            mine = [point for point in every if (point.masks, point.region) == (masks, region)]
            error = expected_error(every, masks, region)
            label = f"{masks}, ECE {error:.3f}"
            axes.plot([one.probability for one in mine], [one.share for one in mine], marker="o", ms=3, label=label)
        axes.set(title=region, xlabel="probability", xlim=(0, 1), ylim=(0, 1))
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("share in the reference")
    write_safely(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))
