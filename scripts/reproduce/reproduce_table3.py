"""The paper's Table 3 on AV-MNIST: MetaKD, both bounds, and the control that saw none of the scarce modality.

Every number is the last epoch's; nothing is chosen on the test set. Finished runs are kept in OUTPUT/runs.csv: start it
again after an interruption. The report goes to OUTPUT/report.md.

Usage: reproduce_table3.py OUTPUT --pairs DIR [--seeds 10] [--first-seed 0] [--jobs 2] [--paper table3_avmnist.csv]
[--recipe tuned.json] [--conditions "control;metakd 20"]
DIR is what `metakd avmnist` wrote; a recipe is JSON that is laid over train.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from metakd_monai import __version__
from metakd_monai.apps.avmnist import MODALITIES, Pairs, digit_items, read_pairs
from metakd_monai.apps.classification import predict
from metakd_monai.bundle.options import set_up_randomness
from metakd_monai.data.files import write_safely

TRAIN = Path(__file__).resolve().parents[2] / "bundles" / "avmnist_metakd_classification" / "configs" / "train.json"
RATES = (0.05, 0.10, 0.15, 0.20)
TABLES = {"3a": "sound", "3b": "image"}  # and what is scarce in training and missing in testing
PLAIN = {"alpha": 0.0}
FIELDS = ("table", "condition", "seed", "test", "test_digits", "validation", "extra_digits", "importance", "seconds")


@dataclass(frozen=True)
class Run:
    """One training: its table, what it is called, its seed, and settings of ``train.json`` that differ.

    ``change``, a function of pairs and seed, gives other pairs than those of the folder.
    """

    table: str
    condition: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    meta: bool = True
    change: Callable[[Pairs, int], Pairs] | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What a finished run is recognised by."""
        return self.table, self.condition, str(self.seed)


def runs_of(seed: int, recipe: Mapping[str, Any] | None = None) -> list[Run]:
    """List all trainings of one seed, with the settings of a recipe that differ from those of ``train.json``."""
    plain = {**(recipe or {}), **PLAIN}
    runs = []
    for table, scarce in TABLES.items():
        tested = [name for name in MODALITIES if name != scarce]
        runs.append(Run(table, "lower", seed, {**plain, "rate": 0.0, "modalities": tested}, meta=False))
        runs.append(Run(table, "control", seed, {**plain, "rate": 0.0}, meta=False))
        runs += [Run(table, f"metakd {100 * rate:.0f}", seed, {**(recipe or {}), "rate": rate}) for rate in RATES]
    return [*runs, Run("3a", "upper", seed, {**plain, "rate": 1.0}, meta=False)]


@lru_cache(maxsize=2)
def load_pairs(folder: str | None) -> Pairs:
    """Read the pairs once for each process."""
    return read_pairs(folder)


def pairs_of(run: Run, folder: str | None) -> Pairs:
    """Return what a run trains on and is scored on."""
    return run.change(load_pairs(folder), run.seed) if run.change else load_pairs(folder)


def train(run: Run, pairs: Pairs) -> ConfigParser:
    """Train as the bundle does, with neither logs nor checkpoints; return the configuration with its trained parts."""
    torch.set_num_threads(1)
    config = json.loads(TRAIN.read_text())
    config |= {"seed": run.seed, "scarce": TABLES[run.table], "device": "cpu"}
    kept = ("LrScheduleHandler", "DropModalitiesHandler", *(["MetaUpdateHandler"] if run.meta else []))
    config["train"]["handlers"] = [h for h in config["train"]["handlers"] if h["_target_"].endswith(kept)]
    parser = ConfigParser(config)
    parser.update({**deepcopy(dict(run.settings)), "read_pairs": pairs})  # MONAI rewrites what it is given
    set_up_randomness(run.seed)
    parser.get_parsed_content("train#trainer").run()
    return parser


