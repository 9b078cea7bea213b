"""Algorithm 1: who moves when, what weighs what, and that a stopped run goes on exactly."""

import csv
import errno
import json
import math
import random
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import CHANNELS
from ignite.engine import Engine, Events, State
from monai.engines import PrepareBatchExtraInput
from monai.handlers import LrScheduleHandler
from torch.utils.data import DataLoader, Dataset

from metakd_monai import __version__
from metakd_monai.data.files import write_safely
from metakd_monai.data.fingerprint import TRAINING_CODE, code_fingerprint
from metakd_monai.data.stream import StreamSampler
from metakd_monai.engines.trainer import MetaKDTrainer
from metakd_monai.equations import distillation
from metakd_monai.errors import UserError
from metakd_monai.handlers import (
    CheckpointHandler,
    DropModalitiesHandler,
    LossReader,
    MetaReader,
    MetaUpdateHandler,
    MetricReader,
    ProgressHandler,
    ScalarLogHandler,
)
from metakd_monai.handlers.checkpoint import get_random_states, set_random_states
from metakd_monai.losses import DiceBCELoss, DistillationLoss
from metakd_monai.networks import ImportanceWeights, MetaKDUNet


class Toy(Dataset):
    """Images whose region masks can be seen in modality 2 alone; drawn from the seed that comes with the index."""

    def __init__(self, size=6):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, draw):
        generator = torch.Generator().manual_seed(draw[1])
        image = torch.randn(4, 8, 8, 8, generator=generator)
        label = (image[2:3] > 0.5).float().expand(3, -1, -1, -1)
        return {"image": image, "label": label, "available": torch.ones(4, dtype=torch.bool)}


