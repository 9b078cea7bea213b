"""Try a thousand bad inputs on every command and say what held: ``python scripts/faults.py``, a quarter of an hour.

Each input belongs to a family; families, numbers and the seed make it again::

    python scripts/faults.py --seed 7 --output faults          # all; faults.md and faults.json
    python scripts/faults.py --seed 7 --sample 40              # a random sample
    python scripts/faults.py --seed 7 --only "weights:12" --keep KEPT   # one, its folder kept and what it said shown

Exit status: 0 nothing failed, 1 something did, 3 an input could not be made.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before PyTorch is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from campaign.families import choose
from campaign.report import Report
from campaign.runner import run_trials
from campaign.sound import Sound
from campaign.verdicts import judge
from campaign.zygote import call_here, run_here, warm_up

SECONDS = 25.0


def main() -> int:
    """Run the campaign."""
    arguments = read_arguments()
    folder = Path(arguments.keep or tempfile.mkdtemp(prefix="faults-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
    try:
        return run_campaign(arguments, folder)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


def run_campaign(arguments: argparse.Namespace, folder: Path) -> int:
    """Make the sound inputs, try the bad ones, and report."""
    start = time.monotonic()
    warm_up()
    sound = Sound(folder / "sound", run_here, arguments.seed)
    if call_here(sound.prepare):
        sys.exit(f"{sound.folder}: the sound inputs could not be made: see stderr in it")
    trials = choose(arguments.seed, arguments.only, arguments.sample, arguments.family)
    report = Report(arguments.seed, len(trials))
    for trial, outcome in run_trials(trials, sound, folder, arguments.jobs, arguments.seconds, bool(arguments.keep)):
        name = f"{trial.family.replace(' ', '-')}-{trial.number}"
        report.add(trial, outcome, judge(outcome, folder / name / "a/b/work"))
        if arguments.only:
            print(f"{trial.family}:{trial.number} {trial.name}\nstatus {outcome.status}\n{outcome.said}")
    report.end(time.monotonic() - start)
    print(report.as_markdown())
    if arguments.output:
        report.write(Path(arguments.output))
    return report.status()


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of every draw (default 0)")
    parser.add_argument("--sample", type=int, help="try so many, drawn at random, of many families")
    parser.add_argument("--family", action="append", help="try the families whose names begin so")
    parser.add_argument("--only", metavar="FAMILY:NUMBER", help="try one input")
    parser.add_argument("--keep", metavar="DIR", help="keep every input's folder there")
    parser.add_argument("--jobs", type=int, default=2, help="inputs at a time (default 2)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="limit for each (default 25)")
    parser.add_argument("--output", metavar="NAME", help="write NAME.md and NAME.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
