"""Several processes train as one does with their batches together; one that dies costs nothing but time."""

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from conftest import CHANNELS, REPOSITORY
from ignite.engine import Engine, State
from test_bundle_run import CONFIGS, SMALL, bundle, rows
from test_training import Toy
from torch import distributed as dist
from torch import multiprocessing
from torch.utils.data import DataLoader

from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.data.stream import StreamSampler
from metakd_monai.handlers import DropModalitiesHandler, MetaUpdateHandler
from metakd_monai.losses import DiceBCELoss
from metakd_monai.networks import ImportanceWeights, MetaKDUNet

PARALLEL = [str(CONFIGS / "train.json"), str(CONFIGS / "multi_gpu_train.json")]
LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
KNOBS = {
    **dict(zip(SMALL[::2], SMALL[1::2], strict=True)),
    **{"--max_iterations": 24, "--meta_interval": 6, "--val_interval": 12, "--checkpoint_interval": 4},
    **{"--meta_cases": 3, "--validation_fraction": 0.34},  # three cases each, for two processes
}
ARGUMENTS = [str(part) for name, value in KNOBS.items() if name != "--device" for part in (name, value)]
ARGUMENTS += ["--amp", "false"]  # bf16 adds up otherwise in one process than in two
TWICE = ["--batch_size", "2", "--meta#dataloader#batch_size", "2"]  # what two processes with one each do


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("passes", [0, 1, 2])
def test_ranks_share_a_pass_out_when_it_cannot_be_halved(size, passes):
    def draws(rank, num_replicas):
        sampler = StreamSampler(range(size), seed=1, endless=False, rank=rank, num_replicas=num_replicas)
        sampler.seek(passes)
        return list(sampler), len(sampler)

    whole, _ = draws(0, 1)
    (first, length), (second, same_length) = draws(0, 2), draws(1, 2)
    assert (first, second) == (whole[::2], whole[1::2])
    assert length == same_length == len(first)


@pytest.mark.parametrize(("ranks", "batch_size"), [(1, 4), (2, 2), (4, 1), (1, 2), (2, 1)])
def test_dropping_goes_with_the_place_in_the_stream(ranks, batch_size):
    def dropped(rank, num_replicas, size):
        handler = DropModalitiesHandler(seed=4, rank=rank, num_replicas=num_replicas)
        engine = Engine(lambda engine, batch: None)
        for iteration in range(1, 16 // (size * num_replicas) + 1):
            engine.state = State(iteration=iteration, batch={"available": torch.ones(size, 4, dtype=torch.bool)})
            handler(engine)
            yield from engine.state.batch["available"].tolist()

    parts = [list(dropped(rank, ranks, batch_size)) for rank in range(ranks)]
    together = [row for place in zip(*parts, strict=True) for row in place]
    assert together == list(islice(dropped(0, 1, 16), 16))


def update_importance(rank, world, folder):
    """Make two meta updates over three cases as one of several processes."""
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    network, importance = MetaKDUNet(channels=CHANNELS), ImportanceWeights(seed=0)
    sampler = StreamSampler(Toy(3), 9, endless=False, rank=rank, num_replicas=world)
    handler = MetaUpdateHandler(
        network,
        importance,
        torch.optim.Adam(importance.parameters(), lr=0.01),
        DiceBCELoss(),
        DataLoader(Toy(3), sampler=sampler, batch_size=2 // world),
    )
    engine = Engine(lambda engine, batch: None)
    engine.state = State(device="cpu", iteration=1)
    handler(engine)
    handler(engine)
    torch.save({"raw": importance.weights.detach(), **handler.scalars}, folder / f"{rank}_of_{world}.pt")
    if world > 1:
        dist.destroy_process_group()


def test_importance_is_the_same_on_all_ranks_when_one_has_fewer_meta_cases(tmp_path):
    update_importance(0, 1, tmp_path)
    multiprocessing.spawn(update_importance, (2, tmp_path), nprocs=2)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("0_of_1", "0_of_2", "1_of_2"))
    assert torch.equal(first["raw"], second["raw"])
    for name, value in alone.items():
        torch.testing.assert_close(torch.as_tensor(first[name]), torch.as_tensor(value), rtol=1e-5, atol=1e-6)
        assert torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name]))


@pytest.fixture(scope="module")
def nine_cases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nine_cases")
    simulate_cohort(folder, cases=9, seed=3, shape=(24, 28, 24), spacing=6.0, progress=False)
    return folder


