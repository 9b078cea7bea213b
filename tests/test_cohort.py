"""Many cases: read ahead, in several processes, interrupted and resumed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing import Pipe
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from spoilt import Spoilt, count, everything, masks
from test_predict import predict, run

from metakd_monai.apps.cohort import Engine, Worker, predict_cases
from metakd_monai.apps.cohort.local import do_in_processes
from metakd_monai.apps.predict.case_report import predict_case
from metakd_monai.apps.predict.outputs import Outputs
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.cases import find_cases
from metakd_monai.data.temporaries import remove_temporaries
from metakd_monai.processes.workers.pool import describe, serve


class Watched(Predictor):
    """Notes what it reads; while it segments a case, waits until the next one's reading has begun."""

    def __init__(self, *arguments, last):
        super().__init__(*arguments)
        self.began, self.seen, self.last = threading.Condition(), [], last

    def read(self, case):
        with self.began:
            self.seen.append(case.case_id)
            self.began.notify_all()
        return super().read(case)

    def segment(self, item):
        position = self.seen.index(item["case_id"])
        with self.began:
            if item["case_id"] != self.last:
                assert self.began.wait_for(lambda: len(self.seen) == position + 2, timeout=60)
            time.sleep(0.05)
            assert len(self.seen) <= position + 2
        return super().segment(item)


def test_the_next_case_is_read_while_one_is_computed_and_no_more(tmp_path, cohort, weights, serial):
    cases = find_cases(cohort)
    names = [c.case_id for c in cases]
    watched = Watched(weights, last=names[-1])
    assert predict_cases(lambda: watched, cases, Outputs(tmp_path / "out", preview=False)) == []
    assert watched.seen == names
    assert masks(tmp_path / "out") == serial
    assert predict_cases(lambda: watched, cases, Outputs(tmp_path / "out", preview=False)) == []
    assert watched.seen == names, "what is done is not read again"


def test_a_case_read_ahead_for_nothing_does_not_get_into_another(tmp_path, cohort, weights):
    first, second, third = find_cases(cohort)[:3]
    worker = Worker(partial(Predictor, weights), Outputs(tmp_path, preview=False))
    worker.start()
    for one, following in ((first, third), (second, None), (third, None)):
        assert not worker.do(one, following).failed
    predict_case(Predictor(weights), third, Outputs(tmp_path / "alone", preview=False))()
    assert masks(tmp_path)[f"{third.case_id}.nii.gz"] == masks(tmp_path / "alone")[f"{third.case_id}.nii.gz"]


def test_a_bad_case_read_ahead_fails_in_its_turn(tmp_path, cohort, weights, serial, caplog):
    shutil.copytree(cohort, tmp_path / "in")
    (tmp_path / "in" / "Simulated_001" / "Simulated_001_t1.nii.gz").write_bytes(b"no")
    result = predict(tmp_path / "in", tmp_path / "out", weights, "--no-preview")
    assert (result.exit_code, "5 of 6 cases done" in result.output) == (1, True)
    assert "Simulated_001: failed: " in caplog.text
    assert masks(tmp_path / "out") == {name: mask for name, mask in serial.items() if "001" not in name}


def test_processes_do_each_case_once_whatever_happens_to_them(tmp_path, cohort, weights, serial, caplog):
    source, output, notes = tmp_path / "in", tmp_path / "out", tmp_path / "notes"
    shutil.copytree(cohort, source)
    (source / "Simulated_001" / "Simulated_001_t1.nii.gz").write_bytes(b"no")
    notes.mkdir()
    output.mkdir()
    deaths = {"Simulated_002": 1, "Simulated_004": 2}
    make = partial(Spoilt, weights, notes=notes, output=output, deaths=deaths)
    failed = predict_cases(make, find_cases(source), Outputs(output, preview=False), Engine(jobs=2))
    assert sorted(failed) == ["Simulated_001", "Simulated_004"]
    assert (
        "Simulated_002: its worker was lost (killed by SIGKILL, maybe for lack of memory); trying again" in caplog.text
    )
    assert "Simulated_004: failed: lost its worker 2 times (killed by SIGKILL" in caplog.text
    whole = ["Simulated_000", "Simulated_002", "Simulated_003", "Simulated_005"]
    assert count(notes, "done") == dict.fromkeys(whole, 1)
    assert count(notes, "begun") == {**dict.fromkeys(whole, 1), "Simulated_002": 2, "Simulated_004": 2}
    assert everything(output) == {f"{name}{end}" for name in whole for end in (".nii.gz", ".json")}
    assert masks(output) == {f"{name}.nii.gz": serial[f"{name}.nii.gz"] for name in whole}


