"""Time and memory of one training step beside MONAI's SegResNet and DynUNet, and how long steps wait for data.

Ours is the bundle's network in the bundle's trainer, distillation included, with 4, 3, 2 and 1 modalities present in
each sample. The peers are MONAI's networks in MONAI's trainer: SegResNet with the Model Zoo's BraTS settings, DynUNet
with the widths of ours. All get the same images, loss and optimizer. Each measurement is a process of its own, so that
its peak memory is its own: resident on a CPU, allocated on a GPU.

Then the bundle's train.json runs on simulated cases in the cache, with different numbers of loader workers.

Usage: training.py OUTPUT [--crop 160x160x80 128x128x128] [--batch-size 2 1] [--repeats 3] [--device cpu]
           [--precision auto] [--num-workers 0 1 2] [--loading-steps 3] [--json FILE]
Writes training.json, training.png and the simulated cases to OUTPUT, and prints the tables.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np

from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.data.files import write_json, write_safely

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # after the backend

OURS = "ours"
PEERS = {"segresnet": "SegResNet", "dynunet": "DynUNet"}
LABELS = {**PEERS, **{f"{OURS}-{n}": f"ours, {n} of 4 present" for n in (4, 3, 2, 1)}}
MEASURE = Path(__file__).with_name("measure_training.py")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--crop", nargs="+", default=["160x160x80", "128x128x128"], help="sizes, such as 160x160x80")
    parser.add_argument("--batch-size", nargs="+", type=int, default=[2, 1], help="one for each crop, or one for all")
    parser.add_argument("--repeats", type=int, default=3, help="steps timed, after one of half the size")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16", "fp16"],
        default="auto",
        help="auto: ours as train.json trains it on the device, the peers in fp32",
    )
    parser.add_argument("--channels", nargs="+", type=int, help="widths of ours and DynUNet; default the bundle's")
    parser.add_argument("--networks", nargs="*", choices=list(LABELS), default=list(LABELS), help="may be empty")
    parser.add_argument(
        "--num-workers", nargs="*", type=int, default=[0, 1, 2], help="for the loading part; may be empty"
    )
    parser.add_argument("--loading-steps", type=int, default=3)
    parser.add_argument("--cases-shape", nargs=3, type=int, default=[168, 192, 144], help="of the simulated cases")
    parser.add_argument("--cases-spacing", type=float, default=1.0, help="mm")
    parser.add_argument("--json", type=Path, help="default OUTPUT/training.json")
    options = parser.parse_args(arguments)
    if len(options.batch_size) not in (1, len(options.crop)):
        parser.error("--batch-size: expected one number, or one for each crop")
    if any(size % 16 for crop in options.crop for size in sizes_of(crop)):
        parser.error("--crop: expected sizes that 16 divides, as SegResNet and DynUNet need them")
    return options


def sizes_of(crop: str) -> list[int]:
    """Return the sizes in a text such as 160x160x80."""
    return [int(size) for size in crop.split("x")]


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Run measure_training.py on a task in a new process; return the task with what was found."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(MEASURE), json.dumps(task)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{task}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**task, **found}


def measure_steps(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure a step of each network at each crop; print a line for each."""
    common = {key: getattr(options, key) for key in ("device", "precision", "repeats", "channels")}
    sizes = options.batch_size * (len(options.crop) if len(options.batch_size) == 1 else 1)
    rows = []
    print(
        f"{'crop':>12} {'batch':>5}  {'network':<22} {'min s':>8} {'median s':>8} {'max s':>8} {'peak GiB':>8}",
        flush=True,
    )
    for crop, batch_size in zip(options.crop, sizes, strict=True):
        for network in options.networks:
            row = measure({"crop": sizes_of(crop), "batch_size": batch_size, "network": network, **common})
            seconds = row["seconds"]
            figures = [min(seconds), median(seconds), max(seconds), row["peak_gib"]]
            print(
                f"{crop:>12} {batch_size:>5}  {LABELS[network]:<22} " + " ".join(f"{x:8.2f}" for x in figures),
                flush=True,
            )
            rows.append({**row, "median_seconds": median(seconds)})
    return rows


