"""Other methods than MetaKD: what each adds by hand, and that its overlay trains and goes on exactly."""

import csv
import json
import math
from itertools import islice

import pytest
import torch
from conftest import BUNDLE, CHANNELS
from ignite.engine import Engine, Events, State
from monai.bundle import ConfigWorkflow
from test_bundle_configs import METHODS, OTHER_NETWORKS, PLUG_INS
from test_bundle_run import train
from test_training import KilledError, Run, Toy
from torch import distributed as dist
from torch import multiprocessing, nn
from torch.utils.data import DataLoader

from metakd_monai.data.stream import StreamSampler
from metakd_monai.equations import importance_ratio, teacher_matrix
from metakd_monai.errors import UserError
from metakd_monai.handlers import DropModalitiesHandler, ElectTeachersHandler
from metakd_monai.losses import DiceBCELoss, DistillationLoss, RankingLoss, SelfDistillationLoss
from metakd_monai.networks import ElectedTeachers, ImportanceWeights, MetaKDUNet

FLAIR, T1, T1CE, T2 = torch.eye(4).bool()
BRIEF = {"max_iterations": 4, "meta_interval": 2, "meta_cases": 2, "val_interval": 9, "checkpoint_interval": 2}
SMALL = {"network_def#channels": list(CHANNELS), "roi_size": [16, 16, 16], "num_workers": 0, "device": "cpu", **BRIEF}


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


# What a teacher counts for a student


def test_teachers_teach_all_others_by_hand():
    features = torch.tensor([[[0.0], [1.0], [3.0]]], requires_grad=True)
    teachers = torch.tensor([1.0, 0.0, 1.0])
    assert teacher_matrix(teachers).tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 1]]
    loss = DistillationLoss(counts="teachers")(features, torch.ones(1, 3, dtype=torch.bool), teachers)
    assert loss.item() == pytest.approx((1 + 3) + (3 + 2))  # from teacher 0 to 1 and 2, from teacher 2 to 0 and 1
    loss.backward()
    assert features.grad.flatten().tolist() == [-1, 1 - 1, 1]  # 1 stands between both teachers


def test_a_teacher_that_is_absent_teaches_nobody():
    features = torch.tensor([[[float("nan")], [1.0], [3.0]]], requires_grad=True)
    loss = DistillationLoss(counts="teachers")(features, torch.tensor([[False, True, True]]), torch.tensor([1.0, 0, 0]))
    loss.backward()
    assert loss.item() == 0
    assert features.grad.flatten().tolist() == [0, 0, 0]


def test_equal_importance_counts_every_pair_once():
    for normalization in ("softmax", "sigmoid", "relu"):
        importance = ImportanceWeights(normalization=normalization, seed=None)()
        assert torch.equal(importance_ratio(importance), torch.ones(4, 4))


def test_other_counts_are_refused():
    with pytest.raises(ValueError, match="counts must be 'ratio' or 'teachers', got 'all'"):
        DistillationLoss(counts="all")


# Losses between subsets


def test_self_distillation_by_hand():
    logits = torch.tensor([0.8, 0.5]).logit().view(2, 1, 1, 1, 1).requires_grad_()
    loss = SelfDistillationLoss(weight=3)(logits, torch.zeros(1, 1, 1, 1))
    assert loss.item() == pytest.approx(3 * (0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)), rel=1e-5)
    loss.backward()
    assert logits.grad.flatten().tolist() == pytest.approx([0, 3 * (0.5 - 0.8)])  # the teacher, the student


def test_self_distillation_costs_nothing_where_both_agree():
    logits = 9 * torch.randn(1, 2, 3, 4, 4, 4)
    assert SelfDistillationLoss()(logits.expand(2, *logits.shape[1:]), None).item() == pytest.approx(0, abs=1e-6)


def test_ranking_by_hand_is_per_sample():
    logits = torch.tensor([[3.0, 1.0], [1.0, 2.0]]).view(2, 2, 1, 1).requires_grad_()  # from more, from fewer
    label = torch.zeros(2, 1, 1)
    loss = RankingLoss(lambda one, mask: (one - mask).abs().mean(), weight=0.1)(logits, label)
    assert loss.item() == pytest.approx(0.1 * (2 + 0) / 2)  # the batch's means, 2 and 1.5, would give 0.05
    loss.backward()
    assert logits.grad.flatten().tolist() == pytest.approx([0.05, 0, -0.05, 0])