class Run:
    """A whole training run on toy data."""

    def __init__(
        self,
        folder,
        max_iterations=8,
        alpha=0.1,
        interval=3,
        meta_interval=2,
        resume=True,
        warm_up=0,
        single_modality_passes=0,
        subsets_per_sample=1,
        batch_size=2,
        lr_period=8,
        **options,
    ):
        torch.manual_seed(1)
        self.network = MetaKDUNet(channels=CHANNELS)
        self.importance = ImportanceWeights(seed=0)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.99, nesterov=True)
        self.importance_optimizer = torch.optim.Adam(self.importance.parameters(), lr=0.01, weight_decay=5e-5)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=lr_period)
        data = Toy()
        loader = DataLoader(data, sampler=StreamSampler(data, 0, batch_size), batch_size=batch_size)
        meta = DataLoader(Toy(2), sampler=StreamSampler(Toy(2), 9, endless=False), batch_size=1)
        self.meta_update = MetaUpdateHandler(
            self.network, self.importance, self.importance_optimizer, DiceBCELoss(), meta, meta_interval
        )
        states = {
            "network": self.network,
            "importance": self.importance,
            "optimizer": self.optimizer,
            "importance_optimizer": self.importance_optimizer,
            "lr_scheduler": self.scheduler,
            "meta_update": self.meta_update,
        }
        self.losses, self.available = [], []
        self.trainer = MetaKDTrainer(
            network=self.network,
            importance=self.importance,
            loss_function=DiceBCELoss(),
            alpha=alpha,
            max_iterations=max_iterations,
            device="cpu",
            max_epochs=99,
            train_data_loader=loader,
            optimizer=self.optimizer,
            prepare_batch=PrepareBatchExtraInput("available"),
            train_handlers=[
                self.meta_update,
                DropModalitiesHandler(
                    seed=4,
                    warm_up=warm_up,
                    single_modality_passes=single_modality_passes,
                    subsets_per_sample=subsets_per_sample,
                ),
                ScalarLogHandler(folder, "training", LossReader(self.optimizer)),
                LrScheduleHandler(self.scheduler, print_lr=False, epoch_level=False),
                ScalarLogHandler(folder, "meta", MetaReader(self.meta_update)),
                CheckpointHandler(folder, states, interval, resume, {"alpha": alpha}),
            ],
            **{"epoch_length": 3, **options},
        )
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.note)

    def note(self, engine):
        self.losses.append(float(engine.state.output[0]["loss"]))
        self.available.append(torch.stack([item["available"] for item in engine.state.batch]).tolist())


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_inner_step_leaves_the_importance_untouched(tmp_path):
    run = Run(tmp_path, max_iterations=3, meta_interval=100)
    run.meta_update.interval = 10**9
    run.trainer._event_handlers[Events.ITERATION_STARTED].clear()  # no meta step, no dropping
    before, network = run.importance.weights.clone(), [p.clone() for p in run.network.parameters()]
    run.trainer.run()
    assert torch.equal(run.importance.weights, before)
    assert run.importance.weights.grad is None
    assert any(not torch.equal(a, b) for a, b in zip(network, run.network.parameters(), strict=True))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_meta_step_leaves_the_network_untouched(norm):
    network = MetaKDUNet(channels=CHANNELS, norm=norm).train()
    importance = ImportanceWeights(seed=0)
    optimizer = torch.optim.Adam(importance.parameters(), lr=0.01)
    loader = DataLoader(Toy(2), sampler=StreamSampler(Toy(2), endless=False), batch_size=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    raw = importance.weights.clone()
    engine = Engine(lambda e, b: None)
    engine.state = State(device="cpu", iteration=1)
    MetaUpdateHandler(network, importance, optimizer, DiceBCELoss(), loader)(engine)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training
    assert not torch.equal(importance.weights, raw)


def test_meta_gradient_is_that_of_the_weighted_features():
    network, loss = MetaKDUNet(channels=CHANNELS).double().eval(), DiceBCELoss().double()
    sample = Toy()[0, 5]
    image, label = sample["image"][None].double(), sample["label"][None].double()
    available = torch.tensor([[True, True, True, False]])
    features = [[row.detach() for row in rows] for rows in network.encode(image, available)]
    raw = torch.tensor([0.3, 0.1, 0.9, 0.5], dtype=torch.double, requires_grad=True)

    def meta_loss(weights):
        return loss(network.decode(features, available, weights.softmax(0), list(image.shape[2:])), label)

    (gradient,) = torch.autograd.grad(meta_loss(raw), raw)
    for n in range(4):
        step = 1e-5 * torch.eye(4, dtype=torch.double)[n]
        with torch.no_grad():
            slope = (meta_loss(raw + step) - meta_loss(raw - step)) / 2e-5
        assert slope.item() == pytest.approx(gradient[n].item(), rel=1e-3, abs=1e-8)


def test_meta_update_runs_before_the_first_and_every_interval_th_iteration(tmp_path):
    run = Run(tmp_path, max_iterations=8, meta_interval=3)
    run.trainer.run()
    table = rows(tmp_path / "meta.csv")
    assert [int(row["iteration"]) for row in table] == [1, 4, 7]
    assert run.meta_update.passes == 3
    for row in table:
        assert sum(float(row[f"importance_{m}"]) for m in ("flair", "t1", "t1ce", "t2")) == pytest.approx(1)
        assert -1 <= float(row["fill_cosine_t1ce"]) <= 1
        assert float(row["fill_l2_t2"]) > 0


def test_inner_loss_is_task_plus_alpha_times_distillation(tmp_path):
    run = Run(tmp_path, max_iterations=1, alpha=0.5)
    run.trainer.run()
    (row,) = rows(tmp_path / "training.csv")
    total = float(row["task_loss"]) + 0.5 * float(row["distillation_loss"])
    assert float(row["loss"]) == pytest.approx(total, rel=1e-5)
    assert float(row["distillation_loss"]) > 0


def test_trainer_weighs_the_distillation_with_the_importance_of_now(tmp_path):
    run = Run(tmp_path, max_iterations=1, meta_interval=1)
    seen = []
    run.trainer.distillation = lambda f, a, w: seen.append((f, a, w)) or DistillationLoss()(f, a, w)
    run.trainer.run()
    features, available, importance = seen[0]
    torch.testing.assert_close(importance, run.importance().detach())
    assert not importance.requires_grad
    value = distillation(features, available, importance).item()
    assert float(rows(tmp_path / "training.csv")[0]["distillation_loss"]) == pytest.approx(value)


def test_alpha_zero_computes_no_distillation(tmp_path):
    run = Run(tmp_path, max_iterations=1, alpha=0)
    run.trainer.distillation = None
    run.trainer.run()
    assert float(rows(tmp_path / "training.csv")[0]["distillation_loss"]) == 0


def test_distillation_begins_after_its_warm_up(tmp_path):
    run = Run(tmp_path, max_iterations=4, alpha_warm_up=2, warm_up=9)
    run.trainer.run()
    distances = [float(row["distillation_loss"]) for row in rows(tmp_path / "training.csv")]
    assert [distance > 0 for distance in distances] == [False, False, True, True]


@pytest.mark.parametrize("stop", [3, 4, 5, 8])
def test_a_run_that_was_stopped_goes_on_to_the_last_bit(tmp_path, stop):
    torch.set_num_threads(1)
    whole = Run(tmp_path / "whole")
    whole.trainer.run()
    first = Run(tmp_path / "parts", max_iterations=stop)
    first.trainer.run()
    second = Run(tmp_path / "parts")
    second.trainer.run()
    assert first.losses + second.losses == whole.losses
    assert first.available + second.available == whole.available
    assert torch.equal(second.importance.weights, whole.importance.weights)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    for name in ("training.csv", "meta.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_loss_that_is_not_finite_ends_training_and_leaves_the_last_checkpoint(tmp_path):
    run = Run(tmp_path, interval=1)
    task_loss = run.trainer.task_loss
    run.trainer.task_loss = lambda *pair: task_loss(*pair) * (float("nan") if run.trainer.state.iteration == 4 else 1)
    expected = r"loss is nan at iteration 4 \(learning rate 0\.00\d+\); .*checkpoint\.pt of iteration 3 is from before"
    with pytest.raises(UserError, match=expected):
        run.trainer.run()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["iteration"] == 3
    assert not (tmp_path / "model.pt").exists()
    assert [int(row["iteration"]) for row in rows(tmp_path / "training.csv")] == [1, 2, 3]


def test_a_meta_loss_that_is_not_finite_ends_training(tmp_path):
    run = Run(tmp_path)
    run.meta_update.loss_function = lambda logits, label: logits.mean() * float("nan")
    with pytest.raises(UserError, match=r"meta_loss is nan at iteration 1 .*There is no checkpoint from before"):
        run.trainer.run()


def test_numbers_that_are_not_finite_are_never_written(tmp_path):
    run = Run(tmp_path, max_iterations=1)
    with torch.no_grad():
        run.network.encoder[0].conv1.conv.weight[0] = math.inf
    engine = Engine(lambda engine, batch: None)
    engine.state.iteration = 7
    handler = CheckpointHandler(tmp_path, {"network": run.network})
    with pytest.raises(UserError, match=r"network\.encoder\.0\.conv1\.conv\.weight has numbers .* at iteration 7"):
        handler.finish(engine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "empty"), (b"PK\3\4 cut", "unreadable or cut off"), (None, "cut off")]
)
def test_damaged_checkpoint_is_refused(tmp_path, content, what):
    Run(tmp_path, max_iterations=1).trainer.run()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-900] if content is None else content)
    with pytest.raises(UserError, match=f"checkpoint.pt: .*{what}; expected a checkpoint .* use --resume False"):
        Run(tmp_path).trainer.run()


