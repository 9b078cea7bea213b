"""Differences from a published table or from another run, and the one-tailed paired t-test over the subsets.

The paper's printed p-values use 16 pairs: the 15 subsets and their average. The average is no independent observation,
so the test here uses the subsets alone; the 16-pair value stands beside it for comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel

from metakd_monai.apps.benchmark.paper_tables import PAPER, PAPER_COLUMNS, find_table, read_published
from metakd_monai.apps.benchmark.subset_tables import (
    LONG_HEADER,
    MEAN,
    SUBSET_NAMES,
    Means,
    ScoreTable,
    read_scores,
)
from metakd_monai.data.files import write_text
from metakd_monai.data.markdown import markdown_table
from metakd_monai.data.spreadsheets import read_csv, write_csv
from metakd_monai.errors import UserError
from metakd_monai.metrics.means import mean, show
from metakd_monai.vocabulary import REGION_NAMES


@dataclass(frozen=True)
class ReferenceTable:
    """What a run is compared with.

    Attributes:
        name: for headings.
        means: Dice in % by post-processing rule; a published table has one, under ``""``.
        cases: names of its cases, where they are known.
        doubts: why values of a published table are doubtful, by subset and region.
    """

    name: str
    means: Mapping[str, Means]
    cases: frozenset[str] = frozenset()
    doubts: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def choose(self, rule: str) -> tuple[str, Means]:
        """Return the reference's means to compare with a post-processing rule's: the same rule's if it has them."""
        chosen = rule if rule in self.means else next(iter(self.means))
        return chosen, self.means[chosen]


@dataclass(frozen=True)
class PairedTest:
    """A one-tailed paired t-test: are the first values larger? ``nan`` where it cannot be computed."""

    pairs: int
    difference: float
    p: float
    p_with_average: float


@dataclass(frozen=True)
class Comparison:
    """One run's means against another's, for one post-processing rule; tests by region."""

    rule: str
    reference: str
    ours: Means
    theirs: Means
    tests: Mapping[str, PairedTest]


def read_reference(path: str | Path, method: str = "MetaKD") -> ReferenceTable:
    """Read a table to compare with.

    Args:
        path: CSV like the paper's tables (``modalities,region,method,dice_percent``), ``"paper:table1"`` for the
            paper's own, or another run's folder, ``scores.csv`` or ``table.csv``.
        method: the method to take from a table of the first kind.

    Raises:
        UserError: when the file is none of these or has no such method.
    """
    path = find_table(str(path)) if str(path).startswith(PAPER) else Path(path)
    path = path / "scores.csv" if path.is_dir() else path
    header, rows = read_csv(path)
    if header == LONG_HEADER:
        table = read_scores(path)
        return ReferenceTable(str(path), {r: table.means("Dice", r) for r in table.rules}, frozenset(table.cases))
    try:
        if set(PAPER_COLUMNS) <= set(header):
            means, doubts = read_published(path, rows, method)
            return ReferenceTable(f"{method} of {path.name}", {"": means}, doubts=doubts)
        return ReferenceTable(str(path), read_wide(rows))
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}: columns {', '.join(header)} cannot be used ({error}); expected {', '.join(PAPER_COLUMNS)},"
            " or scores.csv or table.csv of metakd benchmark"
        ) from None


def read_wide(rows: Sequence[Mapping[str, str]]) -> Mapping[str, Means]:
    """Return the Dice in % by post-processing rule from the rows of a ``table.csv``."""
    means: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        for region in REGION_NAMES:
            cell = row[f"Dice_percent_{region}"]
            means.setdefault(row["postprocessing"], {})[row["modalities"], region] = float(cell or "nan")
    if not means:
        raise ValueError("no rows")
    return means


def compare(table: ScoreTable, reference: ReferenceTable) -> list[Comparison]:
    """Compare Dice in % with a reference, for each post-processing rule of the run."""
    comparisons = []
    for rule in table.rules:
        ours = table.means("Dice", rule)
        chosen, theirs = reference.choose(rule)
        tests = {region: run_test(ours, theirs, region) for region in REGION_NAMES}
        comparisons.append(Comparison(rule, chosen, ours, theirs, tests))
    return comparisons


