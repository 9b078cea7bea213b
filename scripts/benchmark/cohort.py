"""Time whole ``metakd predict`` commands on 10 to 200 small simulated cases: is the cost per case flat, and the memory?

Usage: cohort.py OUT [--ray] [--sizes 10,50,100,200] (three or more). Writes OUT/cohort.json and
OUT/cohort.png. Time and memory are those of the whole tree of processes of a command, memory as the sum of what each
holds alone or shares (proportional set size) where the system tells it (Linux).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.networks import MetaKDUNet

ENGINES = {"serial": [], "jobs 2": ["--jobs", "2"], "ray 2": ["--engine", "ray", "--jobs", "2"]}
SIZES = (10, 50, 100, 200)
DIFFERENT = 10  # cases simulated; the others are links to them
FLAT = 1.15  # the last cases may cost this many times what the first ones do, and memory grow as much
POLL_SECONDS = 0.25


def make_cohort(folder: Path, size: int, simulated: Path) -> Path:
    """Make a folder of ``size`` cases, by links to the simulated ones."""
    sources = sorted(path for path in simulated.iterdir() if path.is_dir())
    for number in range(size):
        source, name = sources[number % len(sources)], f"Case_{number:04d}"
        (folder / name).mkdir(parents=True)
        for path in source.iterdir():
            (folder / name / path.name.replace(source.name, name)).symlink_to(path)
    return folder


def tree(pid: int) -> list[int]:
    """Return a process and all below it (Linux; elsewhere itself alone)."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(found for child in children for found in tree(child))]


def memory_mib(pid: int) -> float:
    """Return the proportional set size of a tree of processes in MiB; 0 where the system does not tell."""
    total = 0
    for member in tree(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measure(options: list[str], cohort: Path, weights: Path, output: Path) -> dict[str, float]:
    """Run a command; return its seconds and the peak memory of its tree.

    Raises:
        RuntimeError: when a case is not done.
    """
    command = [sys.executable, "-m", "metakd_monai", "predict", str(cohort), "--output", str(output)]
    command += ["--weights", str(weights), "--device", "cpu", *options]
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with process:
        while process.poll() is None:
            peak = max(peak, memory_mib(process.pid))
            time.sleep(POLL_SECONDS)
        messages = process.stderr.read() if process.stderr else ""
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}\n{messages[-2000:]}")
    return {"seconds": time.perf_counter() - start, "peak_mib": peak}


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Fit seconds = start + cases * each to one engine's rows; compare both halves, and the memory."""
    cases, seconds = (np.array([row[name] for row in rows], float) for name in ("cases", "seconds"))
    each, start = np.polyfit(cases, seconds, 1)
    middle = len(rows) // 2
    first, last = (np.diff(seconds[[a, b]]) / np.diff(cases[[a, b]]) for a, b in ((0, middle), (middle, -1)))
    misfit = np.abs(seconds - (start + each * cases)).max() / seconds.max()
    return {
        "start_seconds": float(start),
        "seconds_per_case": float(each),
        "last_over_first": float(last[0] / first[0]),
        "largest_misfit": float(misfit),
        "memory_growth": rows[-1]["peak_mib"] / max(rows[0]["peak_mib"], 1e-9),
    }


def draw(path: Path, rows: list[dict[str, Any]], summaries: dict[str, dict[str, float]]) -> None:
    """Draw time and peak memory against the number of cases."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for engine, summary in summaries.items():
        mine = [row for row in rows if row["engine"] == engine]
        cases = [row["cases"] for row in mine]
        (line,) = left.plot(cases, [row["seconds"] for row in mine], "o", label=engine)
        fit = [summary["start_seconds"] + summary["seconds_per_case"] * number for number in (0, cases[-1])]
        left.plot([0, cases[-1]], fit, "-", color=line.get_color(), linewidth=1)
        right.plot(cases, [row["peak_mib"] for row in mine], "o-", color=line.get_color(), label=engine)
    left.set(xlabel="cases", ylabel="s, whole command", xlim=0, ylim=0)
    right.set(xlabel="cases", ylabel="peak memory of all processes, MiB", xlim=0, ylim=0)
    left.legend()
    figure.savefig(path, dpi=120)


def report(rows: list[dict[str, Any]], summaries: dict[str, dict[str, float]]) -> None:
    """Print the tables."""
    print(f"\n{'engine':<8} {'cases':>5} {'seconds':>8} {'s/case':>7} {'peak MiB':>9}")
    for row in rows:
        each = row["seconds"] / row["cases"]
        print(f"{row['engine']:<8} {row['cases']:>5} {row['seconds']:>8.1f} {each:>7.3f} {row['peak_mib']:>9.0f}")
    print(f"\n{'engine':<8} {'start s':>8} {'s/case':>7} {'last/first':>10} {'misfit':>7} {'memory':>7}")
    for engine, found in summaries.items():
        print(
            f"{engine:<8} {found['start_seconds']:>8.1f} {found['seconds_per_case']:>7.3f}"
            f" {found['last_over_first']:>10.2f} {found['largest_misfit']:>7.1%} {found['memory_growth']:>7.2f}"
        )
    print(f"flat: last/first and memory at most {FLAT}; misfit: largest distance from the line, of the longest time")


def main() -> int:
    """Run everything; return 0 when cost and memory are flat."""
    parser = argparse.ArgumentParser(description="Cost per case of metakd predict.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--ray", action="store_true", help="also a local Ray of two workers")
    parser.add_argument("--sizes", type=lambda text: tuple(map(int, text.split(","))), default=SIZES)
    options = parser.parse_args()
    engines = {name: extra for name, extra in ENGINES.items() if options.ray or name != "ray 2"}
    options.output.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        torch.manual_seed(0)
        torch.save(MetaKDUNet(channels=(4, 8, 16)).state_dict(), folder / "model.pt")
        simulate_cohort(folder / "simulated", cases=DIFFERENT, shape=(24, 30, 24), spacing=6.0, progress=False)
        cohorts = {size: make_cohort(folder / f"in{size}", size, folder / "simulated") for size in options.sizes}
        measure([], cohorts[min(cohorts)], folder / "model.pt", folder / "warm")  # files and code into memory
        for size, cohort in cohorts.items():  # engines in turns, so that a busy minute does not hit one alone
            for engine, extra in engines.items():
                found = measure(extra, cohort, folder / "model.pt", folder / f"{engine}{size}")
                rows.append({"engine": engine, "cases": size, **found})
                print(f"{engine}, {size} cases: {found['seconds']:.1f} s, {found['peak_mib']:.0f} MiB", flush=True)
    summaries = {engine: summarise([row for row in rows if row["engine"] == engine]) for engine in engines}
    report(rows, summaries)
    (options.output / "cohort.json").write_text(json.dumps({"rows": rows, "engines": summaries}, indent=2) + "\n")
    draw(options.output / "cohort.png", rows, summaries)
    return int(any(max(s["last_over_first"], s["memory_growth"]) > FLAT for s in summaries.values()))


if __name__ == "__main__":
    sys.exit(main())