def test_ranking_compares_dice_and_bce():
    logits, label = torch.randn(2, 2, 3, 4, 4, 4), (torch.rand(2, 3, 4, 4, 4) > 0.5).float()
    logits[0] *= 3  # worse
    task = DiceBCELoss()
    gaps = [task(logits[0, b : b + 1], label[b : b + 1]) - task(logits[1, b : b + 1], label[b : b + 1]) for b in (0, 1)]
    expected = 0.1 * torch.stack(gaps).clamp(min=0).mean()
    assert RankingLoss(task)(logits, label).item() == pytest.approx(expected.item())
    assert expected > 0


@pytest.mark.parametrize("loss", [SelfDistillationLoss(), RankingLoss(DiceBCELoss())])
def test_one_subset_alone_is_refused(loss):
    with pytest.raises(UserError, match="subset_loss: 1 subset of each sample found; expected 2"):
        loss(torch.zeros(1, 2, 3, 4, 4, 4), torch.zeros(2, 3, 4, 4, 4))


@pytest.mark.parametrize("loss", [SelfDistillationLoss(), RankingLoss(DiceBCELoss())])
def test_absent_modalities_are_never_read(loss, tmp_path):
    trainer = Run(tmp_path, alpha=0, subset_loss=loss).trainer
    image = torch.randn(2, 4, 8, 8, 8)
    pairs = torch.stack([torch.stack([FLAIR | T2, T2]), torch.stack([FLAIR | T1 | T1CE, FLAIR])])
    label = (trainer.infer(image, trainer.network, pairs[:, 1])[0] > 0).float()  # the smaller subset is right
    found = []
    for poison in (0.0, float("nan"), 1e6):
        dirty = image.clone()
        dirty[~pairs.any(1)] = poison
        trainer.network.zero_grad()
        trainer.state.output = {}
        total = trainer.inner_loss(trainer.infer(dirty, trainer.network, pairs), label)
        total.backward()
        found.append([total.item(), *(p.grad.abs().sum().item() for p in trainer.network.parameters())])
        parts = trainer.state.output
        assert total.item() == pytest.approx(float(parts["task_loss"] + parts["subset_loss"]))
    assert found[0] == found[1] == found[2]
    assert float(trainer.state.output["subset_loss"]) > 0


# Pairs of subsets


def draw(size, batches=40, rank=0, num_replicas=1, there=None, **options):
    """Yield what a handler makes of one batch after another."""
    handler = DropModalitiesHandler(seed=4, rank=rank, num_replicas=num_replicas, **options)
    engine = Engine(lambda engine, batch: None)
    available = torch.ones(size, 4, dtype=torch.bool) if there is None else there.expand(size, 4)
    for iteration in range(1, batches + 1):
        engine.state = State(iteration=iteration, batch={"available": available.clone()})
        handler(engine)
        yield from engine.state.batch["available"]


@pytest.mark.parametrize("pair", ["all", "nested"])
@pytest.mark.parametrize("there", [FLAIR | T1 | T1CE | T2, FLAIR | T1CE | T2, T1])
def test_the_smaller_subset_is_the_one_that_is_drawn_without_pairs(pair, there):
    plain, pairs = list(draw(2, there=there)), list(draw(2, there=there, pair=pair))
    for drawn, (larger, smaller) in zip(plain, pairs, strict=True):
        assert torch.equal(smaller, drawn)
        assert not (smaller & ~larger).any()
        assert not (larger & ~there).any()
        assert torch.equal(larger, there) if pair == "all" else torch.equal(smaller, there) or (larger != smaller).any()
    sizes = {int(larger.sum()) for larger, _ in pairs}
    assert sizes == (
        {int(there.sum())} if pair == "all" else set(range(min(2, int(there.sum())), int(there.sum()) + 1))
    )


@pytest.mark.parametrize(("ranks", "size"), [(1, 4), (2, 2), (4, 1)])
def test_pairs_go_with_the_place_in_the_stream(ranks, size):
    parts = [list(draw(size, 4, rank, ranks, pair="nested")) for rank in range(ranks)]
    together = [pair.tolist() for place in zip(*parts, strict=True) for pair in place]
    assert together == [pair.tolist() for pair in islice(draw(16, 1, pair="nested"), 16)]


@pytest.mark.parametrize("pair", ["all", "nested"])
def test_pairs_are_twice_everything_while_nothing_is_dropped(pair):
    assert all(both.all() and both.shape == (2, 4) for both in draw(2, 3, warm_up=9, pair=pair))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pair": "some"}, "pair: 'some' found; expected all, nested or none"),
        ({"pair": "all", "subsets_per_sample": 2}, "pair: found beside subsets_per_sample"),
        ({"pair": "nested", "single_modality_passes": 1}, "pair: found beside subsets_per_sample"),
    ],
)
def test_pairs_that_cannot_be_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        DropModalitiesHandler(**options)


