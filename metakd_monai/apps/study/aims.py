"""Aims for the weights on cases not used in training, and whether they are met. Dice from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from metakd_monai.apps.study.evidence import ALL, Evidence, summarise
from metakd_monai.vocabulary import REGION_NAMES, Modality, Region, modality_subsets, name_subset

AIMS = {Region.WT: (0.85, 0.80), Region.TC: (0.70, 0.65), Region.ET: (0.65, 0.60)}  # aim, and the floor below it
RIGHT = {Region.WT: Modality.FLAIR, Region.ET: Modality.T1CE}  # the single sequence that shows a region best
T1_ALONE, BEHIND_ALL, WORSE = 0.40, 0.08, 0.02
BETTER = 0.10  # gain over a network trained without dropping, mean of the subsets
ROUNDING = 1e-9  # for rounding in differences of Dice


@dataclass(frozen=True)
class Aim:
    """One aim: its value over some cases, ``nan`` if there are none."""

    what: str
    value: float
    cases: int
    met: bool

    @property
    def verdict(self) -> str:
        """The value, its number of cases, and whether the aim is met."""
        if not self.cases:
            return "no case"
        return f"{self.value:.3f} ({self.cases}) {'met' if self.met else '**not met**'}"


@dataclass(frozen=True)
class Violation:
    """A subset with a lower mean than one of its own subsets, over the cases that have both."""

    region: str
    subset: str
    smaller: str
    difference: float
    cases: int


def check_aims(evidence: Evidence) -> list[Aim]:
    """Return every aim with its value, except that of :func:`violations`."""
    aims = []
    for region, limits in AIMS.items():
        found = summarise(evidence.of(ALL, region.value).values())
        for limit, kind in zip(limits, ("aim", "floor"), strict=True):
            what = f"{region.value} >= {limit:.2f}, all that the case has ({kind})"
            aims.append(Aim(what, found.mean, found.cases, found.mean >= limit))
    alone = summarise(evidence.of(Modality.T1.value, Region.WT.value).values())
    aims.append(Aim(f"WT >= {T1_ALONE:.2f}, T1 alone", alone.mean, alone.cases, alone.mean >= T1_ALONE))
    for region, modality in RIGHT.items():
        behind = difference(evidence.of(ALL, region.value), evidence.of(modality.value, region.value))
        what = f"{region.value}: {modality.value} alone at most {BEHIND_ALL:.2f} behind all"
        aims.append(Aim(what, behind[0], behind[1], behind[0] <= BEHIND_ALL + ROUNDING))
    return aims


def violations(evidence: Evidence, tolerance: float = WORSE) -> list[Violation]:
    """List the subsets that are worse than one of their own subsets by more than a tolerance, the worst first."""
    found = []
    for subset, smaller in nested():
        for region in REGION_NAMES:
            change, cases = difference(evidence.of(subset, region), evidence.of(smaller, region))
            if change < -tolerance - ROUNDING:
                found.append(Violation(region, subset, smaller, change, cases))
    return sorted(found, key=lambda violation: violation.difference)


def nested() -> Iterator[tuple[str, str]]:
    """Yield every subset with every subset of it that is smaller: 50 pairs."""
    for subset in modality_subsets():
        for smaller in modality_subsets(subset)[:-1]:
            yield name_subset(subset), name_subset(smaller)


def difference(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[float, int]:
    """Return the mean of the first minus the second over their common cases, and the number of these."""
    both = [first[case] - second[case] for case in first if case in second]
    return (float(np.mean(both)), len(both)) if both else (float("nan"), 0)
