"""Scores of every case, subset of its sequences and region, and their means over cases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metakd_monai.apps.benchmark.case_record import SCORABLE, subsets_of
from metakd_monai.metrics.conformal import summarise_range
from metakd_monai.vocabulary import REGION_NAMES

ALL = "all"  # stands for the largest subset of each case


class Row(NamedTuple):
    """One region of one case, segmented from one subset of its sequences.

    ``hd95`` is in mm, ``nan`` where the mask is empty. ``labels`` says who drew the reference.
    """

    case: str
    subset: str
    size: int
    region: str
    dice: float
    hd95: float
    labels: str
    trained_on: bool


class Summary(NamedTuple):
    """Mean, lowest and highest of the values of some cases."""

    mean: float
    lowest: float
    highest: float
    cases: int


@dataclass(frozen=True)
class Source:
    """What is known about a case before it is scored.

    Attributes:
        labels: who drew the reference.
        regions: those that the reference has; the others are not scored.
        trained_on: whether it was used in training.
    """

    labels: str
    regions: tuple[str, ...]
    trained_on: bool = False


def rows_of(record: Mapping[str, Any], source: Source) -> list[Row]:
    """Return the rows of a case's record of :mod:`metakd_monai.apps.benchmark`, of the regions that the case has."""
    values = {(subset, region, metric): value for subset, region, _, metric, value in subsets_of(record)}
    return [
        Row(
            record["case"],
            subset,
            subset.count("+") + 1,
            region,
            values[subset, region, "Dice"],
            values[subset, region, "Hausdorff95"] if values[subset, region, SCORABLE] else float("nan"),
            source.labels,
            source.trained_on,
        )
        for subset in record["scores"]
        for region in REGION_NAMES
        if region in source.regions
    ]


def summarise(values: Iterable[float]) -> Summary:
    """Summarise the values that are numbers; all ``nan`` when there are none."""
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return Summary(float("nan"), float("nan"), float("nan"), 0)
    return Summary(float(np.mean(known)), min(known), max(known), len(known))


class Evidence:
    """Rows of some cases, looked up by region and subset; the result has a value for each case that has one."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self.cases = tuple(dict.fromkeys(row.case for row in rows))
        self.full = {row.case: row.subset for row in sorted(rows, key=lambda row: row.size)}
        self.dice = {(row.case, row.subset, row.region): row.dice for row in rows}
        self.hd95 = {(row.case, row.subset, row.region): row.hd95 for row in rows}

    def only(self, keep: Callable[[Row], bool]) -> Evidence:
        """Return the evidence of some rows."""
        return Evidence([row for row in self.rows if keep(row)])

    def by_labels(self) -> dict[str, Evidence]:
        """Return the evidence by who drew the references."""
        kinds = dict.fromkeys(row.labels for row in self.rows)
        return {kind: Evidence([row for row in self.rows if row.labels == kind]) for kind in kinds}

    def complete(self, size: int) -> Evidence:
        """Return the evidence of the cases with so many sequences."""
        return self.only(lambda row: self.full[row.case].count("+") + 1 == size)

    @property
    def subsets(self) -> Collection[str]:
        """The subsets that any case has, in the paper's order."""
        return tuple(dict.fromkeys(row.subset for row in sorted(self.rows, key=lambda row: row.size)))

    def of(self, subset: str, region: str, metric: str = "dice") -> dict[str, float]:
        """Return ``dice`` or ``hd95`` of a region by case, given a subset, or :data:`ALL` that the case has."""
        values = self.dice if metric == "dice" else self.hd95
        keys = {case: (case, self.full[case] if subset == ALL else subset, region) for case in self.cases}
        return {case: values[key] for case, key in keys.items() if key in values}

    def over(self, region: str, choose: Callable[[Collection[str]], bool]) -> dict[str, float]:
        """Return the mean Dice of a region over the subsets that are chosen, by case."""
        found: dict[str, list[float]] = {}
        for (case, subset, name), value in self.dice.items():
            if name == region and choose(subset.split("+")):
                found.setdefault(case, []).append(value)
        return {case: float(np.mean(values)) for case, values in found.items()}

    def gain(self, region: str, modality: str) -> dict[str, float]:
        """Return the gain in Dice from adding a sequence to others, mean over the pairs of subsets, by case."""
        found: dict[str, list[float]] = {}
        for (case, subset, name), value in self.dice.items():
            members = subset.split("+")
            rest = "+".join(member for member in members if member != modality)
            if name == region and modality in members and rest:
                found.setdefault(case, []).append(value - self.dice[case, rest, name])
        return {case: float(np.mean(values)) for case, values in found.items()}


def expectations(evidence: Evidence, weights_sha256: str) -> dict[str, Any]:
    """Return what to expect of weights, ready for JSON: median and range of Dice by subset and region."""
    found = {
        subset: {region: known_of(evidence.of(subset, region)) for region in REGION_NAMES}
        for subset in evidence.subsets
    }
    return {
        "measured": f"study, {len(evidence.cases)} cases",
        "subsets": {
            subset: {region: summarise_range(dice) for region, dice in regions.items() if dice}
            for subset, regions in found.items()
        },
        "cases": list(evidence.cases),
        "weights_sha256": weights_sha256,
    }


def known_of(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are numbers."""
    return {case: value for case, value in values.items() if not np.isnan(value)}
