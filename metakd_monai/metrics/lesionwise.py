"""Lesion-wise Dice and HD95 as in BraTS 2023 (glioma, sub-Saharan Africa and paediatric tasks).

1. Voxels of the reference whose dilations touch are one lesion; the prediction falls into 26-connected components.
2. Each lesion is compared with all whole components that touch its dilation; one component may serve several lesions.
3. A lesion that nothing touches, and a component that touches no lesion, count Dice 0 and 374 mm.
4. Lesions of at most 50 mm3 are left out of the mean, but components that touch them are no false positives. False
   positives count whatever their size.
5. If nothing is left, Dice is 1 and HD95 0.

Source: the challenge's ``metrics.py`` (github.com/rachitsaluja/BraTS-2023-Metrics), whose rules are restated here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from metakd_monai.data.boxes import bounding_box
from metakd_monai.metrics.distances import hd95
from metakd_monai.metrics.region_scores import count_overlap
from metakd_monai.vocabulary import Region

DILATION = 3  # iterations with the 18-neighbour element
VOLUME_THRESHOLD = 50.0  # mm3
PENALTY = 374.0  # mm
TOUCHING = ndimage.generate_binary_structure(3, 3)  # 26 neighbours
ELEMENT = ndimage.generate_binary_structure(3, 2)  # 18 neighbours
ATTRIBUTES = {
    "LesionWise_Dice": "dice",
    "LesionWise_Hausdorff95": "hausdorff95",
    "Num_TP": "found",
    "Num_FP": "surplus",
    "Num_FN": "missed",
}
COLUMNS = tuple(f"{metric}_{region.value}" for region in Region for metric in ATTRIBUTES)


@dataclass(frozen=True)
class LesionScores:
    """Means over the lesions of one region, and numbers of true, false and missed lesions."""

    dice: float
    hausdorff95: float
    found: int
    surplus: int
    missed: int


def score_lesions(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], kind: str = "surface"
) -> LesionScores:
    """Score one region lesion by lesion.

    Args:
        prediction: ``(X, Y, Z)`` bool.
        reference: ``(X, Y, Z)`` bool.
        spacing: in mm.
        kind: of HD95; the challenge's is ``"surface"``.
    """
    together = prediction | reference
    if not together.any():
        return LesionScores(1.0, 0.0, 0, 0, 0)
    box = bounding_box(together, margin=DILATION)
    prediction, reference = prediction[box], reference[box]
    components, count = ndimage.label(prediction, TOUCHING)
    grown, lesions = grow_lesions(reference)
    touched, touching = touching_pairs(grown, components)
    surplus = count - len(np.unique(touching))
    volumes = np.bincount(grown[reference], minlength=lesions + 1) * math.prod(map(float, spacing))
    pairs = [
        score_lesion(np.isin(components, touching[touched == lesion]), reference & (grown == lesion), spacing, kind)
        for lesion in range(1, lesions + 1)
        if volumes[lesion] > VOLUME_THRESHOLD
    ]
    return average(pairs, surplus)


def grow_lesions(reference: np.ndarray) -> tuple[np.ndarray, int]:
    """Dilate a mask ``(X, Y, Z)`` and number its 26-connected parts from 1; return that map and their number.

    A part is exactly the dilation of the lesion in it, so it also shows what touches that lesion.
    """
    if not reference.any():
        return np.zeros(reference.shape, dtype=np.int32), 0
    grown, lesions = ndimage.label(ndimage.binary_dilation(reference, ELEMENT, iterations=DILATION), TOUCHING)
    return grown, int(lesions)


def touching_pairs(grown: np.ndarray, components: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair of a lesion and a component that share a voxel of two maps ``(X, Y, Z)``, as two ``(N,)``."""
    shared = (grown > 0) & (components > 0)
    base = int(components.max()) + 1
    pairs = np.unique(grown[shared].astype(np.int64) * base + components[shared])
    return pairs // base, pairs % base


def score_lesion(
    matched: np.ndarray, lesion: np.ndarray, spacing: Sequence[float], kind: str
) -> tuple[float, float] | None:
    """Return Dice and HD95 in mm of one lesion against its components, or None when there are none."""
    if not matched.any():
        return None
    return count_overlap(matched, lesion).dice, hd95(matched, lesion, spacing, kind)


def average(pairs: Sequence[tuple[float, float] | None], surplus: int) -> LesionScores:
    """Average Dice and HD95 over lesions (None for a missed one) and a number of false positives."""
    hits = [pair for pair in pairs if pair is not None]
    missed, total = len(pairs) - len(hits), len(pairs) + surplus
    if total == 0:
        return LesionScores(1.0, 0.0, 0, 0, 0)
    dice = sum(pair[0] for pair in hits) / total
    distance = (sum(pair[1] for pair in hits) + PENALTY * (missed + surplus)) / total
    return LesionScores(dice, distance, len(hits), surplus, missed)


def fail_lesions(reference: np.ndarray, spacing: Sequence[float]) -> LesionScores:
    """Return the scores of a region ``(X, Y, Z)`` without a usable prediction: 0, 374 mm, every lesion missed."""
    return replace(score_lesions(np.zeros_like(reference), reference, spacing), dice=0.0, hausdorff95=PENALTY)


def make_row(scores: Mapping[Region, LesionScores]) -> dict[str, float]:
    """Return the lesion-wise scores of a case by column."""
    return {
        f"{metric}_{region.value}": float(getattr(scores[region], attribute))
        for region in Region
        for metric, attribute in ATTRIBUTES.items()
    }