# Elected teachers


class Shows(nn.Module):
    """Stands for a network: says of every region what the one modality that it is given shows."""

    def encode(self, x, available):
        return [[row[None, None] for row in x[available]]]

    def decode(self, features, available, importance, size, encoded):
        place = int(encoded[0].nonzero().flatten().tolist().index(int(available[0].nonzero())))
        return features[0][place].expand(1, 3, *size)


def case(shown, available=FLAIR | T1 | T1CE | T2):
    """Return a case of 1, 2 and 4 of 8 voxels (ET, TC, WT), whose sequences show so many of them."""
    voxels = torch.arange(8.0).view(2, 2, 2)
    image = torch.stack([torch.where(voxels < count, 1.0, -1.0) for count in shown])
    image[~available] = float("nan")
    return {"image": image, "label": torch.stack([(voxels < n).float() for n in (1, 2, 4)]), "available": available}


def elect(cases, batch_size=2):
    teachers = ElectedTeachers()
    handler = ElectTeachersHandler(Shows().train(), teachers, DataLoader(cases, batch_size=batch_size), interval=5)
    engine = Engine(lambda engine, batch: None)
    engine.state = State(device="cpu", iteration=6)
    handler(engine)
    assert handler.network.training
    return teachers, handler.scalars


def test_the_best_modality_of_each_region_is_elected_by_hand():
    teachers, row = elect([case((4, 8, 1, 2)), case((4, 0, 1, 2))])
    assert row["dice_ET_flair"] == pytest.approx(2 * 1 / (1 + 4))
    assert row["dice_TC_flair"] == pytest.approx(2 * 2 / (2 + 4))
    assert row["dice_WT_t1"] == pytest.approx((2 * 4 / (4 + 8) + 0) / 2)
    assert [row[f"dice_{region}_{name}"] for region, name in (("WT", "flair"), ("ET", "t1ce"), ("TC", "t2"))] == [1] * 3
    assert teachers().tolist() == [1, 0, 1, 1]
    assert [row[f"teacher_{name}"] for name in ("flair", "t1", "t1ce", "t2")] == [1, 0, 1, 1]


def test_one_modality_may_be_the_only_teacher_and_a_missing_one_is_none():
    teachers, row = elect([case((9, 0, 3, 9), FLAIR | T1 | T1CE)])
    assert teachers().tolist() == [0, 0, 1, 0]
    assert math.isnan(row["dice_WT_t2"])


def test_dice_is_a_mean_over_the_cases_that_have_the_modality():
    _, row = elect([case((4, 4, 4, 4)), case((0, 2, 4, 4), T1 | T1CE), case((0, 0, 4, 0), T1CE)], batch_size=1)
    assert row["dice_WT_flair"] == 1
    assert row["dice_WT_t1"] == pytest.approx((1 + 2 * 2 / (2 + 4)) / 2)


def test_the_first_teacher_is_flair_and_the_first_election_is_after_an_interval():
    assert ElectedTeachers()().tolist() == [1, 0, 0, 0]
    assert ElectedTeachers(start=2)().tolist() == [0, 0, 1, 0]
    handler = ElectTeachersHandler(Shows(), ElectedTeachers(), [], interval=5)
    assert [i for i in range(1, 13) if handler.is_due(None, i)] == [6, 11]


def elect_among(rank, world, folder):
    """Elect over three cases as one of several processes."""
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    network, teachers = MetaKDUNet(channels=CHANNELS), ElectedTeachers()
    sampler = StreamSampler(Toy(3), 9, endless=False, rank=rank, num_replicas=world)
    handler = ElectTeachersHandler(network, teachers, DataLoader(Toy(3), sampler=sampler, batch_size=2 // world))
    engine = Engine(lambda engine, batch: None)
    engine.state = State(device="cpu", iteration=101)
    handler(engine)
    torch.save({"teachers": teachers(), **handler.scalars}, folder / f"{rank}_of_{world}.pt")
    if world > 1:
        dist.destroy_process_group()


def test_teachers_are_the_same_on_all_ranks_when_one_has_fewer_meta_cases(tmp_path):
    elect_among(0, 1, tmp_path)
    multiprocessing.spawn(elect_among, (2, tmp_path), nprocs=2)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("0_of_1", "0_of_2", "1_of_2"))
    for name, value in alone.items():
        torch.testing.assert_close(torch.as_tensor(first[name]), torch.as_tensor(value), rtol=1e-5, atol=1e-6)
        assert torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name]))


