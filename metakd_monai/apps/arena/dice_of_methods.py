"""Dice of all methods on the same cases, and whether two of them differ: over cases, and over the 15 subsets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap, wilcoxon

from metakd_monai.apps.benchmark.comparison import run_test
from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES, Means, Score
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import REGION_NAMES

LEVEL, DRAWS = 0.95, 9999  # share covered by the bootstrap's interval
MEAN_OF_REGIONS = "mean"
COLUMNS = (*REGION_NAMES, MEAN_OF_REGIONS)


@dataclass(frozen=True)
class MethodDice:
    """Dice in % of one method, ``nan`` where a case has no sequence or no region to score.

    Attributes:
        name: of the method.
        seeds: those whose folds are all done.
        cases: their names, the same of all methods.
        dice: ``(seeds, cases, 15, R)``.
    """

    name: str
    seeds: tuple[int, ...]
    cases: tuple[str, ...]
    dice: np.ndarray

    def subset_means(self) -> np.ndarray:
        """Return the mean over cases ``(seeds, 15, R)``."""
        return known_mean(self.dice, 1)

    def seed_means(self) -> np.ndarray:
        """Return the mean of the subsets ``(seeds, R + 1)``, the last column that of the regions."""
        means = known_mean(self.subset_means(), 1)
        return np.concatenate([means, known_mean(means, 1)[:, None]], axis=1)

    def case_means(self) -> np.ndarray:
        """Return the mean over seeds and subsets ``(cases, R + 1)``, the last column that of a case's regions."""
        means = known_mean(known_mean(self.dice, 0), 1)
        return np.concatenate([means, known_mean(means, 1)[:, None]], axis=1)

    def as_means(self) -> Means:
        """Return the mean over cases and seeds by subset and region."""
        values = known_mean(self.subset_means(), 0)
        return {
            (name, region): float(values[row, column])
            for row, name in enumerate(SUBSET_NAMES)
            for column, region in enumerate(REGION_NAMES)
        }


def known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean along an axis, ignoring ``nan``; ``nan`` if nothing is left."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis) / known.sum(axis))


def gather(
    name: str, scores: Mapping[int, Sequence[Score]], cases: Sequence[str], too_small: frozenset[str]
) -> MethodDice:
    """Collect the scores of a method.

    Args:
        name: of the method.
        scores: of all folds, by seed.
        cases: the expected ones.
        too_small: cases that do not count for ET.

    Raises:
        UserError: when a seed has other cases.
    """
    rows, columns = ({n: i for i, n in enumerate(names)} for names in (SUBSET_NAMES, REGION_NAMES))
    dice = np.full((len(scores), len(cases), len(rows), len(columns)), np.nan)
    places = {case: n for n, case in enumerate(cases)}
    for n, (seed, found) in enumerate(scores.items()):
        if {score.case for score in found} != set(cases):
            raise UserError(f"{name}, seed {seed}: other cases found than the {len(cases)} of the plan; expected those")
        for score in found:
            if score.metric == "Dice" and not (score.region == "ET" and score.case in too_small):
                dice[n, places[score.case], rows[score.subset], columns[score.region]] = 100 * score.value
    return MethodDice(name, tuple(scores), tuple(cases), dice)


@dataclass(frozen=True)
class Difference:
    """The reference minus another method, in points of Dice, mean of the subsets.

    Attributes:
        mean: over the cases.
        low: end of the bootstrap's interval over cases.
        high: the other end.
        wilcoxon_p: signed-rank test over cases, two-sided.
        t_p: one-tailed paired t-test over the 15 subsets that the reference is better, as in the paper; ``nan`` for the
            mean of the regions.
        t_p_with_average: the same with the average as a 16th pair, as the paper's values were made.
        cases: how many.
    """

    mean: float
    low: float
    high: float
    wilcoxon_p: float
    t_p: float
    t_p_with_average: float
    cases: int


def compare_methods(reference: MethodDice, other: MethodDice) -> dict[str, Difference]:
    """Return the gain of a reference over another method, by region and for their mean."""
    found = {}
    first, second = reference.as_means(), other.as_means()
    for column, region in enumerate(COLUMNS):
        gaps = reference.case_means()[:, column] - other.case_means()[:, column]
        gaps = gaps[~np.isnan(gaps)]
        low, high = interval(gaps)
        paired = run_test(first, second, region) if region in REGION_NAMES else None
        found[region] = Difference(
            float(gaps.mean()) if len(gaps) else math.nan,
            low,
            high,
            float(wilcoxon(gaps).pvalue) if np.any(gaps) else math.nan,
            paired.p if paired else math.nan,
            paired.p_with_average if paired else math.nan,
            len(gaps),
        )
    return found


def interval(gaps: np.ndarray) -> tuple[float, float]:
    """Return the percentile bootstrap's interval of the mean over cases; ``nan`` for fewer than two."""
    if len(gaps) < 2:
        return math.nan, math.nan
    draws = np.random.default_rng(0)
    found = bootstrap(
        (gaps,), np.mean, n_resamples=DRAWS, confidence_level=LEVEL, method="percentile", random_state=draws
    ).confidence_interval
    return float(found.low), float(found.high)
