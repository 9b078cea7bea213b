"""One training of a comparison: trained, published, scored on the cases left out, and recorded."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metakd_monai.apps.benchmark import run_benchmark
from metakd_monai.data.files import checksum, read_record, write_json
from metakd_monai.data.fingerprint import SCORE_CODE, TRAINING_CODE, code_fingerprint
from metakd_monai.data.spreadsheets import read_csv
from metakd_monai.errors import UserError
from metakd_monai.networks.operations import count_operations
from metakd_monai.weights.load import load_network
from metakd_monai.weights.publish import publish

Train = Callable[
    [Sequence[str], dict[str, Any]], str | None
]  # takes configurations and settings; returns why it failed, or None
RECORD = "cell.json"
LOG = "log.txt"
GIB = 2**30
CODE = tuple(sorted({*TRAINING_CODE, *SCORE_CODE}))
KEPT = ("model.pt", "published/model.pt", "benchmark/scores.csv", "training.csv", "settings.json")


@dataclass(frozen=True)
class Cell:
    """A method, a seed and a fold.

    Attributes:
        method: its name.
        seed: of the training.
        fold: the one left out.
        folder: of its results.
        overlays: configurations, in order.
        settings: of the training, without the device.
        items: of a datalist, to score.
        input_stride: of the published network; None for that of the training.
        window: that it is used with; None for that of the training.
        device: to compute on.
        threads: of a CPU.
    """

    method: str
    seed: int
    fold: int
    folder: Path
    overlays: Sequence[str]
    settings: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]
    input_stride: int | None = None
    window: str | None = None
    device: str = "cpu"
    threads: int = 1

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.method}, seed {self.seed}, fold {self.fold}"

    @property
    def asked(self) -> dict[str, Any]:
        """All that determines the result, ready for JSON; files in the folder of all results are relative to it."""
        results = f"{self.folder.parents[2]}{os.sep}"
        return {
            "method": self.method,
            "seed": self.seed,
            "fold": self.fold,
            "overlays": [Path(name).name for name in self.overlays],
            **{f"--{name}": str(value).removeprefix(results) for name, value in self.settings.items()},
            "cases": [str(item["case_id"]) for item in self.items],
            "input_stride": self.input_stride,
            "window": self.window,
        }

    def read(self) -> dict[str, Any] | None:
        """Return the record if the cell is done, or None.

        Raises:
            UserError: when the folder was made with other settings.
        """
        record = read_record(self.folder / RECORD)
        found = record.get("settings", self.asked)
        if found != self.asked:
            differ = sorted(name for name in {*found, *self.asked} if found.get(name) != self.asked.get(name))
            raise UserError(f"{self.folder}: made with other {', '.join(differ)}; expected those, or a new folder")
        return record if record.get("files") else None


def run_cell(cell: Cell, train: Train) -> dict[str, Any]:
    """Train, publish and score; return the record, which is written last.

    A stopped training continues where it was, and scored cases are not scored again.

    Args:
        cell: what to do.
        train: trains; see :data:`Train`.

    Raises:
        UserError: when the training or a case fails.
    """
    cost = {"peak_gib": read_record(cell.folder / RECORD).get("peak_gib")}
    write_json(cell.folder / RECORD, {"settings": cell.asked, **cost})
    if not (cell.folder / "model.pt").is_file():
        settings = {**cell.settings, "output_dir": str(cell.folder), "device": cell.device}
        failure = train(cell.overlays, settings)
        if failure is not None:
            raise UserError(failure)
        cost = {"peak_gib": round(peak_gib(cell.device), 3)}
        write_json(cell.folder / RECORD, {"settings": cell.asked, **cost})
    published = cell.folder / "published" / "model.pt"
    publish(cell.folder / "model.pt", published, cell.input_stride, window=cell.window, largest=math.inf)
    manifest = run_benchmark(cell.items, published, cell.folder / "benchmark", cell.device, postprocessing="none")
    if failed := manifest["cases"]["failed"]:
        raise UserError(f"{next(iter(failed))}: {next(iter(failed.values()))}")
    record = {"settings": cell.asked, **cost, **describe(cell, published)}
    write_json(cell.folder / RECORD, record)
    (cell.folder / "checkpoint.pt").unlink(
        missing_ok=True
    )  # several times as large as the weights, and no longer needed
    return record


def describe(cell: Cell, published: Path) -> dict[str, Any]:
    """Return a training's time and memory, the network's needs, the code's version, and checksums of the files."""
    network = load_network(published, optimize="none")
    return {
        "device": cell.device if cell.device == "cpu" else torch.cuda.get_device_name(cell.device),
        "threads": cell.threads,
        **read_steps(cell.folder),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "tflop": {str(number): count_operations(network, number) for number in (4, 1)},
        "code_sha256": code_fingerprint(CODE),
        "files": {name: checksum(cell.folder / name) for name in KEPT},
    }


def read_steps(folder: Path) -> dict[str, Any]:
    """Return a training's number of iterations, and the seconds of one; None if not measured."""
    _, losses = read_csv(folder / "training.csv")
    _, rows = read_csv(folder / "timing.csv") if (folder / "timing.csv").is_file() else ((), [])
    seconds = sum(float(row["data_seconds"]) + float(row["step_seconds"]) for row in rows)
    return {
        "iterations": int(losses[-1]["iteration"]),
        "seconds_per_iteration": round(seconds / int(rows[-1]["iteration"]), 4) if rows else None,
    }


def peak_gib(device: str) -> float:
    """Return the largest allocation on a GPU, or else this process' largest resident size so far."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / GIB)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GIB
