"""Scores of a benchmark as a long CSV, and their means in the order of the paper's Table 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from metakd_monai.apps.benchmark.case_record import SCORABLE
from metakd_monai.data.markdown import markdown_table
from metakd_monai.data.spreadsheets import read_csv, write_csv
from metakd_monai.errors import UserError
from metakd_monai.metrics.means import mean, show
from metakd_monai.vocabulary import REGION_NAMES, Modality, Region, modality_subsets, name_subset

SUBSET_NAMES = tuple(name_subset(subset) for subset in modality_subsets())
MEAN = "mean"  # over the subsets' means
Means = Mapping[tuple[str, str], float]  # by subset and region
SCORABLE_HD95 = "Hausdorff95_scorable"
HEADLINES = {"Dice": "Dice in %", "LesionWise_Dice": "Lesion-wise Dice in %"}
DISTANCES = {
    "Hausdorff95": "HD95 in mm, the rule's value where a mask is empty",
    SCORABLE_HD95: "HD95 in mm where both masks have voxels (number of cases)",
    "LesionWise_Hausdorff95": "Lesion-wise HD95 in mm",
}


class Score(NamedTuple):
    """One line of ``scores.csv``."""

    case: str
    subset: str
    region: str
    postprocessing: str
    metric: str
    value: float


LONG_HEADER = Score._fields


@dataclass(frozen=True)
class ScoreTable:
    """All scores of a benchmark; values are looked up by subset, region, post-processing and metric."""

    scores: tuple[Score, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the post-processing rules, in order."""
        return tuple(dict.fromkeys(score.postprocessing for score in self.scores))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(dict.fromkeys(score.metric for score in self.scores))

    @property
    def cases(self) -> set[str]:
        """Names of the cases."""
        return {score.case for score in self.scores}

    def counts(self) -> dict[str, int]:
        """Return how many cases each of the 15 subsets has."""
        found = {(score.case, score.subset) for score in self.scores}
        return {name: sum(subset == name for _, subset in found) for name in SUBSET_NAMES}

    def means(self, metric: str, rule: str) -> dict[tuple[str, str], float]:
        """Return the mean over cases by subset and region, and over the subsets under ``"mean"``; ``nan`` if empty.

        Dice is in %. ``"Hausdorff95_scorable"`` is HD95 over the cases where both masks have voxels.
        """
        values = self.scorable(rule) if metric == SCORABLE_HD95 else self.values(metric, rule)
        factor = 100.0 if metric in HEADLINES else 1.0
        table = {key: factor * mean(found) for key, found in values.items()}
        for region in REGION_NAMES:
            rows = [table[name, region] for name in SUBSET_NAMES if not math.isnan(table[name, region])]
            table[MEAN, region] = mean(rows)
        return table

    def columns(self, metric: str) -> list[tuple[str, str]]:
        """Return regions and rules that a table shows: ET for each rule, TC and WT only where the rule changes them."""
        means = {rule: self.means(metric, rule) for rule in self.rules}
        plain = next(iter(means.values()), {})
        return [
            (region, rule)
            for region in REGION_NAMES
            for rule, found in means.items()
            if region == Region.ET.value or rule == self.rules[0] or differ(found, plain, region)
        ]

    def values(self, metric: str, rule: str) -> dict[tuple[str, str], list[float]]:
        """Return the cases' values of a metric by subset and region."""
        table: dict[tuple[str, str], list[float]] = {(name, r): [] for name in SUBSET_NAMES for r in REGION_NAMES}
        for score in self.scores:
            if score.metric == metric and score.postprocessing == rule:
                table[score.subset, score.region].append(score.value)
        return table

    def scorable(self, rule: str) -> dict[tuple[str, str], list[float]]:
        """Return HD95 by subset and region, of the cases where both masks have voxels."""
        distances, flags = self.values("Hausdorff95", rule), self.values(SCORABLE, rule)
        return {
            key: [value for value, flag in zip(found, flags[key], strict=True) if flag]
            for key, found in distances.items()
        }


def write_scores(path: Path, table: ScoreTable) -> None:
    """Write ``scores.csv``, a line for each score."""
    write_csv(path, [LONG_HEADER, *table.scores])