# The overlays


def prepare(name, cohort, output, **options):
    """Return the training of a method, or of several overlays ``a+b``, on a tiny cohort, as MONAI runs it."""
    overlays = [f"methods/{one}.json" for one in name.split("+")]
    files = [str(BUNDLE / "configs" / file) for file in ("train.json", *overlays)]
    settings = {**SMALL, "dataset_dir": str(cohort), "output_dir": str(output), "bundle_root": str(BUNDLE), **options}
    workflow = ConfigWorkflow(files, workflow_type="train", logging_file=False, run_id="training", **settings)
    workflow.initialize()
    return workflow


def test_every_method_has_its_overlay():
    assert {path.stem for path in (BUNDLE / "configs" / "methods").iterdir()} == {*METHODS, *OTHER_NETWORKS, *PLUG_INS}


@pytest.mark.parametrize("name", METHODS)
def test_each_method_trains(name, cohort, tmp_path):
    prepare(name, cohort, tmp_path, batch_size=2).run()
    training, meta = rows(tmp_path / "training.csv"), rows(tmp_path / "meta.csv")
    assert [int(row["iteration"]) for row in training] == [1, 2, 3, 4]
    distils = [float(row["distillation_loss"]) > 0 for row in training]
    assert any(distils) == (name in ("equal_importance", "lckd", "no_dropping"))
    assert all(distils) or name != "no_dropping"
    assert ("subset_loss" in training[0]) == (name in ("ranking", "self_distillation"))
    assert any(float(row.get("subset_loss", 1)) > 0 for row in training)
    weight = 0.1 if any(distils) else 0
    for row in training:
        parts = float(row["task_loss"]) + float(row.get("subset_loss", 0))
        assert float(row["loss"]) == pytest.approx(parts + weight * float(row["distillation_loss"]), rel=1e-5)
    assert [int(row["iteration"]) for row in meta] == ([3] if name == "lckd" else [1, 3])
    if name == "lckd":
        assert sum(float(meta[0][f"teacher_{modality}"]) for modality in ("flair", "t1", "t1ce", "t2")) >= 1
    if name == "equal_importance":
        assert {row[f"importance_{modality}"] for row in meta for modality in ("flair", "t1", "t1ce", "t2")} == {"0.25"}
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["method"] == name
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("name", ["lckd", "ranking"])
def test_a_run_that_was_killed_goes_on_to_the_last_bit(name, cohort, tmp_path):
    torch.set_num_threads(1)
    options = {"max_iterations": 6}
    prepare(name, cohort, tmp_path / "whole", **options).run()
    killed = prepare(name, cohort, tmp_path / "parts", **options)

    def kill(engine):
        raise KilledError

    trainer = killed.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_STARTED(once=6), kill)  # the checkpoint is of 4, after an election at 3
    with pytest.raises(KilledError):
        trainer.run()
    assert torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)["iteration"] == 4
    prepare(name, cohort, tmp_path / "parts", **options).run()
    for table in ("training.csv", "meta.csv"):
        assert (tmp_path / "parts" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()
    whole, parts = (torch.load(tmp_path / part / "checkpoint.pt", weights_only=True) for part in ("whole", "parts"))
    for item in ("network", "importance"):
        assert all(torch.equal(value, parts[item][key]) for key, value in whole[item].items())


def test_a_run_does_not_go_on_as_another_method(cohort, tmp_path):
    prepare("ranking", cohort, tmp_path).run()
    with pytest.raises(UserError, match=r"checkpoint\.pt: method was ranking; expected alpha_0 as now"):
        prepare("alpha_0", cohort, tmp_path).parser.get_parsed_content("train#trainer").run()


def test_the_command_finds_the_overlay_and_trains_it_on_real_cases(cohort, tmp_path):
    names = ("experimental.json", "train_real.json", "methods/self_distillation.json")
    overlays = [word for name in names for word in ("--overlay", name)]
    options = [str(word) for key, value in SMALL.items() if key != "roi_size" for word in (f"--{key}", value)]
    train(*overlays, "--dataset_dir", cohort, "--output_dir", tmp_path, *options)
    assert [float(row["subset_loss"]) >= 0 for row in rows(tmp_path / "training.csv")] == [True] * 4
