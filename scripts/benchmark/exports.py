"""Time the exported formats beside the network itself, on one box of random numbers, in turns in one process.

Usage: exports.py OUTPUT [--weights FILE] [--shape 144 176 144] [--repeats 3]
Writes the exports (kept for the next time), random weights of the default widths unless given, and exports.json to
OUTPUT. Every format runs in fp32 on the CPU, with four sequences and with one.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from inference import make_weights, measure_turns, timed  # first: it sets PyTorch's memory

import torch  # isort: skip

from metakd_monai.bundle.root import bundle_root
from metakd_monai.cli.export import FORMATS
from metakd_monai.data.files import write_json
from metakd_monai.vocabulary import Modality
from metakd_monai.weights.exports import load_any
from metakd_monai.weights.exports.write_export import export_network

EAGER = "model.pt"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, help="default random ones of the default widths")
    parser.add_argument("--shape", nargs=3, type=int, default=[144, 176, 144])
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def make_files(weights: Path, folder: Path) -> dict[str, Path]:
    """Return the file of each format, exported once."""
    files = {EAGER: weights}
    for name, end in FORMATS.items():
        if name == "tensorrt":
            continue
        path = folder / f"{weights.stem}{end}"
        if not path.is_file():
            print(f"  exporting {name}", file=sys.stderr)
            export_network(weights, path, name, bundle_root())
        files[f"{name} ({end})"] = path
    return files


@torch.inference_mode()
def run(network: Any, image: torch.Tensor, number: int) -> torch.Tensor:
    """Return the logits of a box of which the first sequences are there."""
    logits: torch.Tensor = network(image, torch.arange(len(Modality))[None] < number)
    return logits


def main() -> None:
    """Export, measure, print and write."""
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    files = make_files(options.weights or make_weights(options.output / "random.pt"), options.output)
    torch.manual_seed(0)
    image, device = torch.randn(1, len(Modality), *options.shape), torch.device("cpu")
    networks = {name: load_any(path) for name, path in files.items()}
    expected = run(networks[EAGER], image, 4)
    differences = {name: float((run(network, image, 4) - expected).abs().max()) for name, network in networks.items()}
    seconds = measure_turns(
        {
            f"{name}|{number}": partial(timed, partial(run, network, image, number), device)
            for name, network in networks.items()
            for number in (4, 1)
        },
        options.repeats,
    )
    print("| file | MiB | 4 of 4: median s | spread s | 1 of 4: median s | spread s | largest difference of logits |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, path in files.items():
        times = [seconds[f"{name}|{number}"] for number in (4, 1)]
        figures = " | ".join(f"{median(found):.2f} | {max(found) - min(found):.2f}" for found in times)
        print(f"| {name} | {path.stat().st_size / 2**20:.1f} | {figures} | {differences[name]:.1e} |")
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    report = {"machine": machine, "shape": options.shape, "seconds": seconds, "largest_difference": differences}
    write_json(options.output / "exports.json", report)


if __name__ == "__main__":
    main()
