"""Table 3: what they train, and their arithmetic."""

import numpy as np
import pytest
import torch
from torch import nn

from metakd_monai.apps.avmnist import embedded_pairs, split_pairs
from metakd_monai.apps.avmnist.distillations import (
    Both,
    CosineDistillation,
    HiddenDistillation,
    PredictionDistillation,
    ScheduledDistillation,
)
from metakd_monai.apps.avmnist.table3 import RATES, Results, paper_values, report, runs_of
from metakd_monai.apps.avmnist.trainings import FIELDS, Run, train, train_and_score
from metakd_monai.apps.avmnist.ways import hold_out, settings_of
from metakd_monai.equations import distillation, fill_missing
from metakd_monai.networks import MetaKDClassifier

ROWS = [
    {"table": "3a", "condition": name, "seed": seed, "test": test, "test_digits": ""}
    for name, seed, test in [
        ("control", "0", "90"),
        ("control", "1", "92"),
        ("metakd 5", "0", "93"),
        ("metakd 5", "1", "93"),
        ("metakd 5", "2", "50"),
    ]
]


def test_gains_are_paired_by_seed():
    results = Results(ROWS)
    assert results.mean("3a", "control") == "91.00 ± 1.41"
    assert results.gain("3a", "metakd 5", "control") == "+2.00 ± 1.00"  # of 3 and 1; seed 2 has no control
    assert results.gain("3a", "metakd 5", "control", "test_digits") == ""


def test_report_stands_beside_the_paper(tmp_path):
    path = tmp_path / "paper.csv"
    path.write_text("missing,rate_percent,method,accuracy_percent\naudio,5,MetaKD,93.56\naudio,5,SMIL,92.89\n")
    text = report(ROWS, paper_values(path), "made up")
    assert "| 3a | metakd 5 | 93.56 | 78.67 ± 24.83 |  | +2.00 ± 1.00 |  |" in text
    assert "| 3a | control |  | 91.00 ± 1.41 |  |  |  |" in text


def test_runs_of_a_seed_are_the_whole_table():
    runs = runs_of(3)
    assert len({run.key for run in runs}) == 41
    controls = [run for run in runs if run.condition in ("lower", "control")]
    assert all((run.settings["rate"], run.settings["alpha"], run.meta) == (0.0, 0.0, False) for run in controls)
    assert [run.settings["rate"] for run in runs if run.condition.startswith("metakd")] == [*RATES, *RATES]


@pytest.mark.parametrize("way", ["control", "donors, curriculum, printed", "donors, prediction", "hidden features"])
def test_a_way_is_trained_and_scored(way):
    row = train_and_score(Run("3a", way, 0, {**settings_of("tuned", way, 0.2), "max_epochs": 1}), None)
    assert tuple(row) == FIELDS
    assert all(float(row[name]) > 30 for name in ("test", "test_digits", "validation", "extra_digits"))  # chance is 10


def test_ways_that_drop_do_drop():
    settings = {**settings_of("tuned", "donors, dropped", 0.2), "max_epochs": 1}
    trainer = train(Run("3a", "donors, dropped", 0, settings), embedded_pairs()).get_parsed_content("train#trainer")
    batch = trainer.state.batch["available"]  # donors give every pair both; the last batch as training saw it
    assert {tuple(row) for row in batch.tolist()} == {(True, True), (True, False), (False, True)}


def test_a_choice_never_sees_the_test_pairs():
    pairs = embedded_pairs()
    kept = hold_out(pairs, seed=1, number=10)
    assert len(kept.test_image) == 0
    known = {image.tobytes() for image in pairs.image[~pairs.test]}
    assert {image.tobytes() for image in kept.image} <= known
    assert np.bincount(kept.label[kept.test] * 3 + kept.speaker[kept.test]).tolist() == [10] * 30
    split = split_pairs(kept, seed=1)
    assert [len(split[part]) for part in ("training", "validation", "test")] == [600, 150, 300]
    assert not hold_out(pairs, seed=1, number=0).test.any()
    assert not np.array_equal(hold_out(pairs, seed=2, number=10).test, kept.test)


