"""The paper's Table 3: its trainings, and the report that compares their results with the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metakd_monai import __version__
from metakd_monai.apps.avmnist.digit_items import MODALITIES
from metakd_monai.apps.avmnist.trainings import TABLES, Run, read_rows
from metakd_monai.apps.avmnist.ways import METHODS

RATES = (0.05, 0.10, 0.15, 0.20)
PLAIN = {"alpha": 0.0}
COMPARED = {"3a": tuple(METHODS), "3b": ("SMIL", "ShaSpec")}  # as in the paper


def runs_of(seed: int, recipe: Mapping[str, Any] | None = None) -> list[Run]:
    """List all trainings of one seed, with the settings of a recipe that differ from those of ``train.json``."""
    plain = {**(recipe or {}), **PLAIN}
    runs = []
    for table, scarce in TABLES.items():
        tested = [name for name in MODALITIES if name != scarce]
        runs.append(Run(table, "lower", seed, {**plain, "rate": 0.0, "modalities": tested}, meta=False))
        runs.append(Run(table, "control", seed, {**plain, "rate": 0.0}, meta=False))
        runs += [
            Run(table, named(method, rate), seed, {**(recipe or {}), **METHODS[method], "rate": rate}, meta=False)
            for method in COMPARED[table]
            for rate in RATES
        ]
        runs += [Run(table, named("metakd", rate), seed, {**(recipe or {}), "rate": rate}) for rate in RATES]
    return [*runs, Run("3a", "upper", seed, {**plain, "rate": 1.0}, meta=False)]


def named(method: str, rate: float) -> str:
    """Return the condition of a method at a rate."""
    return f"{method} {100 * rate:.0f}"


class Results:
    """Accuracy in percent of finished runs."""

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        self.rows = list(rows)

    def values(self, table: str, condition: str, column: str) -> dict[int, float]:
        """Return accuracy by seed."""
        chosen = [row for row in self.rows if (row["table"], row["condition"]) == (table, condition)]
        return {int(row["seed"]): float(row[column]) for row in chosen if row[column]}

    def mean(self, table: str, condition: str, column: str = "test") -> str:
        """Write mean ± standard deviation over seeds."""
        values = np.array(list(self.values(table, condition, column).values()))
        if not len(values):
            return ""
        return f"{values.mean():.2f} ± {values.std(ddof=1) if len(values) > 1 else 0:.2f}"

    def gain(self, table: str, condition: str, over: str, column: str = "test") -> str:
        """Write the mean paired difference ± its standard error."""
        mine, other = self.values(table, condition, column), self.values(table, over, column)
        gaps = np.array([mine[seed] - other[seed] for seed in sorted(set(mine) & set(other))])
        if len(gaps) < 2:
            return ""
        return f"{gaps.mean():+.2f} ± {gaps.std(ddof=1) / np.sqrt(len(gaps)):.2f}"


def paper_values(path: Path | None) -> dict[tuple[str, str], str]:
    """Return the paper's accuracy by table and our name of the condition."""
    found: dict[tuple[str, str], str] = {}
    for row in read_rows(path) if path else []:
        table = {"audio": "3a", "visual": "3b"}[row["missing"]]
        bounds = {"LowerB": "lower", "UpperB": "upper"}
        method = "metakd" if row["method"] == "MetaKD" else row["method"]
        condition = bounds.get(method, named(method, int(row["rate_percent"]) / 100))
        found[table, condition] = row["accuracy_percent"]
    return found


def report(rows: Sequence[Mapping[str, str]], paper: Mapping[tuple[str, str], str], data: str) -> str:
    """Write the table in Markdown."""
    results = Results(rows)
    seeds = sorted({int(row["seed"]) for row in rows})
    lines = [
        f"Accuracy in %, last epoch, mean ± standard deviation over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}). "
        "Gains are paired by seed, mean ± standard error.",
        "",
        f"Data: {data}. metakd-monai {__version__}.",
        "",
        "| table | condition | paper | 450 test pairs | 10,000 test digits | gain over control, pairs | digits |",
        "|---|---|---|---|---|---|---|",
    ]
    for table in TABLES:
        methods = [named(method, rate) for method in (*COMPARED[table], "metakd") for rate in RATES]
        for name in ("lower", "control", *methods, "upper"):
            if mean := results.mean(table, name):
                is_control = name in ("control", "upper")
                gains = ["" if is_control else results.gain(table, name, "control", c) for c in ("test", "test_digits")]
                digits = results.mean(table, name, "test_digits")
                cells = [table, name, paper.get((table, name), ""), mean, digits, *gains]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
