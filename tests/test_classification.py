"""What classification adds to the core: networks, batches, scores."""

import csv
import math
from itertools import chain

import pytest
import torch
from monai.utils import set_determinism
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from metakd_monai.apps.classification import (
    BatchLoader,
    PrepareModalities,
    classify,
    evaluate,
    predict,
    score,
    score_subsets,
)
from metakd_monai.errors import UserError
from metakd_monai.networks import (
    ConvEncoder,
    ImportanceWeights,
    LateFusionClassifier,
    MetaKDClassifier,
    MetaKDUNet,
    VectorEncoder,
)
from metakd_monai.vocabulary import subsets_of

NAMES = ("image", "sound", "text")


def encoders():
    return {
        "image": ConvEncoder((12, 10), (4, 8), 3, 6),
        "sound": ConvEncoder((9,), (4, 8), 3, 6, normalize_input=True),
        "text": VectorEncoder(5, 6, 7),
    }


def make_network(**options):
    return MetaKDClassifier(encoders(), 6, 3, **options).eval()


def sample(size=4):
    return {"image": torch.randn(size, 1, 12, 10), "sound": torch.randn(size, 1, 9), "text": torch.randn(size, 5)}


AVAILABLE = torch.tensor([[True, True, True], [False, True, True], [True, False, False], [False, False, True]])


def make_items(size=20):
    x = sample(size)
    mask = torch.rand(size, 3) < 0.6
    mask[:, 0] |= ~mask.any(dim=1)
    mask[0] = True
    return [
        {**{k: v[n] for k, v in x.items()}, "label": torch.tensor(n % 3), "available": mask[n], "case_id": f"case_{n}"}
        for n in range(size)
    ]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [MetaKDClassifier, LateFusionClassifier])
def test_an_absent_modality_cannot_leak(kind, training):
    network = kind(encoders(), 6, 3, dropout=0.0).train(training)
    x, results = sample(), []
    for filler in (0.0, float("nan")):
        dirty = {name: value.clone() for name, value in x.items()}
        for n, name in enumerate(NAMES):
            dirty[name][~AVAILABLE[:, n]] = filler
        set_determinism(0)
        results.append(network(dirty, AVAILABLE))
    assert results[0].isfinite().all()
    assert torch.equal(*results)


def test_rows_are_normalised_each_by_itself():
    encoder = ConvEncoder((6, 8), (2,), 3, 4, normalize_input=True, normalize_rows=True)
    x = torch.randn(50, 1, 6, 8) * torch.tensor([100.0, 1, 1, 1, 1, 0.01])[:, None] + torch.arange(6.0)[:, None]
    seen = []
    encoder.layers.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    assert encoder(x).shape == (50, 4)
    assert seen[0].shape == x.shape
    assert seen[0].std(dim=(0, 1, 3), correction=0).detach().numpy() == pytest.approx(1, abs=0.05)
    assert seen[0].mean(dim=(0, 1, 3)).detach().numpy() == pytest.approx(0, abs=1e-4)


def test_features_and_fill():
    network, x = make_network(), sample()
    _, features, mask = network.forward_features(x, AVAILABLE)
    assert features.shape == (4, 3, 6)
    assert torch.equal(mask, AVAILABLE)
    assert (features[~AVAILABLE] == 0).all()
    torch.testing.assert_close(features[0, 2], network.encoders["text"](x["text"][:1])[0])
    filled = features.clone()
    filled[1, 0] = (features[1, 1] + features[1, 2]) / 2  # Eq. (2) by hand
    filled[2, 1] = filled[2, 2] = features[2, 0]
    filled[3, 0] = filled[3, 1] = features[3, 2]
    torch.testing.assert_close(network.decode(features, AVAILABLE), network.head(filled))
    network.fill = "zero"
    torch.testing.assert_close(network.decode(features, AVAILABLE), network.head(features))
    assert torch.equal(network(x), network(x, torch.ones(1, 3)))  # everything is there unless somebody says


def test_late_fusion_is_the_mean_of_probabilities():
    network, x = LateFusionClassifier(encoders(), 6, 3).eval(), sample()
    features = network.encode(x, AVAILABLE)
    single = torch.stack([network.head[n](features[:, n]).softmax(-1) for n in range(3)], 1)
    logits = network(x, AVAILABLE)
    torch.testing.assert_close(logits[1].exp(), (single[1, 1] + single[1, 2]) / 2)
    torch.testing.assert_close(logits[3].exp(), single[3, 2])


@pytest.mark.parametrize("kind", ["classifier", "unet"])
def test_upper_problem_moves_the_importance_alone(kind):
    if kind == "unet":
        network, x, available = MetaKDUNet(2, 3, 2, (4, 8)), torch.randn(4, 3, 8, 8), AVAILABLE
    else:
        network, x, available = make_network(), sample(), AVAILABLE
    network.eval()
    importance = ImportanceWeights(3)
    logits, features = network.forward_weighted(x, available, importance())
    assert not features.requires_grad
    logits.square().sum().backward(inputs=list(importance.parameters()))
    assert importance.weights.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())
    even = network.forward_weighted(x, available, torch.ones(3))[0]
    torch.testing.assert_close(even, network(x, available))


def test_networks_refuse():
    with pytest.raises(ValueError, match="fill must be 'mean' or 'zero'"):
        make_network(fill="median")
    with pytest.raises(ValueError, match="size is too small for 2 poolings"):
        ConvEncoder((6, 6), (4, 8), 5, padding=0)
    with pytest.raises(ValueError, match="no modality is present"):
        make_network()(sample(), torch.zeros(4, 3))


