"""How commands end: signals, closed streams, full disks; told in one line, with nothing left half-done or running."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from click.testing import CliRunner
from conftest import REPOSITORY
from spoilt import everything
from test_cohort import group_is_gone, wait_until

from metakd_monai.cli import main
from metakd_monai.cli.base import choose_device
from metakd_monai.errors import UserError, explain
from metakd_monai.processes.endings import Stopped, describe

TOLD = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


def command(*arguments):
    return [sys.executable, "-m", "metakd_monai", *map(str, arguments)]


def environment():
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def run(*arguments, **options):
    return subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, **options)


@pytest.fixture
def commands(tmp_path, cohort, weights):
    """What to start, and files whose appearance says that it is in the middle of its work."""
    segmented = tmp_path / "segmented"
    segmented.mkdir()
    for path in cohort.glob("*/*_seg.nii.gz"):
        shutil.copy(path, segmented / f"{path.parent.name}.nii.gz")
    predict = ("predict", cohort, "-o", "out", "--weights", weights, "--device", "cpu", "--no-preview")
    return {
        "predict": (predict, "*.nii.gz"),
        "predict --jobs 2": ((*predict, "--jobs", 2), "*.nii.gz"),
        "evaluate": (("evaluate", segmented, cohort, "-o", "out/scores.csv", "--jobs", 2), None),
        "benchmark": (
            ("benchmark", "--cases", cohort, "-o", "out", "--weights", weights, "--device", "cpu"),
            "cases/*",
        ),
        "simulate": (("simulate", "out/cohort", "--cases", 3, "--overwrite"), "cohort/*/*"),
        "export": (("export", "--weights", weights, "-o", "out/model.ts"), None),
    }


def results(folder):
    """Return the bytes of what must not differ between two runs, which say when they were made."""
    kept = (path for path in folder.rglob("*") if path.name.endswith((".nii.gz", ".csv")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("evaluate", signal.SIGKILL),
        ("benchmark", signal.SIGTERM),
        ("simulate", signal.SIGKILL),
        pytest.param("predict --jobs 2", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("predict", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("evaluate", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("export", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_command_that_is_stopped_leaves_nothing_and_can_be_started_again(tmp_path, monkeypatch, commands, name, sent):
    arguments, sign = commands[name]
    whole, output = tmp_path / "whole", tmp_path / "stopped" / "out"
    for folder in (whole, output):
        folder.mkdir(parents=True)
    process = subprocess.Popen(
        command(*arguments),
        env=environment(),
        cwd=output.parent,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    if sign is None:
        time.sleep(random.Random(name).uniform(1.5, 2.5))
    else:
        wait_until(lambda: list(output.glob(sign)))
    process.send_signal(sent)
    messages = process.communicate(timeout=60)[1]
    wait_until(lambda: group_is_gone(process.pid), 5)
    assert "Traceback" not in messages
    assert process.returncode in (0, -sent if sent == signal.SIGKILL else 128 + sent)
    if process.returncode > 128:
        assert f"metakd: stopped by {TOLD[sent]}; what is finished is kept" in messages.splitlines()[-1]
        assert not [path for path in output.rglob(".*") if not path.name.endswith(".unfinished")]
    torch.set_num_threads(1)  # as in the process above
    for folder in (output.parent, whole):
        monkeypatch.chdir(folder)
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
    assert results(output) == results(whole / "out")
    assert not list(output.rglob(".*"))


def test_what_is_said_and_returned_of_each_kind_of_end():
    assert describe(Stopped(signal.SIGTERM)) == ("stopped by SIGTERM; what is finished is kept", 143)
    assert describe(KeyboardInterrupt()) == ("stopped by Ctrl-C; what is finished is kept", 130)
    assert describe(UserError("a: b")) == ("a: b", 2)
    assert describe(BrokenPipeError(32, "Broken pipe")) == (None, 1)
    assert describe(FileNotFoundError(2, "No such file", "x")) == (
        "x: cannot be used (No such file); expected a file or folder that can",
        2,
    )
    line, status = describe(MemoryError())
    assert (line.startswith("out of memory (MemoryError); expected"), status) == (True, 3)
    line, status = describe(KeyError("a"))
    assert (line, status) == ("internal error: KeyError: 'a' (please report it; METAKD_DEBUG=1 shows where)", 3)
    assert explain(RuntimeError("could not create a primitive")).startswith("out of memory (RuntimeError: could not")


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_fault_of_the_program_is_one_line_and_a_traceback_only_when_asked_for(tmp_path, monkeypatch, debug):
    monkeypatch.setenv("METAKD_DEBUG", debug)
    monkeypatch.setattr("metakd_monai.apps.simulation.toy.simulate_cohort", lambda **_: 1 / 0)
    result = CliRunner().invoke(main, ["simulate", str(tmp_path / "out")])
    assert (result.exit_code, "Traceback" in result.output) == (3, bool(debug))
    assert result.output.splitlines()[-1].startswith("metakd: internal error: ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("streams", "status", "said"),
    [
        ("2>&-", 0, ""),
        ("2>&- >&- <&-", 0, ""),
        (">/dev/full", 2, "standard output or a file: cannot be used (No space left on device)"),
        ("| true", 0, ""),
    ],
)
def test_a_closed_or_full_stream_costs_no_result(tmp_path, cohort, streams, status, said):
    start = " ".join(command("datalist", cohort, "--folds", 2, "-o", "out/list.json"))
    found = subprocess.run(
        f"{start} {streams}",
        shell=True,
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (found.returncode, "Traceback" in found.stderr, said in found.stderr) == (status, False, True)
    assert everything(tmp_path / "out") == {"list.json"}


def test_a_working_folder_that_is_gone(tmp_path, cohort):
    gone = tmp_path / "gone"
    gone.mkdir()
    found = subprocess.run(
        f"cd {gone}; rmdir {gone}; {' '.join(command('datalist', cohort, '-o', 'x.json'))}",
        shell=True,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert "metakd: working folder: it was removed" in found.stderr


def limit_file_size():
    """Let writing fail where a file grows beyond 8 kB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_a_disk_that_is_full_is_told_in_a_line_and_leaves_nothing(tmp_path, cohort, weights):
    found = run("simulate", tmp_path / "cohort", "--cases", 1, preexec_fn=limit_file_size)
    assert (found.returncode, "cannot be written (File too large)" in found.stderr.splitlines()[-1]) == (2, True)
    assert not [path for path in (tmp_path / "cohort").rglob("*") if path.is_file()]