@pytest.mark.parametrize("state", [[1], {"network": 1}, 7])
def test_something_else_in_place_of_a_checkpoint_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match=r"checkpoint\.pt: holds .*Use --resume False"):
        Run(tmp_path).trainer.run()


def test_a_full_disk_costs_one_line_and_nothing_that_was_there(tmp_path, monkeypatch):
    run = Run(tmp_path, interval=1)

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    run.trainer.add_event_handler(
        Events.ITERATION_STARTED(once=3), lambda: monkeypatch.setattr(Path, "write_bytes", full)
    )
    with pytest.raises(UserError, match=r"checkpoint\.pt: cannot be written \(No space left on device\)"):
        run.trainer.run()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["iteration"] == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(("informative", "seed"), [(2, 0), (2, 1), (2, 2), (0, 0)])
def test_learned_importance_finds_the_informative_modality(informative, seed):
    """The label is to be seen in one modality alone, the others are noise; importances begin at random."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network, importance = MetaKDUNet(channels=CHANNELS), ImportanceWeights(seed=seed)
    loss, available = DiceBCELoss(), torch.ones(2, 4, dtype=torch.bool)
    inner = torch.optim.Adam(network.parameters(), lr=1e-2)

    def batch():
        image = torch.randn(2, 4, 8, 8, 8)
        return image, (image[:, informative, None] > 0.5).float().expand(-1, 3, -1, -1, -1)

    def draws():
        for _ in range(5):
            image, label = batch()
            yield {"image": image, "label": label, "available": available}

    class Meta:
        def __len__(self):
            return 5

        def __iter__(self):
            return draws()

    update = MetaUpdateHandler(network, importance, torch.optim.Adam(importance.parameters(), lr=0.03), loss, Meta())
    engine = Engine(lambda engine, batch: None)
    engine.state = State(device="cpu", iteration=1)
    for iteration in range(60):
        image, label = batch()
        inner.zero_grad()
        loss(network(image, available), label).backward()
        inner.step()
        if iteration >= 20 and iteration % 4 == 0:
            update(engine)
    found = importance().detach()
    assert int(found.argmax()) == informative
    others = [value for n, value in enumerate(found.tolist()) if n != informative]
    assert found[informative] > 1.2 * max(others)


class KilledError(Exception):
    """Stands for a process that ends in the middle of an iteration."""


def test_a_run_that_was_killed_goes_on_from_its_checkpoint(tmp_path):
    torch.set_num_threads(1)
    whole = Run(tmp_path / "whole")
    whole.trainer.run()
    killed = Run(tmp_path / "parts", interval=3)

    def kill(engine):
        raise KilledError

    killed.trainer.add_event_handler(Events.ITERATION_STARTED(once=6), kill)  # checkpoint is of 3; rows go to 5
    with pytest.raises(KilledError):
        killed.trainer.run()
    assert not (tmp_path / "parts" / "model.pt").exists()
    second = Run(tmp_path / "parts")
    second.trainer.run()
    assert second.losses == whole.losses[3:]
    assert (tmp_path / "parts" / "training.csv").read_text() == (tmp_path / "whole" / "training.csv").read_text()


def test_a_finished_run_is_not_trained_on_and_resume_false_starts_afresh(tmp_path):
    Run(tmp_path).trainer.run()
    again = Run(tmp_path)
    again.trainer.run()
    assert again.losses == []
    afresh = Run(tmp_path, resume=False)
    afresh.trainer.run()
    assert len(afresh.losses) == 8
    assert [int(row["iteration"]) for row in rows(tmp_path / "training.csv")] == list(range(1, 9))


def test_checkpoint_of_another_training_is_refused(tmp_path):
    torch.save({"network": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="holds no 'importance'"):
        Run(tmp_path).trainer.run()


@pytest.mark.parametrize("change", [{"code_sha256": "0" * 64, "version": "0.1.0"}, None], ids=["other code", "0.1.0's"])
def test_checkpoint_of_other_code_is_refused_with_ways_out(tmp_path, change):
    Run(tmp_path).trainer.run()
    path = tmp_path / CheckpointHandler.FILE
    state = torch.load(path)
    if change is None:
        del state["settings"]["code_sha256"]
    state["settings"] |= change or {"version": "0.1.0"}
    torch.save(state, path)
    line = rf"by other training code \(metakd_monai 0\.1\.0\); .*{__version__}.*--resume False, .*--init_weights"
    with pytest.raises(UserError, match=line):
        Run(tmp_path).trainer.run()
    state["settings"] = {"version": "0.0.9", "code_sha256": code_fingerprint(TRAINING_CODE), "alpha": 0.1}
    torch.save(state, path)
    Run(tmp_path).trainer.run()  # another version with the same code


def test_checkpoint_of_other_settings_is_refused(tmp_path):
    Run(tmp_path, max_iterations=1).trainer.run()
    with pytest.raises(UserError, match=r"alpha was 0\.1; expected 0\.5 as now. Use --resume False"):
        Run(tmp_path, alpha=0.5).trainer.run()
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings == {"version": __version__, "code_sha256": code_fingerprint(TRAINING_CODE), "alpha": 0.1}
    Run(tmp_path, alpha=0.5, resume=False).trainer.run()


def test_checkpoint_of_another_network_is_refused(tmp_path):
    Run(tmp_path, max_iterations=1).trainer.run()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["network"]["surplus"] = torch.zeros(1)
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(
        UserError, match=r"checkpoint\.pt: network does not fit \(.*surplus.*\); expected one of this training"
    ):
        Run(tmp_path).trainer.run()


def test_checkpoints_load_with_weights_only(tmp_path):
    Run(tmp_path).trainer.run()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["iteration"] == 8
    assert {"network", "importance", "optimizer", "importance_optimizer", "lr_scheduler", "meta_update"} < set(state)
    model = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(model[name], value) for name, value in state["network"].items())


def test_random_states_come_back():
    states = get_random_states()
    drawn = [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()]
    set_random_states(states)
    assert [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()] == drawn


def test_dropping_is_per_sample_and_seeded(tmp_path):
    run = Run(tmp_path)
    run.trainer.run()
    again = Run(tmp_path / "again")
    again.trainer.run()
    assert run.available == again.available
    assert any(a != b for a, b in run.available)  # two samples of one batch
    assert all(any(row) for batch in run.available for row in batch)


def test_warm_up_and_ramp_of_the_dropping_rate(tmp_path):
    rates = [DropModalitiesHandler(prob=0.8, warm_up=10, ramp=4).rate(i) for i in (1, 10, 11, 12, 14, 99)]
    assert rates == pytest.approx([0, 0, 0.2, 0.4, 0.8, 0.8])
    assert [DropModalitiesHandler(warm_up=2).rate(i) for i in (1, 2, 3)] == [0, 0, 1]
    run = Run(tmp_path, warm_up=4)
    run.trainer.run()
    assert all(all(row) for batch in run.available[:4] for row in batch)
    assert not all(all(row) for batch in run.available[4:] for row in batch)


def test_single_modalities_are_learned_from_beside_the_drawn_subset(tmp_path):
    plain, run = Run(tmp_path / "plain"), Run(tmp_path / "single", single_modality_passes=4)
    plain.trainer.run()
    run.trainer.run()
    for before, batch in zip(plain.available, run.available, strict=True):
        for drawn, (first, *single) in zip(before, batch, strict=True):
            assert first == drawn  # the same draws as without
            assert sorted(single) == sorted(torch.eye(4).bool().tolist())
    assert run.trainer.state.iteration == plain.trainer.state.iteration
    assert all(map(math.isfinite, run.losses))


def test_several_subsets_are_drawn_of_each_sample(tmp_path):
    plain, run = Run(tmp_path / "plain"), Run(tmp_path / "several", single_modality_passes=2, subsets_per_sample=3)
    plain.trainer.run()
    run.trainer.run()
    counts = set()
    for before, batch in zip(plain.available, run.available, strict=True):
        for first, subsets in zip(before, batch, strict=True):
            assert len(subsets) == 5
            assert subsets[0] == first  # the same draw as without
            assert [sum(single) for single in subsets[3:]] == [1, 1]
            counts |= {sum(subset) for subset in subsets[1:3]}
    assert counts == {1, 2, 3, 4}
    assert all(map(math.isfinite, run.losses))


def test_loss_of_several_subsets_is_their_mean(tmp_path):
    run = Run(tmp_path)
    image, label = torch.randn(1, 4, 8, 8, 8), torch.ones(1, 3, 8, 8, 8)
    subsets = torch.eye(4)[None].bool()
    engine = run.trainer
    engine.alpha, engine.state.output = 0.0, {}
    together = engine.inner_loss(engine.infer(image, engine.network, subsets), label)
    apart = [engine.inner_loss(engine.infer(image, engine.network, subsets[:, n]), label) for n in range(4)]
    assert float(together) == pytest.approx(float(torch.stack(apart).mean()), rel=1e-4)


def test_single_modalities_are_those_that_a_case_has():
    handler = DropModalitiesHandler(prob=0.0, single_modality_passes=3)
    there = torch.tensor([[False, True, False, True]])
    engine = SimpleNamespace(state=SimpleNamespace(iteration=1, batch={"available": there}))
    handler(engine)
    subsets = engine.state.batch["available"]
    assert subsets.shape == (1, 4, 4)
    assert torch.equal(subsets[:, 0], there)
    assert (subsets[0, 1:].sum(1) == 1).all()
    assert torch.equal(subsets.any(1), there)
    with pytest.raises(UserError, match="single_modality_passes: -1 found"):
        DropModalitiesHandler(single_modality_passes=-1)
    with pytest.raises(UserError, match="subsets_per_sample: 0 found"):
        DropModalitiesHandler(subsets_per_sample=0)


def test_training_learns(tmp_path):
    run = Run(tmp_path, max_iterations=60, interval=60, meta_interval=10, warm_up=60)
    run.trainer.run()
    thirds = [np.mean(run.losses[i : i + 20]) for i in (0, 20, 40)]
    assert all(later < earlier for earlier, later in pairwise(thirds))


def test_metric_reader_names_channels():
    engine = Engine(lambda e, b: None)
    engine.state.metrics = {"mean": 0.5, "dice": torch.tensor([[0.1, 0.2, 0.3]])}
    found = MetricReader(engine)(engine)
    assert found == pytest.approx({"mean": 0.5, "dice_ET": 0.1, "dice_TC": 0.2, "dice_WT": 0.3})


def test_followers_write_nothing(tmp_path):
    engine = Engine(lambda e, b: None)
    engine.state.rank, engine.state.iteration = 1, 1
    ScalarLogHandler(tmp_path, "training", lambda e: {"loss": 1.0})(engine)
    CheckpointHandler(tmp_path, {"network": torch.nn.Linear(1, 1)}).finish(engine)
    assert list(tmp_path.iterdir()) == []


def test_progress_shows_the_loss_in_a_terminal_and_nothing_when_piped(capsys, monkeypatch):
    for terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        engine = Engine(lambda e, b: [{"loss": torch.tensor(0.25)}])
        ProgressHandler(total=2).attach(engine)
        engine.run([0, 1])
        shown = capsys.readouterr().err
        assert ("loss=0.250" in shown and "2/2" in shown) if terminal else shown == ""


def test_checkpoint_is_whole_or_not_at_all(tmp_path):
    Run(tmp_path, max_iterations=3).trainer.run()
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def half(path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(ValueError, match="disk full"):
        write_safely(tmp_path / "checkpoint.pt", half)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