def test_lenet_s_size():
    encoder = ConvEncoder((28, 28), (6, 16), 5, 160, padding=0)
    assert encoder(torch.randn(2, 1, 28, 28)).shape == (2, 160)
    assert encoder.project[2].in_features == 16 * 4 * 4
    assert ConvEncoder((24, 28, 24), (2, 4), 3, 5)(torch.randn(2, 1, 24, 28, 24)).shape == (2, 5)


def test_batches_go_on_where_they_were():
    items = make_items(10)
    loader = BatchLoader(items, 4, seed=3)
    assert len(loader) == 3
    stream = iter(loader)
    names = [next(stream)["case_id"] for _ in range(6)]
    loader.sampler.seek(3)
    assert next(iter(loader))["case_id"] == names[3]
    assert sorted(chain(*names[:5])) == sorted(2 * [item["case_id"] for item in items])  # two passes are 5 batches
    once = list(BatchLoader(items, 4, endless=False))
    assert [len(batch["case_id"]) for batch in once] == [4, 4, 2]
    assert sorted(chain(*(batch["case_id"] for batch in once))) == sorted(item["case_id"] for item in items)
    plain = list(BatchLoader(items, 4, endless=False, shuffle=False))
    assert list(chain(*(batch["case_id"] for batch in plain))) == [item["case_id"] for item in items]
    with pytest.raises(UserError, match="no samples"):
        BatchLoader([], 4)


def test_augmentation_is_seeded_by_place():
    def augment(batch, seed):
        return {**batch, "seed": seed}

    loader = BatchLoader(make_items(10), 5, seed=3, augment=augment)
    stream = iter(loader)
    seeds = [next(stream)["seed"] for _ in range(3)]
    assert len(set(seeds)) == 3
    loader.sampler.seek(2)
    assert next(iter(loader))["seed"] == seeds[2]


def test_prepare_hands_out_modalities_by_name():
    batch = next(iter(BatchLoader(make_items(3), 3)))
    x, label, (available,), keywords = PrepareModalities(NAMES)(batch, "cpu")
    assert (tuple(x), keywords) == (NAMES, {})
    assert torch.equal(available, batch["available"])
    assert torch.equal(label, batch["label"])
    del batch["label"]
    assert PrepareModalities(NAMES)(batch)[1] is None


def test_scores_by_hand_and_by_scikit_learn():
    labels, found = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 0]
    scores = score(labels, found, 3)
    assert scores["accuracy"] == scores["micro_f1"] == pytest.approx(50)
    assert scores["balanced_accuracy"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
    assert scores["f1"] == pytest.approx(100 * f1_score(labels, found, average="macro"))
    labels, found = torch.randint(0, 4, (2, 50))
    scores = score(labels, found, 4)
    assert scores["accuracy"] == pytest.approx(100 * accuracy_score(labels, found))
    assert scores["balanced_accuracy"] == pytest.approx(100 * balanced_accuracy_score(labels, found))
    assert scores["micro_f1"] == pytest.approx(100 * f1_score(labels, found, average="micro"))
    assert scores["f1"] == pytest.approx(100 * f1_score(labels, found, average="macro"))


def test_subsets_are_scored_on_those_who_have_them():
    assert subsets_of("CGBI")[:5] == [("C",), ("G",), ("B",), ("I",), ("C", "G")]
    assert len(subsets_of("CGBI")) == 15
    items, network = make_items(), make_network()
    rows = score_subsets(network, items, NAMES, 3)
    assert [row["modalities"] for row in rows[:2]] == ["image", "sound"]
    assert rows[-1]["modalities"] == "mean"
    pair = next(row for row in rows if row["modalities"] == "sound+text")
    fitting = [item for item in items if item["available"][1:].all()]
    assert pair["samples"] == len(fitting)
    hits = predict(network, fitting, NAMES, ("sound", "text")).argmax(1) == torch.stack([i["label"] for i in fitting])
    assert pair["accuracy"] == pytest.approx(100 * hits.double().mean().item())
    assert rows[-1]["accuracy"] == pytest.approx(sum(row["accuracy"] for row in rows[:-1]) / 7)
    none = [{**item, "available": torch.tensor([True, False, False])} for item in items]
    row = score_subsets(network, none, NAMES, 3)[1]
    assert (row["modalities"], row["samples"]) == ("sound", 0)
    assert math.isnan(row["accuracy"])
    with pytest.raises(UserError, match="no samples to score"):
        score_subsets(network, [], NAMES, 3)


def test_evaluate_and_classify_write_tables(tmp_path, caplog):
    items, network = make_items(), make_network()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    evaluate(network, tmp_path / "model.pt", items, NAMES, "abc", tmp_path / "subsets.csv")
    with (tmp_path / "subsets.csv").open() as stream:
        assert [row["modalities"] for row in csv.DictReader(stream)][-2:] == ["image+sound+text", "mean"]
    classify(network, tmp_path / "model.pt", items, NAMES, "abc", tmp_path / "out.csv", present=["sound"])
    with (tmp_path / "out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["modalities"] for row in rows} == {"sound"}
    assert len(rows) == sum(bool(item["available"][1]) for item in items) < len(items)
    assert "samples left out: they have none of sound" in caplog.text
    assert all(row["prediction"] == max("abc", key=lambda name: float(row[name])) for row in rows)
    with pytest.raises(UserError, match="'smell' found; expected some of image, sound, text"):
        classify(network, tmp_path / "model.pt", items, NAMES, "abc", tmp_path / "out.csv", present=["smell"])
    with pytest.raises(UserError, match="weights of another network"):
        evaluate(make_network(hidden=5), tmp_path / "model.pt", items, NAMES, "abc", tmp_path / "subsets.csv")