def read_score(row: Mapping[str, str]) -> Score:
    """Read one line of ``scores.csv``."""
    case, subset, region, rule, metric = (row[name] for name in LONG_HEADER[:-1])
    return Score(case, subset, region, rule, metric, float(row["value"]))


def read_scores(path: Path) -> ScoreTable:
    """Read ``scores.csv``; raises UserError for any other file."""
    lines = read_csv(path)[1]
    try:
        rows = [read_score(line) for line in lines]
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: unreadable ({error}); expected a scores.csv of metakd benchmark") from None
    strange = {row.subset for row in rows} - set(SUBSET_NAMES)
    if strange or not rows:
        raise UserError(f"{path}: {', '.join(sorted(strange)) or 'no scores'} found; expected scores of the 15 subsets")
    return ScoreTable(tuple(rows))


def write_wide(path: Path, table: ScoreTable) -> None:
    """Write ``table.csv``: for each post-processing rule 15 rows and their mean, Dice in % and HD95 in mm."""
    metrics = [name for name in (*HEADLINES, *DISTANCES) if name == SCORABLE_HD95 or name in table.metrics]
    units = {name: "percent" if name in HEADLINES else "mm" for name in metrics}
    header = ["postprocessing", "modalities", "cases"]
    header += [f"{name}_{units[name]}_{region}" for name in metrics for region in REGION_NAMES]
    lines: list[Sequence[object]] = [[*header, *(f"scorable_cases_{region}" for region in REGION_NAMES)]]
    counts = {**table.counts(), MEAN: len(table.cases)}
    for rule in table.rules:
        means = [table.means(name, rule) for name in metrics]
        scorable = {key: len(found) for key, found in table.scorable(rule).items()}
        for name in (*SUBSET_NAMES, MEAN):
            cells = [found[name, region] for found in means for region in REGION_NAMES]
            lines.append([rule, name, counts[name], *cells, *(scorable.get((name, r), "") for r in REGION_NAMES)])
    write_csv(path, lines)


def make_markdown(table: ScoreTable, title: str, note: str) -> str:
    """Return ``table.md``: a table of each metric, in the rows and columns of the paper's Table 1."""
    lines = [f"# {title}", "", note]
    for metric, heading in {**HEADLINES, **DISTANCES}.items():
        if metric in table.metrics or (metric == SCORABLE_HD95 and table.scores):
            lines += ["", f"## {heading}", "", *table_lines(table, metric)]
    return "\n".join(lines) + "\n"


def table_lines(table: ScoreTable, metric: str) -> list[str]:
    """Return the lines of one Markdown table, the columns of a region side by side."""
    means = {rule: table.means(metric, rule) for rule in table.rules}
    columns = table.columns(metric)
    numbers = {rule: {key: len(v) for key, v in table.scorable(rule).items()} for rule in table.rules}
    heads = [*(m.value for m in Modality), *(name_column(*column) for column in columns), "cases"]
    rows = []
    for subset in modality_subsets():
        name = name_subset(subset)
        cells = [show(means[rule][name, region]) for region, rule in columns]
        if metric == SCORABLE_HD95:
            counts = [numbers[rule][name, region] for region, rule in columns]
            cells = [f"{cell} ({count})" for cell, count in zip(cells, counts, strict=True)]
        marks = ["●" if m in subset else "○" for m in Modality]
        rows.append([*marks, *cells, str(table.counts()[name])])
    filled = sum(count > 0 for count in table.counts().values())
    ends = [f"**{show(means[rule][MEAN, region])}**" for region, rule in columns]
    rows.append([f"**mean of {filled}**", "", "", "", *ends, str(len(table.cases))])
    return markdown_table(heads, rows, "c" * len(Modality) + "r")


def name_column(region: str, rule: str) -> str:
    """Name a region under a post-processing rule."""
    return region if rule == "none" else f"{region} {rule}"


def differ(means: Means, others: Means, region: str) -> bool:
    """Tell whether the means of a region differ in any subset."""
    return any(means[name, region] != others[name, region] for name in SUBSET_NAMES if means[name, region] >= 0)