SAVE = """
import sys, torch
from pathlib import Path
from metakd_monai.data.files import write_safely
write_safely(Path(sys.argv[1]), lambda path: torch.save(torch.zeros(99_999), path))
"""


def test_a_disk_that_is_full_when_pytorch_writes(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", SAVE, str(tmp_path / "w.pt")],
        env=environment(),
        preexec_fn=limit_file_size,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "w.pt: cannot be written (the disk seems to be full); expected a" in found.stderr.splitlines()[-1]
    assert everything(tmp_path) == set()


@pytest.mark.parametrize("name", ["meta", "privateuseone", "hpu", "nothing", ""])
def test_a_device_that_computes_nothing_is_refused(name):
    with pytest.raises(UserError, match=r"^device: .* cannot be used .*; expected auto, cpu, cuda or mps$"):
        choose_device(name)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "1e-320", "0.5"])
def test_a_limit_that_is_no_size_is_refused(tmp_path, value):
    result = CliRunner().invoke(main, ["predict", "in", "-o", str(tmp_path), "--memory-limit", value])
    assert (result.exit_code, "--memory-limit" in result.output) == (2, True)


@pytest.mark.parametrize("command", ["datalist", "simulate", "adni-prepare", "adni-simulate"])
def test_a_seed_that_is_none_is_refused(tmp_path, command):
    for seed in ("-1", str(2**32)):
        result = CliRunner().invoke(main, [command, str(tmp_path), "--seed", seed])
        assert (result.exit_code, "--seed" in result.output) == (2, True), result.output


@pytest.mark.parametrize(("name", "said"), [("a\0b", "NUL character"), ("x" * 5000, "File name too long")])
def test_a_path_that_cannot_be_one(tmp_path, name, said):
    for arguments in (
        ["predict", name, "-o", str(tmp_path / "out")],
        ["evaluate", name, name, "-o", f"{tmp_path}/{name}"],
    ):
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.output.count("\n"), said in result.output) == (2, 1, True), result.output


def test_what_was_given_is_not_said_at_length(tmp_path):
    for arguments in (["predict", "in", "--window", "7" * 9000], ["no" * 5000], ["predict", "x/" * 3000, "-o", "out"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert max(map(len, result.output.splitlines())) < 600


def test_a_cohort_that_fits_into_no_memory_is_refused_at_the_door(tmp_path):
    result = CliRunner().invoke(main, ["simulate", str(tmp_path / "out"), "--shape", "100000,100000,100000"])
    assert (result.exit_code, "takes 122,003,257 GiB of memory" in result.output) == (2, True)
    assert "cases: 1000000000 found" in CliRunner().invoke(main, ["simulate", "x", "--cases", "1000000000"]).output


@pytest.mark.parametrize("end", ["sys.exit(1)", "raise MemoryError('out of memory')"])
def test_a_command_that_fails_waits_for_no_thread_and_is_not_shut_down_around_one(end):
    program = f"""
import atexit, sys, threading
from metakd_monai.processes.endings import one_line_endings

class Witness:
    def __del__(self):
        print("shut down")

witness = Witness()
atexit.register(print, "tidied up")
threading.Thread(target=threading.Event().wait, daemon=True).start()
with one_line_endings():
    {end}
"""
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1 if "exit" in end else 3, "tidied up\n")
