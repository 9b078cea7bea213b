"""Trials of the input checks, fold by fold: false alarms on real cases, and exchanges of T1 and T1ce found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metakd_monai.apps.predict.appearance import part_of
from metakd_monai.apps.predict.input_checks import find_unusual, is_exchanged, merge_appearances
from metakd_monai.vocabulary import Modality, modality_subsets


def try_checks(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return the numbers of warnings and of chances for one, by trial.

    A case is compared with the ranges of the cases of all other folds; with a single fold, of all other cases.

    Args:
        records: with ``fold``, ``appearance`` and ``exchanged``.
    """
    single = len({record["fold"] for record in records}) == 1
    four, subsets = [], []
    for record in records:
        others = [r for r in records if (r is not record if single else r["fold"] != record["fold"])]
        ranges = merge_appearances(other["appearance"] for other in others)["ranges"]
        for subset in modality_subsets():
            warned = bool(find_unusual(part_of(record["appearance"], [m.value for m in subset]), ranges))
            subsets.append(warned)
            four += [warned] if len(subset) == len(Modality) else []
    return {
        "false alarms, all four": count(four),
        "false alarms, every subset": count(subsets),
        "T1 and T1ce exchanged, found": count(is_exchanged(record["exchanged"]) for record in records),
        "T1 and T1ce in order, said to be exchanged": count(is_exchanged(record["appearance"]) for record in records),
    }


def count(found: Iterable[bool]) -> tuple[int, int]:
    """Return the number of True, and the number of all."""
    every = list(found)
    return sum(every), len(every)
