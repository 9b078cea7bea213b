"""Predict the Dice of a mask from the mask itself.

For each region a weighted sum of a few features, fitted to masks of cases that the network was not trained on
(:mod:`metakd_monai.apps.calibration`)::

    {"WT": {"weights": {"intercept": -0.5, "agreement": 1.5, ...}, "highest": 0.96, "error": [-0.4, 0.3],
            "flag_below": 0.6}, ...}

``highest`` is the best Dice among those masks; no higher one is predicted. ``error`` is the range that holds the errors
of 80 % of new cases, in units of :func:`spread_of` the predicted Dice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metakd_monai.data.boxes import bounding_box
from metakd_monai.transforms import labels_to_regions
from metakd_monai.vocabulary import MODALITY_NAMES, Region

FAINT = -3.0  # logit, a probability of .047; lower ones mean nothing, yet would add up over a whole brain
LN2 = math.log(2)
LEAST_SPREAD = 0.2
LEAST_ML = 0.05  # keeps logarithms of empty volumes finite
INTERCEPT = "intercept"
FEATURES = ("agreement", "fill", "core", "doubt", "log10_ml", "surface", *MODALITY_NAMES)
Sums = Mapping[str, float]
Array = NDArray[np.float64]


class PredictedDice(NamedTuple):
    """The Dice that a mask probably has, its range, and whether it is so low that the mask has probably failed."""

    dice: float
    low: float
    high: float
    flagged: bool


@dataclass(frozen=True)
class QualityModel:
    """How the Dice of one region is predicted.

    Attributes:
        weights: of the features, and the intercept.
        highest: the largest Dice that is predicted.
        error: range of errors, see the module.
        flag_below: predicted Dice below which a mask is flagged.
    """

    weights: Mapping[str, float]
    highest: float
    error: tuple[float, float]
    flag_below: float

    def predict(self, features: Mapping[str, float]) -> PredictedDice:
        """Predict the Dice of a mask from its features, see :func:`features_of`."""
        weights = np.array([self.weights[name] for name in (INTERCEPT, *FEATURES)])
        dice = float(apply_weights(weights, np.array([features[name] for name in FEATURES]), self.highest))
        return PredictedDice(dice, *self.around(dice), dice < self.flag_below)

    def around(self, dice: float) -> tuple[float, float]:
        """Return the range around a predicted Dice."""
        low, high = (min(max(dice + end * spread_of(dice), 0.0), 1.0) for end in self.error)
        return low, high


def apply_weights(weights: Array, features: Array, highest: float) -> Array:
    """Return the Dice ``(...)`` that weights ``(1 + F,)``, the intercept first, predict from features ``(..., F)``."""
    found: Array = np.clip(weights[0] + features @ weights[1:], 0, highest)
    return found


def spread_of(dice: float) -> float:
    """Return the unit of errors at a predicted Dice: sqrt(d (1 - d)), as for a proportion; widest at 0.5."""
    return max(math.sqrt(dice * (1 - dice)), LEAST_SPREAD)


def sum_masks(logits: Tensor, labels: Tensor, edges: Sequence[float]) -> dict[str, Sums]:
    """Return the sums from which a mask's features are computed, by region.

    Args:
        logits: of ET, TC and WT, ``(R, *S)``.
        labels: the post-processed mask made from them, ``(1, *S)``.
        edges: of a voxel in mm, three.

    Returns:
        In mL, with the probabilities p, 0 where faint, and the mask m: ``mask``, the sum of m; ``chance``, of p;
        ``both``, of p m; ``core``, the volume where p is above .9; ``doubt``, the sum of the entropy of p in bits;
        and ``surface`` of the mask, in cm2.
    """
    each = math.prod(edges) / 1000
    seen = (logits.amax(dim=0) > FAINT) | (labels[0] > 0)
    if bool(seen.any()):  # other voxels contribute to no sum
        box = (slice(None), *bounding_box(seen.numpy(), margin=1))
        logits, labels = logits[box], labels[box]
    found: dict[str, Sums] = {}
    for region, one, inside in zip(Region, logits, labels_to_regions(labels) > 0, strict=True):
        seen = (one > FAINT) | inside
        chance, mask = one[seen].sigmoid(), inside[seen]
        doubt = torch.special.entr(chance) + torch.special.entr(1 - chance)  # in nats
        sums = {"mask": mask, "chance": chance, "both": chance[mask], "core": chance > 0.9, "doubt": doubt / LN2}
        volumes = {name: float(values.sum()) * each for name, values in sums.items()}
        found[region.value] = {**volumes, "surface": surface_of(inside, edges)}
    return found


def surface_of(mask: Tensor, edges: Sequence[float]) -> float:
    """Return the area of the faces between a mask ``(X, Y, Z)`` bool and its surroundings, in cm2."""
    faces = [
        float((mask.narrow(axis, 1, n - 1) ^ mask.narrow(axis, 0, n - 1)).sum()) for axis, n in enumerate(mask.shape)
    ]
    return sum(count * math.prod(edges) / edge for count, edge in zip(faces, edges, strict=True)) / 100


def features_of(sums: Sums, modalities: Sequence[str]) -> dict[str, float]:
    """Return the features of a mask that is not empty.

    Args:
        sums: of the region, see :func:`sum_masks`.
        modalities: names of the sequences it was made from.

    Returns:
        ``agreement``, the expected Dice if each voxel belonged to the region with its probability; ``fill``, the
        logarithm of the volume by probabilities over that of the mask; ``core``, the certain volume over that of the
        mask; ``doubt``, the logarithm of the entropy in bits per voxel of the mask; ``log10_ml``, of the volume;
        ``surface``, the logarithm of the mask's surface over its volume in 1/cm; and 1 for each sequence that was
        given, 0 for the others.
    """
    return {
        "agreement": 2 * sums["both"] / (sums["mask"] + sums["chance"]),
        "fill": math.log((sums["chance"] + LEAST_ML) / (sums["mask"] + LEAST_ML)),
        "core": sums["core"] / sums["mask"],
        "doubt": math.log10((sums["doubt"] + LEAST_ML) / (sums["mask"] + LEAST_ML)),
        "log10_ml": math.log10(sums["mask"] + LEAST_ML),
        "surface": math.log10((sums["surface"] + LEAST_ML) / sums["mask"]),
        **{name: float(name in modalities) for name in MODALITY_NAMES},
    }


def predict_dice(
    models: Mapping[str, QualityModel],
    logits: Tensor,
    labels: Tensor,
    edges: Sequence[float],
    modalities: Sequence[str],
) -> dict[str, PredictedDice]:
    """Predict the Dice of each region that has a model and is not empty; arguments as in the functions above."""
    if not models:
        return {}
    sums = sum_masks(logits, labels, edges)
    return {
        region: models[region].predict(features_of(sums[region], modalities))
        for region in sums
        if region in models and sums[region]["mask"] > 0
    }


def warn_of(predicted: Mapping[str, PredictedDice], volumes: Mapping[str, float]) -> list[str]:
    """Return a warning for each flagged mask, and one if the whole-tumour mask is empty.

    Args:
        predicted: by region.
        volumes: of the masks by region.
    """
    empty = [] if volumes[Region.WT.value] else ["the WT mask is empty: no tumour found, or segmentation has failed"]
    return empty + [
        f"the {region} mask has probably failed: predicted Dice {one.dice:.2f} ({one.low:.2f}-{one.high:.2f})"
        for region, one in predicted.items()
        if one.flagged
    ]


def describe_predicted(predicted: Mapping[str, Mapping[str, float]]) -> str:
    """Describe the Dice that a report predicts, as ``predicted Dice WT 0.87 (0.80-0.92)``; empty if none."""
    found = [f"{region} {one['dice']:.2f} ({one['low']:.2f}-{one['high']:.2f})" for region, one in predicted.items()]
    return f"predicted Dice {', '.join(found)}" if found else ""


def report_predicted(predicted: Mapping[str, PredictedDice]) -> dict[str, Any]:
    """Return predicted Dice for a report."""
    return {
        region: {name: value if name == "flagged" else round(value, 3) for name, value in one._asdict().items()}
        for region, one in predicted.items()
    }
