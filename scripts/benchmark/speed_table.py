"""One table of how long things take: this version, another one beside it, and the aims, as ratios in one run.

S is MONAI's SegResNet with the Model Zoo's BraTS settings, a whole volume of 240x240x155 in fp32; D is a training step
of MONAI's DynUNet in fp32; both with PyTorch's usual memory settings. Everything takes turns, each in a process of its
own. Ours is what a user gets: `metakd predict` with the shipped weights and its defaults, and train.json's trainer.

Usage: speed_table.py OUTPUT --case FOLDER [--before TREE] [--repeats 3] [--crop 128x128x128]
FOLDER is a case with four sequences; TREE a checkout of another version. Writes speed.json and speed.md to OUTPUT.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from metakd_monai.data.files import write_json, write_text
from metakd_monai.processes.startup import LARGEST_KEPT

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
COPIES = (2, 6)  # cases of the small and the large cohort, of which the difference is further cases
AIMS = {
    "whole command, four sequences": ("S", 0.18),
    "whole command, T1 alone": ("S", 0.12),
    "each further case of a cohort, one process": ("S", 0.06),
    "all 15 subsets of a case, masks written": ("S", 0.25),
    "start to first byte of an image, s": ("", 0.9),
    "training step, four sequences": ("D", 1.3),
    "training step, mean over dropping": ("D", 1.0),
    "peak GiB, four sequences": ("", 0.7),
    "peak of a training step, four sequences": ("peak of D", 1.1),
}
OUR_MEMORY = {  # as our commands set it
    "THP_MEM_ALLOC_ENABLE": "1",
    "MALLOC_MMAP_THRESHOLD_": str(LARGEST_KEPT),
    "MALLOC_TRIM_THRESHOLD_": str(10**12),
}
ALL_SUBSETS = "--all-subsets"
FIRST_BYTE = """
import os, runpy, sys, time
start, case = float(sys.argv[1]), sys.argv[2]
def look(event, arguments):
    if event == "open" and str(arguments[0]).startswith(case) and str(arguments[0]).endswith(".gz"):
        print(time.time() - start, flush=True)
        os._exit(0)
sys.addaudithook(look)
sys.argv = ["metakd", *sys.argv[3:]]
runpy.run_module("metakd_monai", run_name="__main__")
"""


def run(tree: Path, words: Sequence[str], usual_memory: bool = False) -> str:
    """Run a Python program on a checkout; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONWARNINGS": "ignore"}
    environment |= {} if usual_memory else OUR_MEMORY
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, cwd=tree)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {done.stderr[-500:]}")
    return done.stdout


class Measure:
    """Measurements on one checkout.

    Args:
        tree: of the version.
        case: folder of a case.
        output: of results and copies.
        crop: of a training step.
    """

    def __init__(self, tree: Path, case: Path, output: Path, crop: str) -> None:
        self.tree, self.case, self.output, self.crop = tree, case, output, [int(size) for size in crop.split("x")]

    def predict(self, source: Path, *more: str) -> list[str]:
        """Return the words of a command."""
        return ["-m", "metakd_monai", "predict", str(source), "-o", str(self.output / "masks"), "--overwrite", *more]

    def time(self, words: Sequence[str]) -> float:
        """Return how long a program takes, from its start to its end."""
        start = time.perf_counter()
        run(self.tree, words)
        return time.perf_counter() - start

    def further(self) -> float:
        """Return the seconds of each further case, from cohorts of two sizes."""
        few, many = (self.output / f"cohort_{number}" for number in COPIES)
        took = [self.time(self.predict(folder)) for folder in (few, many)]
        return (took[1] - took[0]) / (COPIES[1] - COPIES[0])

    def first_byte(self) -> float:
        """Return the seconds until an image is opened."""
        words = ["-c", FIRST_BYTE, str(time.time()), str(self.case), *self.predict(self.case)[2:]]
        return float(run(self.tree, words))

    def peak(self) -> float:
        """Return the peak resident memory of the command in GiB."""
        words = [str(HERE / "witness.py"), sys.executable, *self.predict(self.case)]
        return int(run(self.tree, words).split()[-1]) / 2**20

    def step(self, network: str, precision: str) -> tuple[float, float]:
        """Return the seconds of a training step, and its peak memory in GiB beyond the process without it."""
        task = {"network": network, "crop": self.crop, "batch_size": 1, "repeats": 1, "device": "cpu"}
        task |= {"precision": precision, "channels": None}
        words = [str(self.tree / "scripts" / "benchmark" / "measure_training.py"), json.dumps(task)]
        found = json.loads(run(self.tree, words, not network.startswith("ours")).splitlines()[-1])
        return min(found["seconds"]), found["peak_gib"] - found["before_gib"]

    def prediction(self) -> dict[str, float]:
        """Return one measurement of each row of predicting."""
        all_four, alone = (self.time(self.predict(self.case, *more)) for more in ((), ("--modalities", "t1")))
        knows = ALL_SUBSETS in (self.tree / "metakd_monai" / "cli" / "predict.py").read_text()
        fifteen = self.time(self.predict(self.case, "--no-preview", ALL_SUBSETS)) if knows else None
        values = (all_four, alone, self.further(), fifteen, self.first_byte(), self.peak())
        rows = dict(zip([name for name in AIMS if "training" not in name], values, strict=True))
        return {name: value for name, value in rows.items() if value is not None}

    def training(self, precision: str) -> dict[str, float]:
        """Return one measurement of each row of training."""
        steps = {number: self.step(f"ours-{number}", precision) for number in (4, 3, 2, 1)}
        mean = sum(took for took, _ in steps.values()) / len(steps)
        values = (steps[4][0], mean, steps[4][1])
        names = [name for name in AIMS if "training" in name]
        return dict(zip(names, values, strict=True))