def test_cosine_distillation_by_hand():
    features = torch.tensor([[[2.0, 0.0], [3.0, 4.0]]], requires_grad=True)  # their cosine is 3/5
    importance = torch.tensor([0.8, 0.2])
    everything = torch.tensor([[True, True]])
    for power, ratios in ((0, 2), (1, 4 + 1 / 4), (-1, 1 / 4 + 4)):
        loss = CosineDistillation(power)(features, everything, importance)
        assert loss.item() == pytest.approx(ratios * 0.4)
    loss = CosineDistillation(-1)(features, everything, importance)
    loss.backward()
    teacher, student = features.grad[0].norm(dim=-1) * torch.tensor([2.0, 5.0])  # turning of unit vectors
    assert teacher / student == pytest.approx(4 / (1 / 4))  # the other direction: the weaker one teaches the stronger
    one_way = CosineDistillation(0, teacher=0)(features, everything, importance)
    assert one_way.item() == pytest.approx(0.4)
    assert torch.autograd.grad(one_way, features)[0].norm(dim=-1).tolist()[0] == [0, pytest.approx(0.8 / 5)]  # sine 4/5
    alone = torch.tensor([[True, False]])
    spoilt = torch.tensor([[[1.0, 0.0], [float("nan")] * 2]])
    assert CosineDistillation()(spoilt, alone, importance).item() == 0


class Decoder(nn.Module):
    """Tells classes by the mean of the filled features."""

    def decode(self, features, available):
        return fill_missing(features, available).mean(dim=1)


def test_prediction_distillation_by_hand():
    odds = torch.tensor([[[0.0, 0.0], [0.0, 2.0]], [[5.0, 0.0], [float("nan")] * 2]]).log1p().requires_grad_()
    available = torch.tensor([[True, True], [True, False]])
    loss = PredictionDistillation(Decoder())(odds, available, torch.tensor([0.5, 0.5]))
    # Of the first sample: from both 1 to sqrt(3), from the first alone 1 to 1, from the second alone 1 to 3.
    both = torch.tensor([1, 3**0.5]) / (1 + 3**0.5)
    alone = torch.tensor([[1 / 2, 1 / 2], [1 / 4, 3 / 4]])
    wanted = (both * (both / alone).log()).sum().item() / 2  # a mean over both samples, as the printed one is
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    loss.backward()
    assert odds.grad[1].nan_to_num().abs().sum() == 0
    together = Both(Decoder(), teacher=1, share=0.3)(odds, available, torch.tensor([0.5, 0.5]))
    parts = CosineDistillation(0, 1)(odds, available, torch.tensor([0.5, 0.5]))
    assert together.item() == pytest.approx(loss.item() + 0.3 * parts.item())
    nothing = PredictionDistillation(Decoder())(odds[1:], available[1:], torch.tensor([0.5, 0.5]))
    assert nothing.item() == 0


def test_hidden_distillation_by_hand():
    network = MetaKDClassifier({"a": nn.Identity(), "b": nn.Identity()}, features=3, out_channels=2, hidden=4).eval()
    features, importance = torch.randn(2, 2, 3), torch.tensor([0.7, 0.3])
    available = torch.tensor([[True, True], [True, False]])
    alone = [features[:, n].repeat(1, 2) for n in range(2)]  # what is missing gets the mean of what is there
    hidden = torch.stack([network.head[1](one).relu() for one in alone], dim=1)
    wanted = distillation(hidden, available, importance)
    assert wanted > 0
    assert HiddenDistillation(network)(features, available, importance).item() == pytest.approx(wanted.item())


def test_alpha_rises_and_falls():
    arguments = torch.randn(1, 2, 3), torch.tensor([[True, True]]), torch.tensor([0.5, 0.5])
    whole = distillation(*arguments).item()
    for rising, shares in ((True, [0, 0.5, 1, 1]), (False, [1, 0.5, 0, 0])):
        scheduled = ScheduledDistillation(2, rising)
        assert [scheduled(*arguments).item() for _ in range(4)] == pytest.approx([whole * share for share in shares])
