"""What would have to change for the scarce modality to help on AV-MNIST? Ways to use it, chosen on validation alone.

The test pairs and MNIST's test images are taken away before anything is trained. What a choice rests on: 10,000 of
MNIST's training images that are in no pair (3a, `extra_digits`); 300 training pairs held out anew for each seed
(`test`) and the 150 validation pairs (3b). Finished runs are kept in OUTPUT/runs.csv.

Usage: study_avmnist.py OUTPUT --pairs DIR --table 3a [--recipe tuned] [--ways "control;printed"] [--seeds 3]
[--first-seed 0] [--rate 0.2] [--epochs 60] [--jobs 2]
"""

import argparse
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from metakd_monai.apps.avmnist.table3 import Results
from metakd_monai.apps.avmnist.trainings import TABLES, Run, carry_out, read_rows
from metakd_monai.apps.avmnist.ways import HELD_OUT, RECIPES, WAYS, WITHOUT_META, hold_out, settings_of


def show(results: Results, table: str, recipe: str, ways: Sequence[str]) -> None:
    """Print what a choice rests on."""
    print(f"{table}, {recipe}: mean ± sd, and gain over the control, mean ± standard error")
    for way in ways:
        for column in ("extra_digits",) if table == "3a" else ("test", "validation"):
            mean = results.mean(table, f"{recipe}: {way}", column)
            gain = results.gain(table, f"{recipe}: {way}", f"{recipe}: control", column)
            print(f"{way:<34} {column:<14} {mean:<16} {gain}")


def main() -> None:
    """Train what is missing, then show each way's gain over its control."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pairs", help="folder that `metakd avmnist` wrote; without it the embedded stand-in")
    parser.add_argument("--table", choices=list(TABLES), required=True)
    parser.add_argument("--recipe", choices=list(RECIPES), default="tuned")
    parser.add_argument("--ways", help="names, separated by semicolons; all without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=60, help="another OUTPUT for each")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    ways = arguments.ways.split(";") if arguments.ways else list(WAYS)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    path = arguments.output / "runs.csv"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end as at Ctrl-C, workers too
    change = partial(hold_out, number=HELD_OUT[arguments.table])
    runs = [
        Run(
            arguments.table,
            f"{arguments.recipe}: {way}",
            seed,
            {**settings_of(arguments.recipe, way, arguments.rate), "max_epochs": arguments.epochs},
            way not in WITHOUT_META,
            change,
        )
        for seed in seeds
        for way in ways
    ]
    carry_out(runs, arguments.pairs, path, arguments.jobs)
    show(Results(read_rows(path)), arguments.table, arguments.recipe, ways)


if __name__ == "__main__":
    main()
