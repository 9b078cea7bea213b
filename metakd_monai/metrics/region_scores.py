"""Whole-region scores of one pair of masks: Dice, sensitivity, specificity and HD95 with the empty rules of BraTS.

Both masks empty: 1, 1, 1 and 0 mm. Only one of them: Dice 0 and the penalty in mm; sensitivity 0.
Source: CaPTk's ``GetBraTSLabelStatistics``, which the servers of 2020 to 2022 run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metakd_monai.metrics.distances import hd95


@dataclass(frozen=True)
class RegionScores:
    """Scores of one region of one case; ``scorable`` tells whether HD95 is a distance rather than a penalty."""

    dice: float
    sensitivity: float
    specificity: float
    hausdorff95: float
    scorable: bool


@dataclass(frozen=True)
class Overlap:
    """Voxels of two masks, counted."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 when both masks are empty."""
        return ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative, 1.0)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN); for an empty reference 1 when the prediction is empty too, else 0."""
        empty = 0.0 if self.false_positive else 1.0
        return ratio(self.true_positive, self.true_positive + self.false_negative, empty)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP) over the whole image; for a reference that fills it 1 when the prediction does too, else 0."""
        full = 0.0 if self.false_negative else 1.0
        return ratio(self.true_negative, self.true_negative + self.false_positive, full)


def ratio(part: int, whole: int, otherwise: float) -> float:
    """Return a ratio, or another value if the denominator is 0."""
    return part / whole if whole else otherwise


def count_overlap(prediction: np.ndarray, reference: np.ndarray, voxels: int | None = None) -> Overlap:
    """Count the voxels of two masks ``(*S)`` bool, in an image of so many voxels (default: as many as in ``S``)."""
    hit = int(np.count_nonzero(prediction & reference))
    surplus, missed = int(np.count_nonzero(prediction)) - hit, int(np.count_nonzero(reference)) - hit
    return Overlap(hit, surplus, missed, (prediction.size if voxels is None else voxels) - hit - surplus - missed)


def score_region(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    penalty: float,
    kind: str = "pooled",
    voxels: int | None = None,
) -> RegionScores:
    """Score one region.

    Args:
        prediction: ``(*S)`` bool.
        reference: ``(*S)`` bool.
        spacing: in mm.
        penalty: HD95 in mm where only one mask is empty.
        kind: of HD95.
        voxels: of the whole image, when the masks are cropped from it.
    """
    overlap = count_overlap(prediction, reference, voxels)
    there = bool(prediction.any()), bool(reference.any())
    distance = penalty if any(there) else 0.0
    if all(there):
        distance = hd95(prediction, reference, spacing, kind)
    return RegionScores(overlap.dice, overlap.sensitivity, overlap.specificity, distance, all(there))