def test_weights_that_processes_cannot_load_stop_everything(tmp_path, cohort, weights):
    weights.write_bytes(b"x")
    result = predict(cohort, tmp_path / "out", weights, "--jobs", 2)
    assert (result.exit_code, "unreadable; expected weights" in result.output) == (2, True)
    assert everything(tmp_path / "out") == set()


def test_what_a_process_says(tmp_path, cohort, weights, monkeypatch):
    first, second = find_cases(cohort)[:2]
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    here, there = Pipe()
    here.send((first, second))
    here.send((second, None))
    make = partial(Worker, partial(Predictor, weights), Outputs(tmp_path / "out", preview=False), 1)
    thread = threading.Thread(target=serve, args=(0, make, there))
    thread.start()
    assert here.recv() is None
    assert [here.recv().case_id, here.recv().case_id] == [first.case_id, second.case_id]
    here.close()  # as when the parent is no more
    thread.join(60)
    assert not thread.is_alive()
    assert set(masks(tmp_path / "out")) == {f"{one.case_id}.nii.gz" for one in (first, second)}
    here, there = Pipe()
    serve(0, partial(Worker, partial(Predictor, tmp_path / "none.pt"), Outputs(tmp_path), 1), there)
    assert "no such file" in str(here.recv())


def test_how_a_process_ended_is_said():
    assert describe(3) == "ended with exit code 3"
    assert describe(-signal.SIGSEGV) == "killed by SIGSEGV"
    assert describe(-signal.SIGKILL) == "killed by SIGKILL, maybe for lack of memory"


def start(*arguments):
    """Start the command in a process group of its own, as a terminal does."""
    command = [sys.executable, "-m", "metakd_monai", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)


def wait_until(what, seconds=120):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def group_is_gone(group):
    """Tell whether no process of a group runs; one that has ended may still wait to be counted (Z)."""
    lines = subprocess.run(["ps", "-eo", "pgid,stat"], capture_output=True, text=True, check=True).stdout.splitlines()
    return not any(int(line.split()[0]) == group and "Z" not in line for line in lines[1:])


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_processes_all_end_and_the_run_resumes(tmp_path, cohort, weights, serial, sent):
    output = tmp_path / "out"
    arguments = ("predict", cohort, "--output", output, "--weights", weights, "--device", "cpu", "--jobs", 2)
    process = start(*arguments)
    wait_until(lambda: list(output.glob("*.nii.gz")))
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # Ctrl-C reaches all processes of the terminal
    else:
        process.kill()  # workers notice that their parent is no more
    messages = process.communicate(timeout=60)[1]
    wait_until(lambda: group_is_gone(process.pid), 60)
    was_too_late = process.returncode == 0 and len(masks(output)) == len(serial)  # on a busy machine
    assert was_too_late or process.returncode == (130 if sent == signal.SIGINT else -sent)
    assert "Traceback" not in messages
    if sent == signal.SIGINT:
        assert was_too_late or messages.endswith(
            "stopped by Ctrl-C; what is finished is kept; start it again to go on\n"
        )
        assert {path.name for path in output.glob(".*")} <= {f".{name}.unfinished" for name in masks(output)}
    assert predict(cohort, output, weights, "--no-preview").exit_code == 0
    assert masks(output) == serial
    assert not list(output.glob(".*"))


