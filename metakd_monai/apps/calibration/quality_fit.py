"""Fit the prediction of a mask's Dice from the mask, each case left out in turn; see apps/predict/mask_quality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES
from metakd_monai.apps.predict.mask_quality import (
    FEATURES,
    INTERCEPT,
    Array,
    QualityModel,
    apply_weights,
    features_of,
    spread_of,
)
from metakd_monai.metrics.conformal import predictive_range
from metakd_monai.metrics.region_scores import ratio
from metakd_monai.vocabulary import REGION_NAMES

FEWEST_CASES = 10  # with a mask: each is left out in turn, and of the other nine there still is a range
PENALTY = 0.01  # of squared weights of standardised features, for each mask
FAILED = 0.5  # Dice below which a mask has failed
FALSE_FLAG = 2.0  # weight of the share of good masks flagged, relative to that of failed masks missed
ALL_FOUR = SUBSET_NAMES[-1]


class MaskRow(NamedTuple):
    """One region of one mask: its origin, its Dice, the features (none if it is empty), the reference in mL."""

    case: str
    subset: str
    region: str
    dice: float
    features: dict[str, float]
    reference_ml: float


def rows_of(records: Iterable[Mapping[str, Any]]) -> list[MaskRow]:
    """Return the rows of records of :mod:`metakd_monai.apps.calibration.cross_validated`."""
    return [
        MaskRow(
            record["case"],
            mask["subset"],
            region,
            ratio(2 * mask["right_ml"][region], mask["sums"][region]["mask"] + record["reference_ml"][region], 1.0),
            features_of(mask["sums"][region], mask["subset"].split("+")) if mask["sums"][region]["mask"] else {},
            record["reference_ml"][region],
        )
        for record in records
        for mask in record["masks"]
        for region in REGION_NAMES
    ]


def fit_weights(features: Array, dice: Array) -> Array:
    """Return the intercept and the weights ``(1 + F,)`` of ridge regression on features ``(M, F)``."""
    center, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    scaled = (features - center) / scale
    square = scaled.T @ scaled + PENALTY * len(dice) * np.eye(features.shape[1])
    weights = np.linalg.solve(square, scaled.T @ (dice - dice.mean())) / scale
    return np.array([dice.mean() - center @ weights, *weights])


def leave_out(features: Array, dice: Array, cases: NDArray[np.str_]) -> Array:
    """Return the Dice ``(M,)`` predicted for each case by the weights of all others."""
    predicted = np.empty_like(dice)
    for case in np.unique(cases):
        mine = cases == case
        weights = fit_weights(features[~mine], dice[~mine])
        predicted[mine] = apply_weights(weights, features[mine], dice[~mine].max())
    return predicted


def errors_of(predicted: Array, dice: Array) -> Array:
    """Return errors ``(M,)`` in units of the spread at the predicted Dice."""
    return (dice - predicted) / np.array([spread_of(value) for value in predicted])


def choose_threshold(predicted: Array, failed: NDArray[np.bool_]) -> float:
    """Return the predicted Dice below which a mask is flagged, in hundredths; the lowest of equals.

    It maximises the share of failed masks flagged, minus :data:`FALSE_FLAG` times the share of the others flagged.
    """
    steps = np.arange(0, 101) / 100
    gains = [np.mean(predicted[failed] < t) - FALSE_FLAG * np.mean(predicted[~failed] < t) for t in steps]
    return float(steps[int(np.argmax(gains))])


def fit_region(rows: Sequence[MaskRow]) -> dict[str, Any] | None:
    """Fit one region, and return its part of ``expected.json``; None if there are too few cases for a range.

    Args:
        rows: of the region. Empty masks are ignored; masks of ET count as Dice 0 if the reference has none.
    """
    kept = [row for row in rows if row.features]
    features = np.array([[row.features[name] for name in FEATURES] for row in kept])
    dice, cases = np.array([row.dice for row in kept]), np.array([row.case for row in kept])
    if len(set(cases)) < FEWEST_CASES:
        return None
    predicted = leave_out(features, dice, cases)
    error = predictive_range(errors_of(predicted, dice), cases)
    assert error is not None, "of so many cases there is a range"
    failed = dice < FAILED
    below = choose_threshold(predicted, failed) if failed.any() and not failed.all() else 0.0
    weights = dict(zip((INTERCEPT, *FEATURES), fit_weights(features, dice).round(5).tolist(), strict=True))
    complete = np.array([row.subset == ALL_FOUR for row in kept])
    return {
        "weights": weights,
        "highest": round(float(dice.max()), 4),
        "error": [round(end, 4) for end in error],
        "flag_below": below,
        "left_out": {
            "masks": len(kept),
            "cases": len(set(cases)),
            "spearman": rank_correlation(predicted, dice),
            "spearman_all_four": rank_correlation(predicted[complete], dice[complete]),
            "mean_error": round(float(np.abs(predicted - dice).mean()), 4),
            "failed": int(failed.sum()),
            "failed_flagged": round(float(np.mean(predicted[failed] < below)), 4) if failed.any() else None,
            "good_flagged": round(float(np.mean(predicted[~failed] < below)), 4) if not failed.all() else None,
            "covered": round(covered(predicted, dice, cases), 4),
        },
    }


def rank_correlation(predicted: Array, dice: Array) -> float:
    """Return Spearman's rank correlation, in four digits."""
    return round(float(spearmanr(predicted, dice).statistic), 4)


def covered(predicted: Array, dice: Array, cases: NDArray[np.str_]) -> float:
    """Return the share of masks whose Dice lies in the range given by the errors of all other cases."""
    found = []
    for case in np.unique(cases):
        mine = cases == case
        error = predictive_range(errors_of(predicted[~mine], dice[~mine]), cases[~mine])
        if error is not None:
            model = QualityModel({}, 1.0, error, 0.0)
            ranges = [model.around(value) for value in predicted[mine]]
            found += [low <= one <= high for (low, high), one in zip(ranges, dice[mine], strict=True)]
    return float(np.mean(found)) if found else float("nan")