@pytest.fixture(scope="module")
def pair(nine_cases, tmp_path_factory) -> Path:
    """What two processes make of a training."""
    output = tmp_path_factory.mktemp("pair")
    arguments = ["--dataset_dir", nine_cases, "--output_dir", output, *ARGUMENTS, "--batch_size", "1"]
    bundle(PARALLEL, *arguments, launcher=(*LAUNCHER, "-m", "monai.bundle"))
    return output


def test_two_processes_train_as_one_with_twice_the_batch(nine_cases, pair, tmp_path):
    arguments = ["--dataset_dir", nine_cases, "--output_dir", tmp_path, *ARGUMENTS, "--device", "cpu"]
    bundle(PARALLEL[0], *arguments, *TWICE)
    for name, length in (("training.csv", 24), ("meta.csv", 4), ("validation.csv", 2)):
        together, alone = rows(pair / name), rows(tmp_path / name)
        assert len(together) == len(alone) == length
        for one, other in zip(together, alone, strict=True):
            assert list(one) == list(other)
            assert list(map(float, one.values())) == pytest.approx(list(map(float, other.values())), rel=1e-3, abs=1e-4)
    assert (pair / "settings.json").read_text() == (tmp_path / "settings.json").read_text()


def test_two_processes_train_where_nobody_has_some_modality(nine_cases, tmp_path):
    arguments = [
        "--dataset_dir",
        nine_cases,
        *ARGUMENTS,
        "--network_def#modality_specific_scales",
        "1",
        "--max_iterations",
        "6",
    ]
    pair, alone = tmp_path / "pair", tmp_path / "alone"
    bundle(
        PARALLEL,
        *(*arguments, "--output_dir", pair, "--batch_size", "1"),
        launcher=(*LAUNCHER, "-m", "monai.bundle"),
    )
    bundle(
        PARALLEL[0],
        *(*arguments, "--output_dir", alone, "--device", "cpu", *TWICE),
    )
    first, second = (rows(folder / "training.csv") for folder in (pair, alone))
    assert len(first) == len(second) == 6
    for one, other in zip(first, second, strict=True):
        assert list(map(float, one.values())) == pytest.approx(list(map(float, other.values())), rel=1e-3, abs=1e-4)


def test_an_error_in_one_process_ends_all(nine_cases, tmp_path):
    """The loss of the second process alone is NaN, in its second iteration; the first is waiting for it then."""
    arguments = ["--overlay", "multi_gpu_train.json", "--dataset_dir", nine_cases, "--output_dir", tmp_path, *ARGUMENTS]
    arguments += ["--batch_size", "1", "--alpha", "$float('nan') if dist.get_rank() else 0.1"]
    arguments += ["--train#trainer#alpha_warm_up", "1"]
    command = [sys.executable, "-W", "ignore", *LAUNCHER, "-m", "metakd_monai", "train", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("metakd: ")]
    assert any(line.startswith("metakd: training: loss is nan at iteration 2") for line in lines)
    assert not (tmp_path / "checkpoint.pt").exists()


def worker_of(launcher: int, rank: int) -> int:
    """Find the process that torchrun started as this rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == launcher and f"RANK={rank}" in (folder / "environ").read_bytes().decode().split("\0"):
                return int(folder.name)
        except OSError:  # it has ended
            continue
    raise AssertionError(f"no worker of rank {rank}")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_costs_no_iteration(nine_cases, pair, tmp_path, rank):
    files = "[" + ",".join(f"'{name}'" for name in PARALLEL) + "]"
    command = [sys.executable, "-W", "ignore", *LAUNCHER, "--max_restarts", "1", "-m", "monai.bundle", "run"]
    arguments = ["--config_file", files, "--dataset_dir", str(nine_cases), "--output_dir", str(tmp_path), *ARGUMENTS]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen([*command, *arguments, "--batch_size", "1"], env=environment, stdout=log, stderr=log)
        try:
            while not (tmp_path / "checkpoint.pt").exists() and run.poll() is None:
                time.sleep(0.01)
            os.kill(worker_of(run.pid, rank), signal.SIGKILL)
            assert run.wait(timeout=300) == 0
        finally:
            run.terminate()  # torchrun ends its workers
    assert f"resuming from {tmp_path / 'checkpoint.pt'} at iteration" in (tmp_path / "log").read_text()
    for name in ("training.csv", "meta.csv", "validation.csv"):
        assert (tmp_path / name).read_bytes() == (pair / name).read_bytes()
