"""The training benchmark runs, at a size that says nothing about speed."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "benchmark" / "training.py"


@pytest.mark.slow
def test_benchmark_writes_every_figure(tmp_path):
    small = "--crop 16x16x16 --batch-size 1 --repeats 2 --channels 4 8 16 --cases-shape 24 28 24 --cases-spacing 6"
    less = "--networks dynunet ours-4 ours-1 --num-workers 0 1 --loading-steps 2"
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(tmp_path), *small.split(), *less.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "training.json").read_text())
    assert [row["network"] for row in report["steps"]] == ["dynunet", "ours-4", "ours-1"]
    assert all(len(row["seconds"]) == 2 and row["peak_gib"] > 0 for row in report["steps"])
    assert set(report["lines"]) == {"16x16x16"}
    assert [(row["num_workers"], len(row["data_seconds"])) for row in report["loading"]] == [(0, 2), (1, 2)]
    assert all(0 < row["data_share"] < 1 for row in report["loading"])
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    assert "ours, 1 of 4 present" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--crop 16x16x16 --batch-size 1 2", "--batch-size: expected one number, or one for each crop"),
        (
            "--crop 16x16x40 --batch-size 1",
            "--crop: expected sizes that 16 divides, as SegResNet and DynUNet need them",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path, arguments, message):
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(tmp_path), *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(message)
