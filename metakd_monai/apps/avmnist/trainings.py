"""Many trainings of the AV-MNIST bundle, several at a time; finished ones are kept in a table."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from metakd_monai.apps.avmnist.digit_items import digit_items
from metakd_monai.apps.avmnist.pairs import Pairs, read_pairs
from metakd_monai.apps.classification import predict
from metakd_monai.bundle.options import set_up_randomness
from metakd_monai.bundle.root import shipped_bundle
from metakd_monai.data.files import read_json

BUNDLE = "avmnist_metakd_classification"
TABLES = {"3a": "sound", "3b": "image"}  # of the paper, and what is scarce in training and missing in testing
FIELDS = ("table", "condition", "seed", "test", "test_digits", "validation", "extra_digits", "importance", "seconds")


@dataclass(frozen=True)
class Run:
    """One training: its table, its name, its seed, and the settings that differ from ``train.json``.

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
        """The key by which a finished run is recognised."""
        return self.table, self.condition, str(self.seed)


@lru_cache(maxsize=2)
def load_pairs(folder: str | None) -> Pairs:
    """Read the pairs once for each process."""
    return read_pairs(folder)


def pairs_of(run: Run, folder: str | None) -> Pairs:
    """Return the data for training and scoring a run."""
    return run.change(load_pairs(folder), run.seed) if run.change else load_pairs(folder)


def train(run: Run, pairs: Pairs) -> ConfigParser:
    """Train as the bundle does, with neither logs nor checkpoints; return the configuration with its trained parts."""
    torch.set_num_threads(1)
    config = read_json(shipped_bundle(BUNDLE) / "configs" / "train.json", "a configuration")
    config |= {"seed": run.seed, "scarce": TABLES[run.table], "device": "cpu"}
    kept = ("LrScheduleHandler", "DropModalitiesHandler", *(["MetaUpdateHandler"] if run.meta else []))
    config["train"]["handlers"] = [h for h in config["train"]["handlers"] if h["_target_"].endswith(kept)]
    parser = ConfigParser(config)
    parser.update({**deepcopy(dict(run.settings)), "read_pairs": pairs})  # MONAI changes its input
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
    """Do the trainings that are not in the file yet, and add a row for each."""
    done = {(row["table"], row["condition"], row["seed"]) for row in read_rows(path)}
    missing = [run for run in runs if run.key not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
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
