"""``metakd train``: names are checked before anything runs."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from conftest import BUNDLE

from metakd_monai.cli import main
from metakd_monai.cli.train import (
    check_numbers,
    check_settings,
    find_config,
    find_switches,
    read_settings,
    split_list,
)
from metakd_monai.cli.workflow import tell_failure
from metakd_monai.errors import UserError

CONFIG = {"seed": 0, "list": [{"a": 1}], "part": {"_target_": "x", "known": 1}, "plain": {"known": {"deep": 1}}}


def test_settings_are_read_as_monai_reads_them():
    words = [
        "--seed",
        "-1",
        "--roi-size=[16,16,16]",
        "--resume",
        "False",
        "--a::b",
        "x/y-z",
        "--seed",
        "2",
        "--c",
        "1e-3",
    ]
    expected = {"seed": 2, "roi_size": [16, 16, 16], "resume": False, "a#b": "x/y-z", "c": 1e-3}
    assert read_settings(words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stray"], "stray: found; expected --NAME VALUE"),
        (["--resume"], "--resume: no value found"),
        (["--resume", "--seed", "1"], "--resume: no value found"),
    ],
)
def test_words_that_are_no_settings_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        read_settings(words)


@pytest.mark.parametrize("key", ["seed", "list#0#a", "part#known", "part#new", "plain#known#deep"])
def test_names_of_the_configuration_pass(key):
    check_settings({key: 1}, CONFIG, {})


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("sed", "--sed: unknown; did you mean --seed"),
        ("list#1#a", "--list#1#a: unknown"),
        ("prat#known", "did you mean --part#known"),
        ("plain#knwon#deep", "did you mean --plain#known#deep"),
        ("seed#x", "--seed#x: unknown; expected a name"),
    ],
)
def test_other_names_are_refused(key, message):
    with pytest.raises(UserError, match=message):
        check_settings({key: 1}, CONFIG, {})


def test_configurations_are_found_in_the_bundle():
    assert find_config("paper.json") == BUNDLE / "configs" / "paper.json"
    assert split_list("['a.json', \"b.json\"]") == ["a.json", "b.json"]
    with pytest.raises(UserError, match=r"papper\.json: no such file; did you mean paper\.json"):
        find_config("papper.json")


def test_the_command_refuses_before_it_runs(tmp_path):
    done = CliRunner().invoke(main, ["train", "--max_iteration", "3", "--output_dir", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert done.output == (
        "metakd: --max_iteration: unknown; did you mean --max_iterations? expected a name of the configuration\n"
    )
    assert not (tmp_path / "out").exists()
    assert "checkpoint.pt" in CliRunner().invoke(main, ["train", "--help"]).output


def test_failures_are_told_in_one_line():
    inner = UserError(
        "Caught UserError in DataLoader worker process 0.\nOriginal Traceback ...\n  File\n"
        "metakd_monai.errors.UserError: x.nii.gz: damaged; expected a NIfTI file\n"
    )
    outer = RuntimeError("Failed to evaluate")
    outer.__cause__ = inner
    assert tell_failure(outer, {"alpha": 2}) == "x.nii.gz: damaged; expected a NIfTI file"
    outer.__cause__ = TypeError("got an unexpected keyword argument 'max_epoch'")
    assert tell_failure(outer, {"alpha": 2}).startswith(
        "training failed: TypeError: got an unexpected keyword argument 'max_epoch'"
    )


@pytest.mark.parametrize(
    ("name", "overlay"), [("warm_up", "experimental.json"), ("real_share", "train_simulated.json")]
)
def test_a_switch_of_an_overlay_is_named_with_it(name, overlay):
    result = CliRunner().invoke(main, ["train", f"--{name}", "1"])
    assert (result.exit_code, result.output) == (2, f"metakd: --{name}: found; expected --overlay {overlay} with it\n")


def test_an_argument_of_a_component_is_no_switch_of_an_overlay_that_changes_it_too():
    switches = find_switches(BUNDLE / "configs")
    assert switches["dropping_law"] == "experimental.json"
    config = json.loads((BUNDLE / "configs" / "train.json").read_text())
    check_settings({"network_def#channels": [4, 8], "validate#inferer#roi_size": 1}, config, switches)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("meta_interval", 0), ("batch_size", 0), ("max_iterations", -1), ("checkpoint_interval", 0), ("seed", -1)),
        *(("learning_rate", float("nan")), ("learning_rate", "x"), ("alpha", float("inf")), ("batch_size", 1.5)),
    ],
)
def test_a_number_with_which_no_training_can_be_is_refused(name, value):
    with pytest.raises(UserError, match=rf"^--{name}: .* found; expected a "):
        check_numbers({"alpha": 0.1, name: value})
    check_numbers({name: "$1 + 1"})


def test_a_device_that_is_not_there_is_refused():
    result = CliRunner().invoke(main, ["train", "--device", "nothing"])
    assert (result.exit_code, "device: 'nothing' cannot be used" in result.output) == (2, True)


STOPPED = """
import sys
from metakd_monai.inferers import ModalityInferer
from metakd_monai.processes.endings import Stopped

def stop(*_):
    raise Stopped(15)

ModalityInferer.segment = stop
from metakd_monai.cli import main
main()
"""


def test_a_signal_during_validation_is_one_line(cohort, tmp_path):
    small = (
        "--network_def#channels [4,8,16] --roi_size [16,16,16] --device cpu --num_workers 0 --validation_fraction 0.3"
    )
    brief = "--max_iterations 2 --val_interval 1 --meta_cases 1"
    given = ["train", "--dataset_dir", cohort, "--output_dir", tmp_path, *small.split(), *brief.split()]
    done = subprocess.run([sys.executable, "-c", STOPPED, *map(str, given)], capture_output=True, text=True)
    assert done.returncode == 143
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("metakd: stopped by SIGTERM")
