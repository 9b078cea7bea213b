"""The paper's Table 3 on AV-MNIST: MetaKD, other methods, both bounds, and the control without the scarce modality.

Every number is the last epoch's; nothing is chosen on the test set. Finished runs are kept in OUTPUT/runs.csv: start it
again after an interruption. The report goes to OUTPUT/report.md.

Usage: reproduce_table3.py OUTPUT --pairs DIR [--seeds 10] [--first-seed 0] [--jobs 2] [--paper TABLE.csv]
[--recipe tuned.json] [--conditions "control;metakd 20"]
DIR is what `metakd avmnist` wrote; a recipe is JSON that is laid over train.json.
"""

import argparse
import signal
from pathlib import Path

from metakd_monai.apps.avmnist.table3 import paper_values, report, runs_of
from metakd_monai.apps.avmnist.trainings import carry_out, load_pairs, read_rows
from metakd_monai.apps.benchmark.paper_tables import find_table
from metakd_monai.data.files import read_json, write_text


def main() -> None:
    """Train what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pairs", help="folder that `metakd avmnist` wrote; without it the embedded stand-in")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--paper", type=Path, default=find_table("paper:table3"), help="for the paper's column")
    parser.add_argument("--recipe", type=Path, help="settings laid over train.json; another OUTPUT for each")
    parser.add_argument("--conditions", help="such as 'control;metakd 20'; all without it")
    arguments = parser.parse_args()
    path = arguments.output / "runs.csv"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end as at Ctrl-C, workers too
    recipe = read_json(arguments.recipe, "a recipe") if arguments.recipe else None
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    runs = [run for seed in seeds for run in runs_of(seed, recipe)]
    if arguments.conditions:
        wanted, known = arguments.conditions.split(";"), {run.condition for run in runs}
        if unknown := [name for name in wanted if name not in known]:
            parser.error(f"--conditions: {unknown[0]!r} found; expected some of {', '.join(sorted(known))}")
        runs = [run for run in runs if run.condition in wanted]
    carry_out(runs, arguments.pairs, path, arguments.jobs)
    data = f"AV-MNIST, SHA-256 {load_pairs(arguments.pairs).digest()[:16]}" if arguments.pairs else "embedded stand-in"
    text = report(read_rows(path), paper_values(arguments.paper), data)
    write_text(arguments.output / "report.md", text)
    print(text)


if __name__ == "__main__":
    main()