def run_test(ours: Means, theirs: Means, region: str) -> PairedTest:
    """Test whether the subsets' means of a region are larger than the reference's."""
    pairs = [(ours[name, region], theirs.get((name, region), math.nan)) for name in SUBSET_NAMES]
    pairs = [pair for pair in pairs if not any(map(math.isnan, pair))]
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    with_average = (paired_p([*first, mean(first)], [*second, mean(second)])) if pairs else math.nan
    return PairedTest(len(pairs), mean(first) - mean(second), paired_p(first, second), with_average)


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the one-tailed p of a paired t-test that the first values are larger; ``nan`` if all differ alike."""
    differences = np.subtract(first, second)
    if len(differences) < 2 or np.ptp(differences) < 1e-9:
        return math.nan
    return float(ttest_rel(first, second, alternative="greater").pvalue)


def write_comparison(folder: Path, table: ScoreTable, reference: ReferenceTable) -> list[Comparison]:
    """Write ``comparison.md`` and ``comparison.csv`` to a folder; return what they hold."""
    comparisons = compare(table, reference)
    lines: list[Sequence[object]] = [
        (
            "postprocessing",
            "reference_postprocessing",
            "modalities",
            "region",
            "dice_percent",
            "reference",
            "difference",
        )
    ]
    for found in comparisons:
        for name in (*SUBSET_NAMES, MEAN):
            for region in REGION_NAMES:
                ours, theirs = pair_of(found, name, region)
                lines.append((found.rule, found.reference, name, region, ours, theirs, ours - theirs))
    write_csv(folder / "comparison.csv", lines)
    text = make_markdown(comparisons, table, reference)
    write_text(folder / "comparison.md", text)
    return comparisons


def pair_of(found: Comparison, name: str, region: str) -> tuple[float, float]:
    """Return both Dice of a subset; for the mean, over the subsets that both have."""
    if name != MEAN:
        return found.ours[name, region], found.theirs.get((name, region), math.nan)
    pairs = [pair_of(found, subset, region) for subset in SUBSET_NAMES]
    shared = [pair for pair in pairs if not any(map(math.isnan, pair))]
    return mean([a for a, _ in shared]), mean([b for _, b in shared])


def make_markdown(comparisons: Sequence[Comparison], table: ScoreTable, reference: ReferenceTable) -> str:
    """Return ``comparison.md``."""
    lines = [f"# Dice in % compared with {reference.name}", ""]
    lines.append("Each cell: this run (difference in points). p: one-tailed paired t-test that this run is")
    lines.append(
        "better, over the subsets that both have; p16: the same with the average as one more pair, as in the paper."
    )
    if reference.cases and reference.cases != table.cases:
        shared = len(reference.cases & table.cases)
        numbers = f"{len(table.cases)} here, {len(reference.cases)} there, {shared} in both"
        lines.append(f"\n**Not the same cases**: {numbers}.")
    lines += [f"\n**Doubtful**: {region} of {name}: {why}." for (name, region), why in reference.doubts.items()]
    for found in comparisons:
        against = f" against {found.reference}" if found.reference else ""
        lines += ["", f"## Post-processing: {found.rule}{against}", ""]
        rows = [
            [name, *(show_pair(*pair_of(found, name, region)) for region in REGION_NAMES)]
            for name in (*SUBSET_NAMES, MEAN)
        ]
        tests = [found.tests[region] for region in REGION_NAMES]
        rows.append(["p", *(f"{show_p(test.p)} (n={test.pairs})" for test in tests)])
        rows.append(["p16", *(show_p(test.p_with_average) for test in tests)])
        lines += markdown_table(["given", *REGION_NAMES], rows)
    return "\n".join(lines) + "\n"


def show_pair(ours: float, theirs: float) -> str:
    """Show a value and its difference."""
    return show(ours) if math.isnan(ours - theirs) else f"{ours:.2f} ({ours - theirs:+.2f})"


def show_p(p: float) -> str:
    """Show a p-value, as the paper does."""
    return "-" if math.isnan(p) else f"{p:.1e}"
