"""Time prediction on one case of 240x240x155 beside MONAI's SegResNet with the Model Zoo's BraTS settings.

The peer runs in fp32 on the whole volume, as its bundle does it, in a process with PyTorch's own memory settings; and,
to tell what those do, once more in the process that measures our network, with ours. All measurements take turns; the
whole command runs as a process of its own, from its start to the written mask and preview.

Usage: inference.py OUTPUT [--case FOLDER] [--weights FILE] [--repeats 3] [--device cpu] [--precision auto]
           [--shape 240 240 155] [--small-shape 72 88 72] [--cases 1 2 4 8] [--no-plots]
Writes inference.json, inference.png, and, unless given, a simulated case and random weights to OUTPUT.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

if "--peer" not in sys.argv:
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as the command line does

import matplotlib
import torch
from monai.networks.nets import SegResNet
from scipy import stats

from metakd_monai.apps.predict.predictor import Compute, Predictor
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor
from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import write_json, write_safely
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import Modality

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # after the backend

PEER = "SegResNet, whole volume, fp32"
PEER_TUNED = "SegResNet with our memory settings"
COMMAND = "whole command"
AIMS = {"4 of 4": 0.35, "1 of 4": 0.2, "15 subsets": 2.2, COMMAND: 0.8}
GIB = 2**30
WITNESS = Path(__file__).with_name("witness.py")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--case", type=Path, help="folder of a case with four sequences; default a simulated one")
    parser.add_argument("--weights", type=Path, help="default random ones of the default widths")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--shape", nargs=3, type=int, default=[240, 240, 155], help="of the simulated case, 1 mm")
    parser.add_argument("--small-shape", nargs=3, type=int, default=[72, 88, 72], help="of the small cases, 2 mm")
    parser.add_argument("--cases", nargs="+", type=int, default=[1, 2, 4, 8], help="numbers of small cases")
    parser.add_argument("--peer", nargs=3, type=int, help=argparse.SUPPRESS)  # be the peer's process
    parser.add_argument("--no-plots", action="store_true", help="leave out volume sizes and numbers of cases")
    return parser.parse_args()


def make_case(folder: Path, shape: list[int], spacing: float, cases: int = 1) -> Path:
    """Return a folder of simulated cases, made once."""
    if not folder.is_dir():
        simulate_cohort(folder, cases=cases, seed=0, shape=tuple(shape), spacing=spacing, progress=False)
    return folder


def make_weights(path: Path) -> Path:
    """Return a file of random weights, made once."""
    if not path.is_file():
        torch.manual_seed(0)
        torch.save(MetaKDUNet().state_dict(), path)
    return path


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def make_peer(shape: tuple[int, ...], device: torch.device) -> Callable[[], Any]:
    """Return a call that runs SegResNet on a volume, each axis padded to a multiple of 8."""
    network = SegResNet(
        init_filters=16,
        in_channels=4,
        out_channels=3,
        dropout_prob=0.2,
        blocks_down=[1, 2, 2, 4],
        blocks_up=[1, 1, 1],
    )
    network = network.to(device).eval()
    image = torch.randn(1, 4, *(8 * -(-length // 8) for length in shape), device=device)

    def run() -> None:
        with torch.inference_mode():
            network(image)

    return run


def serve_peer(shape: tuple[int, ...], device: torch.device) -> None:
    """Time the peer for each line that comes in; tell its seconds in a line."""
    run = make_peer(shape, device)
    for _ in sys.stdin:
        print(timed(run, device), flush=True)


def start_peer(shape: tuple[int, ...], options: argparse.Namespace) -> Callable[[], float]:
    """Start the peer's process; return a call that times the peer in it."""
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    words = [sys.executable, __file__, str(options.output), "--device", options.device, "--peer", *map(str, shape)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def run() -> float:
        print(file=process.stdin, flush=True)
        return float(process.stdout.readline() if process.stdout else "nan")

    return run


def keep(item: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a volume with only its first sequences available."""
    return {**item, "available": torch.arange(len(Modality)) < number}


def all_subsets(predictor: Predictor, item: dict[str, Any]) -> None:
    """Segment a volume for all subsets of its sequences."""
    for _ in SubsetPredictor(predictor).logits(item):
        pass


def command(case: Path, weights: Path, output: Path, options: argparse.Namespace, *more: str) -> dict[str, float]:
    """Run ``metakd predict`` as a process; return its seconds and its peak resident memory in GiB."""
    words = ["predict", str(case), "--weights", str(weights), "--output", str(output), "--overwrite"]
    words += ["--device", options.device, "--precision", options.precision, *more]
    start = time.perf_counter()
    found = subprocess.run(
        [sys.executable, str(WITNESS), sys.executable, "-m", "metakd_monai", *words], capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if found.returncode:
        raise SystemExit(f"metakd {' '.join(words)} failed: {found.stderr[-300:]}")
    return {"seconds": seconds, "gib": int(found.stdout.split()[-1]) * 1024 / GIB}


def measure_turns(runs: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Run everything in turns, after a first turn that does not count."""
    for name, run in runs.items():
        print(f"  first run of {name}: {run():.2f} s", file=sys.stderr)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(run())
    return seconds


def show(seconds: dict[str, list[float]]) -> list[str]:
    """Return the lines of a table: minimum, median, spread, and the ratio of medians to the peer's."""
    peer = median(seconds[PEER])
    lines = ["| what | minimum s | median s | spread s | of SegResNet | aim |", "|---|--:|--:|--:|--:|--:|"]
    for name, found in seconds.items():
        ratio, aim = median(found) / peer, AIMS.get(name)
        spread = max(found) - min(found)
        lines.append(f"| {name} | {min(found):.2f} | {median(found):.2f} | {spread:.2f} | {ratio:.3f} | {aim or ''} |")
    return lines


def line_through(x: list[float], y: list[float]) -> tuple[float, float, float]:
    """Return slope, intercept and the coefficient of determination of a straight line through points."""
    found = stats.linregress(x, y)
    return float(found.slope), float(found.intercept), float(found.rvalue**2)


def growth_of_volume(predictor: Predictor, item: dict[str, Any], repeats: int) -> tuple[list[float], list[float]]:
    """Return sizes in millions of voxels and seconds, of parts of a brain's box with all sequences."""
    voxels, seconds = [], []
    for part in (0.25, 0.5, 0.75, 1.0):
        image = item["image"][:, : max(32, int(part * item["image"].shape[1]))]
        run = partial(predictor.segment, {**item, "image": image})
        seconds.append(median(timed(run, predictor.device) for _ in range(repeats)))
        voxels.append(image[0].numel() / 1e6)
    return voxels, seconds


def growth_of_cases(options: argparse.Namespace, weights: Path) -> tuple[list[float], list[float]]:
    """Return numbers of small cases and the seconds of the whole command."""
    seconds = []
    for number in options.cases:
        cases = make_case(options.output / f"small_{number}", options.small_shape, 2.0, number)
        seconds.append(command(cases, weights, options.output / "small_masks", options)["seconds"])
    return [float(number) for number in options.cases], seconds


def draw(path: Path, growth: dict[str, tuple[list[float], list[float]]]) -> None:
    """Draw seconds against each quantity, with the straight line through them."""
    figure, axes = plt.subplots(1, len(growth), figsize=(4.5 * len(growth), 3.6), squeeze=False)
    for panel, (name, (x, y)) in zip(axes[0], growth.items(), strict=True):
        slope, intercept, fit = line_through(x, y)
        panel.plot(x, y, "o")
        panel.plot(x, [slope * value + intercept for value in x], "-", label=f"{slope:.2f} s each, R² {fit:.3f}")
        panel.set(xlabel=name, ylabel="seconds", ylim=(0, None))
        panel.legend(frameon=False)
    figure.tight_layout()
    write_safely(path, lambda temporary: figure.savefig(temporary, format="png", dpi=100))


def main() -> None:
    """Measure, print, write and draw."""
    options, start = parse(), time.perf_counter()
    if options.peer is not None:
        serve_peer(options.peer, torch.device(options.device))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    weights = options.weights or make_weights(options.output / "random.pt")
    case = find_cases(options.case or make_case(options.output / "case", options.shape, 1.0))[0]
    folder = options.case or options.output / "case"
    predictor = Predictor(weights, options.device, compute=Compute(precision=options.precision))
    item, device = predictor.read(case), predictor.device
    runs: dict[str, Callable[[], float]] = {PEER: start_peer(item["size"], options)}
    runs[PEER_TUNED] = partial(timed, make_peer(item["size"], device), device)
    for number in range(len(Modality), 0, -1):
        runs[f"{number} of 4"] = partial(timed, partial(predictor.segment, keep(item, number)), device)
    runs["15 subsets"] = partial(timed, partial(all_subsets, predictor, item), device)
    runs[COMMAND] = lambda: command(folder, weights, options.output / "masks", options)["seconds"]
    seconds = measure_turns(runs, options.repeats)
    memory = {
        f"{limit} GiB": command(folder, weights, options.output / "masks", options, "--memory-limit", limit)
        for limit in ("3", "1.5")
    }
    growth = {"sequences": ([1.0, 2.0, 3.0, 4.0], [median(seconds[f"{n} of 4"]) for n in (1, 2, 3, 4)])}
    if not options.no_plots:
        growth["million voxels in the brain's box"] = growth_of_volume(predictor, item, options.repeats)
        growth["cases (whole command)"] = growth_of_cases(options, weights)
    print("\n".join(show(seconds)))
    print(f"brain's box {'x'.join(map(str, item['image'].shape[1:]))} of {'x'.join(map(str, item['size']))}")
    for name, found in memory.items():
        print(f"memory limit {name}: peak {found['gib']:.2f} GiB, {found['seconds']:.1f} s")
    for name, (x, y) in growth.items():
        slope, intercept, fit = line_through(x, y)
        print(f"{name}: {intercept:.2f} s + {slope:.2f} s each, R² {fit:.3f}")
    write_json(
        options.output / "inference.json",
        {
            "machine": {"cpu": platform.processor(), "threads": torch.get_num_threads(), "torch": torch.__version__},
            "device": str(device),
            "settings": predictor.settings.compute.__dict__,
            "seconds": seconds,
            "memory": memory,
            "growth": growth,
            "total_seconds": time.perf_counter() - start,
        },
    )
    draw(options.output / "inference.png", growth)


if __name__ == "__main__":
    main()
