"""A random sample of the campaign of bad inputs; and that its verdicts can fail."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from campaign.families import choose, families, make_family
from campaign.runner import Outcome
from campaign.trials import EITHER, REFUSED, RIGHT, Plan
from campaign.verdicts import FAILED, HELD, MINOR, judge
from conftest import REPOSITORY

REAL_PROCESSES = ("kill", "full disk", "race", "surroundings", "training")  # tried by the whole campaign alone
SAMPLE = 40
NEVER = {"hang", "wrong success", "code run", "wrote outside", "traceback", "crash", "orphan"}


def campaign(*arguments, seed=0, timeout=300):
    command = [sys.executable, REPOSITORY / "scripts" / "faults.py", "--seed", str(seed), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout, check=False)


def test_a_random_sample_holds(tmp_path):
    """The seed is the day's, or that of METAKD_FAULTS_SEED; it stands in the output of a failing test."""
    seed = int(os.environ.get("METAKD_FAULTS_SEED", time.strftime("%Y%m%d")))
    names = [name for name in families() if not name.startswith(REAL_PROCESSES)]
    chosen = [argument for name in names for argument in ("--family", name)]
    done = campaign("--sample", SAMPLE, "--output", tmp_path / "faults", *chosen, seed=seed)
    sys.stdout.write(f"seed {seed}\n{done.stdout}{done.stderr}")
    tried = json.loads((tmp_path / "faults.json").read_text())["inputs"]
    assert len(tried) == SAMPLE
    assert len({line["family"] for line in tried}) > SAMPLE / 2
    bad = [f"{line['family']}:{line['number']} {line['lines']}" for line in tried if NEVER & set(line["kinds"])]
    assert bad == []
    assert {line["verdict"] for line in tried} <= {HELD, MINOR, FAILED}  # every input could be made


def test_a_thousand_inputs_that_the_seed_makes_again():
    first, again, other = ([(t.family, t.name) for t in choose(seed)] for seed in (3, 3, 4))
    assert len(first) > 1000
    assert first == again
    assert first != other


def test_one_input_is_the_same_alone_and_among_others():
    family = make_family("header, one of four", 5)
    alone = choose(5, only="header, one of four:7")[0]
    assert alone.name == family[7].name
    assert alone.rng().integers(10**9) == family[7].rng().integers(10**9)


def end(tmp_path: Path, status: int | None = 0, said: str = "", plan: Plan = Plan(), **found) -> tuple[str, tuple]:  # noqa: B008
    verdict = judge(Outcome(status, 1.0, said, plan=plan, **found), tmp_path)
    return verdict.what, verdict.kinds


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ({"status": None}, "hang"),
        ({"status": 1, "said": "Traceback (most recent call last):\n  ..."}, "traceback"),
        ({"status": -11}, "crash"),
        ({"status": 77, "said": "what?"}, "status"),
        ({"status": 0, "plan": Plan(expect=REFUSED)}, "wrong success"),
        ({"status": 2, "plan": Plan(expect=RIGHT)}, "wrong refusal"),
        ({"status": 0, "outside": ["a/b/x.nii.gz"]}, "wrote outside"),
        ({"status": 2, "canary": True}, "code run"),
        ({"status": 0, "orphans": 1}, "orphan"),
        ({"status": 0, "memory": 5.0, "plan": Plan(memory=4.0)}, "memory"),
        ({"status": 0, "found": [("leftover", ".x")]}, "leftover"),
    ],
)
def test_each_kind_of_fault_fails(tmp_path, outcome, kind):
    assert end(tmp_path, **outcome) == (FAILED, (kind,))


def test_a_success_with_another_output_fails(tmp_path):
    (tmp_path / "table.csv").write_text("a,1\n")
    (tmp_path / "reference.csv").write_text("a,2\n")
    plan = Plan(expect=EITHER, same={"table.csv": tmp_path / "reference.csv"})
    assert end(tmp_path, plan=plan) == (FAILED, ("wrong success",))
    assert end(tmp_path, status=1, said="table.csv: 1 found; expected 2", plan=plan) == (HELD, ())
    (tmp_path / "table.csv").write_text("a,2\n")
    assert end(tmp_path, plan=plan) == (HELD, ())


def test_a_lost_neighbour_and_a_mask_in_spite_of_a_refusal_fail(tmp_path):
    (tmp_path / "c1.json").touch()
    plan = Plan(expect=REFUSED, absent=("c1.json",), others={"c2.csv": tmp_path / "c1.json"})
    assert end(tmp_path, status=1, said="c1: failed: no", plan=plan)[1] == ("written though refused", "other case lost")


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("metakd: in/c1_t1.nii.gz: truncated; expected a whole file", HELD),
        ("c1: failed: HeaderDataError: data code 0 not supported", MINOR),
        ("metakd: internal error: c1: what", MINOR),
        ("metakd: something is wrong", MINOR),
        ("", MINOR),
    ],
)
def test_a_refusal_names_the_culprit_in_words(tmp_path, said, verdict):
    assert end(tmp_path, status=2, said=said, plan=Plan(expect=REFUSED, culprit=("c1",)))[0] == verdict


def test_litter_is_minor(tmp_path):
    assert end(tmp_path, litter=[".1.c1.nii.gz"]) == (MINOR, ("litter",))


FAKE = """
import os, subprocess, sys, tempfile, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from campaign.runner import run_trials
from campaign.sound import Sound
from campaign.trials import Plan, Trial
from campaign.verdicts import judge
from campaign.zygote import PROGRAMS

def crash(): raise ValueError("no")
def stray(): Path("elsewhere.txt").write_text("x")
def climb(): Path("../../../x").write_text("x")
def obey(): Path(os.environ["HOME"], "..", "canary").touch()
def litter(): Path("out").mkdir(); Path("out/.1.mask").touch()
def orphan(): subprocess.Popen(["sleep", "60"])
def refuse(): print("metakd: c1: bad; expected good", file=sys.stderr); sys.exit(2)
def greedy(): np.ones(20 * 2**27)

FAKES = {"hang": lambda: time.sleep(60), "crash": crash, "stray": stray, "climb": climb, "obey": obey, "litter": litter,
         "orphan": orphan, "succeed": lambda: None, "refuse": refuse, "greedy": greedy}
PROGRAMS["fake"] = lambda arguments: FAKES[arguments[0]]()
folder = Path(sys.argv[2])
REFUSED = ("succeed", "refuse")
def plan(name): return Plan([name], "refused" if name in REFUSED else "either", ("c1",), program="fake", seconds=2)
trials = [Trial("fake", n, name, lambda place, name=name: plan(name), 0) for n, name in enumerate(FAKES)]
for trial, outcome in run_trials(trials, Sound(folder, None, 0), folder, 2, 2.0, False):
    verdict = judge(outcome, folder / f"fake-{trial.number}/a/b/work")
    print(trial.name, verdict.what, *verdict.kinds, sep="/")
"""


def test_commands_that_do_wrong_are_caught(tmp_path):
    command = [sys.executable, "-c", FAKE, REPOSITORY / "tests", tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
    assert set(done.stdout.split("\n")[:-1]) == {
        "hang/failed/hang",
        "crash/failed/traceback",
        "stray/failed/wrote outside",
        "climb/failed/wrote outside",
        "obey/failed/code run",
        "litter/minor/litter",
        "orphan/failed/orphan",
        "succeed/failed/wrong success",
        "refuse/held",
        "greedy/failed/traceback",
    }