def measure_loading(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Let the bundle's training run with each number of workers; print a line for each."""
    cases = options.output / "cases"
    if options.num_workers and not cases.exists():
        simulate_cohort(cases, cases=3, seed=0, shape=options.cases_shape, spacing=options.cases_spacing)
    common = {key: getattr(options, key) for key in ("device", "precision", "channels")}
    rows = []
    print(f"\n{'workers':>7} {'step s':>8} {'waiting s':>9} {'share':>7}   (medians, {options.crop[0]})", flush=True)
    for workers in options.num_workers:
        task = {"network": OURS, "crop": sizes_of(options.crop[0]), "batch_size": options.batch_size[0]}
        row = measure({**task, **common, "num_workers": workers, "steps": options.loading_steps, "cases": str(cases)})
        step, waiting = median(row["step_seconds"]), median(row["data_seconds"])
        row["data_share"] = sum(row["data_seconds"]) / (sum(row["data_seconds"]) + sum(row["step_seconds"]))
        print(f"{workers:>7} {step:8.2f} {waiting:9.3f} {row['data_share']:7.1%}", flush=True)
        rows.append(row)
    return rows


def fit(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Fit a line through the time of ours against the modalities present, for each crop; print it."""
    lines = {}
    for crop in {tuple(row["crop"]): None for row in rows}:
        points = [(int(row["network"][-1]), row["median_seconds"]) for row in rows_of_ours(rows, crop)]
        if len(points) > 1:
            present, seconds = np.array(points).T
            slope, rest = map(float, np.polyfit(present, seconds, 1))
            apart = float(np.max(np.abs(rest + slope * present - seconds) / seconds))
            name = "x".join(map(str, crop))
            print(f"\n{name}: {rest:.2f} s + {slope:.2f} s for each modality present (off by at most {apart:.1%})")
            lines[name] = {"rest": rest, "each": slope, "off": apart}
    return lines


def rows_of_ours(rows: list[dict[str, Any]], crop: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the rows of our network at a crop."""
    return [row for row in rows if tuple(row["crop"]) == crop and row["network"].startswith(OURS)]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time and peak memory against the modalities present, peers as lines across."""
    crops = list({tuple(row["crop"]): None for row in rows})
    figure, axes = plt.subplots(2, len(crops), figsize=(4.5 * len(crops), 6), squeeze=False, layout="constrained")
    for column, crop in enumerate(crops):
        for axis, key, label in zip(
            axes[:, column], ("median_seconds", "peak_gib"), ("step, s", "peak, GiB"), strict=True
        ):
            mine = sorted((int(row["network"][-1]), row[key]) for row in rows_of_ours(rows, crop))
            axis.plot([n for n, _ in mine], [value for _, value in mine], "o-", color="C0", label="ours")
            for number, (name, title) in enumerate(PEERS.items(), 1):
                for row in (row for row in rows if tuple(row["crop"]) == crop and row["network"] == name):
                    axis.axhline(row[key], color=f"C{number}", linestyle="--", label=title)
            axis.set(xlabel="modalities present", ylabel=label, ylim=(0, None), xticks=[1, 2, 3, 4])
        axes[0, column].set_title(f"{'x'.join(map(str, crop))}")
        axes[0, column].legend(fontsize="small")
    write_safely(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
    plt.close(figure)


def main(arguments: list[str]) -> int:
    """Measure, print, write, draw."""
    options = parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    steps = measure_steps(options)
    report = {"steps": steps, "lines": fit(steps), "loading": measure_loading(options)}
    write_json(options.json or options.output / "training.json", report)
    if steps:
        draw(steps, options.output / "training.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