def test_a_run_killed_between_mask_and_report_is_resumed(tmp_path, cohort, weights, monkeypatch):
    first, outputs = find_cases(cohort)[0], Outputs(tmp_path / "out", preview=False)

    def end(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("metakd_monai.apps.predict.case_report.write_json", end)
        with pytest.raises(KeyboardInterrupt):
            predict_case(Predictor(weights), first, outputs)()
    assert everything(outputs.directory) == {f"{first.case_id}.nii.gz", f".{first.case_id}.nii.gz.unfinished"}
    assert "mL" in predict_case(Predictor(weights), first, outputs)()
    assert everything(outputs.directory) == {f"{first.case_id}.nii.gz", f"{first.case_id}.json"}
    assert "done before" in predict_case(Predictor(weights), first, outputs)()


def test_a_run_killed_while_it_overwrites_is_not_taken_for_the_old_one(tmp_path, cohort, weights, monkeypatch):
    first, outputs = find_cases(cohort)[0], Outputs(tmp_path / "out", preview=False)
    old, new = Predictor(weights), Predictor(weights, et_label=3)
    predict_case(old, first, outputs)()
    with monkeypatch.context() as patched:
        patched.setattr("metakd_monai.apps.predict.case_report.write_json", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict_case(new, first, Outputs(tmp_path / "out", preview=False, overwrite=True))()
    assert "mL" in predict_case(old, first, outputs)()


def test_a_case_that_cannot_be_written_leaves_no_mark(tmp_path, cohort, weights, monkeypatch):
    monkeypatch.setattr("metakd_monai.apps.predict.outputs.write_like", lambda *_: 1 / 0)
    output = tmp_path / "out"
    assert len(predict_cases(partial(Predictor, weights), find_cases(cohort)[:1], Outputs(output))) == 1
    assert everything(output) == {"Simulated_000.png"}


def test_only_what_killed_processes_left_of_these_cases_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine, gone, first = os.getpid(), ended.pid, 1  # process 1 is someone else's, or at least not gone
    names = {f".{pid}.{name}" for pid in (mine, gone, first) for name in ("a.nii.gz", "b.json")} | {"a.nii.gz", ".x.a"}
    for name in names:
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, ["a"])
    assert names - everything(tmp_path) == {f".{gone}.a.nii.gz"}
    remove_temporaries(tmp_path, ["b"], mine)
    assert names - everything(tmp_path) == {f".{gone}.a.nii.gz", f".{mine}.b.json"}
    remove_temporaries(tmp_path / "nowhere", ["a"])


def test_options_that_do_not_go_together(tmp_path, cohort, weights, monkeypatch):
    result = predict(cohort, tmp_path / "out", weights, "--address", "auto")
    assert (result.exit_code, "expected --engine ray" in result.output) == (2, True)
    assert predict(cohort, tmp_path / "out", weights, "--jobs", 0).exit_code == 2
    monkeypatch.setattr("metakd_monai.apps.cohort.ray_engine.find_spec", lambda name: None)
    result = predict(cohort, tmp_path / "out", weights, "--engine", "ray")
    assert (result.exit_code, "pip install 'metakd-monai[ray]'" in result.output) == (2, True)
    monkeypatch.undo()
    assert not (tmp_path / "out").exists()
    assert run("predict", "--help").exit_code == 0


def test_threads_are_shared_out(monkeypatch, tmp_path, cohort, weights):
    made = []

    class NoDispatcher:
        def __init__(self, pool, cases, size, fail, tidy):
            made.append((pool.make.args[2], size))

        def run(self):
            return iter(())

    monkeypatch.setattr("metakd_monai.apps.cohort.worker.Dispatcher", NoDispatcher)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for jobs in (2, 3, 6, 16):
        do_in_processes(partial(Predictor, weights), find_cases(cohort), Outputs(Path("out")), jobs)
    assert made == [(4, 2), (2, 3), (1, 6), (1, 6)]