def train_and_score(run: Run, folder: str | None) -> dict[str, Any]:
    """Train once; return a row of ``runs.csv``."""
    start = time.perf_counter()
    pairs = pairs_of(run, folder)
    parser = train(run, pairs)
    network, split = parser.get_parsed_content("network"), parser.get_parsed_content("split")
    names, importance = parser.get_parsed_content("modalities"), parser.get_parsed_content("iwv")

    def accuracy(items: Sequence[Mapping[str, Any]]) -> str:
        if not items:
            return ""
        labels = torch.stack([item["label"] for item in items])
        return f"{100 * (predict(network, items, names).argmax(1) == labels).double().mean().item():.3f}"

    has_digits = TABLES[run.table] == "sound" and run.condition != "upper"
    digits = {test: digit_items(pairs, test, names) if has_digits else [] for test in (True, False)}
    return {
        **dict(zip(("table", "condition", "seed"), run.key, strict=True)),
        "test": accuracy(split["test_full" if run.condition == "upper" else "test"]),
        "test_digits": accuracy(digits[True]),
        "validation": accuracy(split["validation"]),
        "extra_digits": accuracy(digits[False]),
        "importance": " ".join(f"{name}={w:.4f}" for name, w in zip(names, importance().tolist(), strict=True)),
        "seconds": f"{time.perf_counter() - start:.1f}",
    }


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return finished runs."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def carry_out(runs: Iterable[Run], folder: str | None, path: Path, jobs: int) -> None:
    """Train what is not in the file yet, and add a row to it for each."""
    done = {(row["table"], row["condition"], row["seed"]) for row in read_rows(path)}
    missing = [run for run in runs if run.key not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end as at Ctrl-C, workers too
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    with path.open("a", newline="") as stream:
        table = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        if not path.stat().st_size:
            table.writeheader()
        jobs_left = [pool.submit(train_and_score, run, folder) for run in missing]
        try:
            for job in tqdm(as_completed(jobs_left), total=len(missing), desc="trainings", disable=None):
                table.writerow(job.result())
                stream.flush()
        finally:
            pool.shutdown(cancel_futures=True)


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
        condition = {"LowerB": "lower", "UpperB": "upper", "MetaKD": f"metakd {row['rate_percent']}"}.get(row["method"])
        if condition:
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
    names = ["lower", "control", *(f"metakd {100 * rate:.0f}" for rate in RATES), "upper"]
    for table in TABLES:
        for name in names:
            if mean := results.mean(table, name):
                is_control = name in ("control", "upper")
                gains = ["" if is_control else results.gain(table, name, "control", c) for c in ("test", "test_digits")]
                digits = results.mean(table, name, "test_digits")
                cells = [table, name, paper.get((table, name), ""), mean, digits, *gains]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pairs", help="folder that `metakd avmnist` wrote; without it the embedded stand-in")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--paper", type=Path, help="table3_avmnist.csv, for the paper's column")
    parser.add_argument("--recipe", type=Path, help="settings laid over train.json; another OUTPUT for each")
    parser.add_argument("--conditions", help="such as 'control;metakd 20'; all without it")
    arguments = parser.parse_args()
    path = arguments.output / "runs.csv"
    recipe = json.loads(arguments.recipe.read_text()) if arguments.recipe else None
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    wanted = set(arguments.conditions.split(";")) if arguments.conditions else None
    runs = [run for seed in seeds for run in runs_of(seed, recipe) if wanted is None or run.condition in wanted]
    carry_out(runs, arguments.pairs, path, arguments.jobs)
    data = f"AV-MNIST, SHA-256 {load_pairs(arguments.pairs).digest()[:16]}" if arguments.pairs else "embedded stand-in"
    text = report(read_rows(path), paper_values(arguments.paper), data)
    write_safely(arguments.output / "report.md", lambda temporary: temporary.write_text(text))
    print(text)


if __name__ == "__main__":
    main()