def copy_cases(case: Path, output: Path) -> None:
    """Make the cohorts: links to one case under several names."""
    for number in COPIES:
        for copy in range(number):
            folder = output / f"cohort_{number}" / f"case{copy}"
            folder.mkdir(parents=True, exist_ok=True)
            for file in case.iterdir():
                if not (link := folder / file.name.replace(case.name, folder.name)).exists():
                    link.symlink_to(file.resolve())


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Return, for the peers and each version, what each turn found."""
    trees = {"now": TREE, **({"before": options.before.resolve()} if options.before else {})}
    versions = {name: Measure(tree, options.case, options.output, options.crop) for name, tree in trees.items()}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("peers", *versions)}
    words = [str(HERE / "inference.py"), str(options.output), "--peer", "240", "240", "155"]
    for turn in range(options.repeats):
        peer = subprocess.run([sys.executable, *words], input="\n\n", capture_output=True, text=True, check=True)
        step, peak = versions["now"].step("dynunet", "fp32")
        found["peers"].append({"S": float(peer.stdout.split()[-1]), "D": step, "peak of D": peak})
        for name, version in versions.items():
            training = version.training("auto" if name == "now" else options.before_precision)
            found[name].append({**version.prediction(), **training})
            print(f"turn {turn + 1}, {name}: {found[name][-1]}", file=sys.stderr)
    return found


def show(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Return the table: the least of all turns, for what else runs only adds; as ratios where the aim is one."""
    least = {name: {row: min(t[row] for t in turns) for row in turns[0]} for name, turns in found.items()}
    versions = [name for name in found if name != "peers"]
    peers = ", ".join(f"{name} {value:.2f}" for name, value in least["peers"].items())
    lines = [f"Least of {len(found['peers'])} turns: {peers} (seconds, GiB).", ""]
    lines += [f"| what | in | {' | '.join(versions)} | aim |", f"|---|---|{'--:|' * (len(versions) + 1)}"]
    for row, (unit, aim) in AIMS.items():
        values = [least[name].get(row) for name in versions]
        scale = least["peers"].get(unit, 1.0)
        cells = " | ".join("-" if value is None else f"{value / scale:.2f}" for value in values)
        lines.append(f"| {row} | {unit} | {cells} | {aim} |")
    return lines


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--case", type=Path, required=True, help="folder of a case with four sequences")
    parser.add_argument("--before", type=Path, help="checkout of another version")
    parser.add_argument("--before-precision", default="fp32", help="that it trains in")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--crop", default="128x128x128", help="of a training step")
    options = parser.parse_args()
    options.output, options.case = options.output.resolve(), options.case.resolve()
    copy_cases(options.case, options.output)
    found = measure(options)
    print("\n".join(show(found)))
    write_json(options.output / "speed.json", found)
    write_text(options.output / "speed.md", "\n".join(show(found)) + "\n")


if __name__ == "__main__":
    main()
