"""Cases in a Ray cluster: a local one of two workers, and what a cluster's resources come to."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY
from spoilt import Spoilt, count, everything, masks

from metakd_monai.apps.cohort import Engine, predict_cases
from metakd_monai.apps.cohort.ray_engine import ray_running, share_resources, with_absolute_paths
from metakd_monai.apps.predict.outputs import Outputs
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.cases import find_cases
from metakd_monai.errors import UserError


@pytest.fixture(scope="module")
def cluster():
    """The address of a Ray of two CPUs, for this module alone."""
    pytest.importorskip("ray", reason="Ray is not installed")
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent), path])  # of its workers
    with ray_running(None, 2) as ray:
        yield ray.get_runtime_context().gcs_address
    os.environ["PYTHONPATH"] = path


def test_a_worker_killed_on_the_way_costs_nothing(tmp_path, cohort, weights, serial, cluster, caplog):
    output, notes = tmp_path / "out", tmp_path / "notes"
    notes.mkdir()
    output.mkdir()
    make = partial(Spoilt, weights, notes=notes, output=output, deaths={"Simulated_002": 1})
    cases, outputs = find_cases(cohort), Outputs(output, preview=False)
    assert predict_cases(make, cases, outputs, Engine("ray", jobs=2)) == []
    names = [case.case_id for case in cases]
    assert count(notes, "done") == dict.fromkeys(names, 1)
    assert count(notes, "begun") == {**dict.fromkeys(names, 1), "Simulated_002": 2}
    assert masks(output) == serial
    assert everything(output) == {f"{name}{end}" for name in names for end in (".nii.gz", ".json")}
    assert "Simulated_002: its worker was lost" in caplog.text


def test_a_running_cluster_is_used_by_its_address(tmp_path, cohort, weights, serial, cluster):
    command = [sys.executable, "-m", "metakd_monai", "predict", cohort, "--output", "out", "--weights", weights]
    command += ["--no-preview", "--engine", "ray", "--address", cluster, "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "6 of 6 cases done" in result.stdout
    assert masks(tmp_path / "out") == serial


def test_weights_that_actors_cannot_load_stop_everything(tmp_path, cohort, weights, cluster):
    weights.write_bytes(b"x")
    with pytest.raises(UserError, match="unreadable; expected weights") as caught:
        predict_cases(partial(Predictor, weights), find_cases(cohort), Outputs(tmp_path / "out"), Engine("ray"))
    assert type(caught.value) is UserError


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "--address: no Ray at 127.0.0.1:1"),
        ("somewhere", "--address: no Ray at somewhere"),
        ("auto", "--address: no Ray at auto"),
    ],
)
def test_an_address_where_no_ray_is(tmp_path, cohort, weights, address, message, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match=message):
        predict_cases(
            partial(Predictor, weights), find_cases(cohort), Outputs(tmp_path), Engine("ray", address=address)
        )


def refuse(**options):
    raise ConnectionError("Could not find any running Ray instance.")


def test_what_cannot_be_used_is_said():
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(
        UserError, match="'cuda:1' with --engine ray, which hands out devices; expected auto, cpu, cuda"
    ):
        Engine("ray", device="cuda:1")


@pytest.mark.parametrize(
    ("found", "known"), [("2.40.0", False), ("2.59.1", False), ("2.60.0", True), ("3.0.0rc1", True)]
)
def test_a_ray_that_lets_anyone_in_is_refused(monkeypatch, found, known):
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr("metakd_monai.apps.cohort.ray_engine.version", lambda name: found)
    if known:
        assert Engine("ray").name == "ray"
        return
    with pytest.raises(UserError, match=f"Ray {found} found, which lets anyone in; expected 2.60 or later"):
        Engine("ray")


@pytest.mark.parametrize(
    ("nodes", "device", "jobs", "expected"),
    [
        ([{"CPU": 2}], "auto", 2, (2, {"num_cpus": 1}, 1)),
        ([{"CPU": 8}], "auto", None, (1, {"num_cpus": 8}, 8)),
        ([{"CPU": 16}, {"CPU": 4}], "cpu", 2, (2, {"num_cpus": 4}, 4)),
        ([{"CPU": 2}, {}], "cpu", 9, (9, {"num_cpus": 1}, 1)),
        ([{"CPU": 8, "GPU": 4}, {"CPU": 8, "GPU": 4}], "auto", None, (8, {"num_gpus": 1}, None)),
        ([{"CPU": 8, "GPU": 4}], "cuda", 2, (2, {"num_gpus": 1}, None)),
        ([{"CPU": 8, "GPU": 4}], "cpu", 2, (2, {"num_cpus": 4}, 4)),
    ],
)
def test_one_actor_for_each_gpu_or_cpus_shared_out(nodes, device, jobs, expected):
    ray = SimpleNamespace(nodes=lambda: [{"Resources": node, "Alive": True} for node in nodes])
    assert share_resources(ray, device, jobs) == expected


def test_a_gpu_that_no_node_has():
    ray = SimpleNamespace(
        nodes=lambda: [{"Resources": {"CPU": 1.0}, "Alive": True}, {"Resources": {"GPU": 1}, "Alive": False}]
    )
    with pytest.raises(UserError, match="the Ray cluster has no GPU"):
        share_resources(ray, "cuda", None)


def test_paths_hold_in_any_working_folder(cohort, monkeypatch):
    monkeypatch.chdir(cohort)
    (case, *_) = find_cases(Path("Simulated_000"))
    assert with_absolute_paths(case) == find_cases(cohort / "Simulated_000")[0]
