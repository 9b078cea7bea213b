"""The networks of other methods: absence, sizes, auxiliary losses, weights, exports, and that their overlays train."""

import json
import math

import pytest
import torch
from conftest import BUNDLE, REPOSITORY
from test_bundle_configs import OTHER_NETWORKS, load
from test_bundle_run import train
from test_methods import SMALL, prepare, rows
from test_predict import predict
from torch import nn

from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor
from metakd_monai.data.cases import find_cases
from metakd_monai.errors import UserError
from metakd_monai.inferers.subset_decoding import mask_of
from metakd_monai.losses import AuxiliaryLoss
from metakd_monai.networks import MetaKDUNet, WithFeatures
from metakd_monai.networks.methods import NETWORKS, BaselineNetwork, Extra
from metakd_monai.networks.methods.gaussians import fuse_gaussians, subset_divergence
from metakd_monai.networks.methods.hemis import moments
from metakd_monai.networks.methods.s_fusion import SFusionBlock
from metakd_monai.vocabulary import MODALITY_NAMES, modality_subsets
from metakd_monai.weights.exports import load_any
from metakd_monai.weights.exports.write_export import export_network
from metakd_monai.weights.load import load_network, start_from
from metakd_monai.weights.publish import publish

CHANNELS = (4, 8, 16)
SOME = torch.tensor([[True, False, True, True], [False, False, True, False]])
SMALLER = {
    "mm_former": {"hidden_size": 16, "mlp_dim": 32},
    "s_fusion": {"num_layers": 1},
}  # what is reduced beside the channels
DEFINITIONS = {name: load(f"methods/{name}.json")["network_def"] for name in OTHER_NETWORKS}
EACH = pytest.mark.parametrize("name", [name for name in OTHER_NETWORKS if name != "dynunet_no_dropping"])


def class_of(name: str) -> type[BaselineNetwork]:
    return NETWORKS[DEFINITIONS[name]["_target_"].split(".")[-1]]


def make(name: str, **options) -> BaselineNetwork:
    """Make the network of an overlay, small."""
    torch.manual_seed(0)
    given = {key: value for key, value in DEFINITIONS[name].items() if key != "_target_"}
    return class_of(name)(**{**given, "channels": CHANNELS, **SMALLER.get(name, {}), **options}).eval()


def spoil(image, available, poison=float("nan")):
    dirty = image.clone()
    dirty[~available] = poison
    return dirty


# Networks


@EACH
def test_absent_modalities_are_never_read(name):
    network, image = make(name), torch.randn(2, 4, 9, 13, 7)
    with torch.no_grad():
        clean = network(spoil(image, SOME, 0), SOME)
        assert clean.shape == (2, 3, 9, 13, 7)
        assert clean.isfinite().all()
        for poison in (float("nan"), 1e6):
            assert torch.equal(network(spoil(image, SOME, poison), SOME), clean)
        assert not torch.equal(network(image, torch.ones(1, 4, dtype=torch.bool)), clean)
        alone = network(image[1:], SOME[1:])
    torch.testing.assert_close(alone, clean[1:], atol=1e-4, rtol=1e-4)


@EACH
def test_training_never_reads_absent_modalities(name):
    network, image = WithFeatures(make(name).train()), torch.randn(2, 4, 8, 8, 8)
    drawn = SOME & torch.tensor([[True, False, False, True], [False, False, True, False]])
    found = []
    for poison in (0.0, float("nan"), 1e6):
        torch.manual_seed(1)
        network.zero_grad()
        logits, _, every, extras = network(spoil(image, SOME, poison), torch.stack([SOME, drawn], 1))
        assert torch.equal(every, SOME)
        total = logits.square().mean() + sum(extra.value.square().mean() for extra in extras)
        total.backward()
        found.append(
            [total.item(), *(0 if p.grad is None else p.grad.abs().sum().item() for p in network.parameters())]
        )
    assert found[0] == found[1] == found[2]
    assert len(logits) == (2 if network.network.auxiliary_of_all else 4)


@EACH
def test_all_parameters_learn(name):
    network, image = WithFeatures(make(name).train()), torch.randn(1, 4, 16, 16, 16)
    logits, _, _, extras = network(image, torch.ones(1, 4, dtype=torch.bool))
    (logits.square().mean() + sum(extra.value.square().mean() for extra in extras)).backward()
    still = [key for key, value in network.network.named_parameters() if value.grad is None]
    assert still == []


@EACH
def test_subsets_of_one_encoding_are_what_each_gives_by_itself(name):
    network, image = make(name), torch.randn(1, 4, 8, 12, 8)
    every = torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad():
        features = network.encode(image, every)
        for subset in modality_subsets():
            mask = mask_of(subset)
            apart, shared = network(image, mask), network.decode(features, mask, None, [8, 12, 8], every)
            torch.testing.assert_close(shared, apart, atol=1e-4, rtol=1e-4)


@EACH
def test_the_stride_of_the_input_is_one_of_voxels(name):
    coarse, fine = make(name), make(name, input_stride=2)
    fine.load_state_dict({**coarse.state_dict(), "architecture": fine.architecture})
    image = torch.randn(1, 4, 8, 8, 8)
    doubled = image.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    with torch.no_grad():
        found = nn.functional.avg_pool3d(fine(doubled, SOME[:1]), 2)
        expected = nn.functional.avg_pool3d(
            nn.functional.interpolate(coarse(image, SOME[:1]), scale_factor=2, mode="trilinear"), 2
        )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@EACH
def test_what_no_network_has_is_refused(name):
    with pytest.raises(ValueError, match="channels must name at least three scales"):
        make(name, channels=(4, 8))
    with pytest.raises(ValueError, match="input_stride must be 1 or more, got 0"):
        make(name, input_stride=0)
    with pytest.raises(ValueError, match="expected 4 channels"):
        make(name)(torch.zeros(1, 3, 8, 8, 8), SOME[:1])


def test_tokens_of_mm_former_go_back_to_their_places():
    for scrambled in (False, True):
        network = make("mm_former", scrambled=scrambled)
        network.between, network.mix = nn.Identity(), nn.Identity()
        tokens = torch.arange(4 * 16 * 8.0).reshape(1, 4, 16, 2, 2, 2)
        with torch.no_grad():
            found = network.fuse_tokens(tokens, torch.ones(1, 4, dtype=torch.bool))
        if not scrambled:
            assert torch.equal(found, tokens.flatten(1, 2))
        else:  # the first two places have the tokens of the first modality alone
            assert torch.equal(found[0, :16, 0, 0, 0], tokens[0, 0, :, 0, 0, 0])
            assert torch.equal(found[0, 16:32, 0, 0, 0], tokens[0, 0, :, 0, 0, 1])
            assert torch.equal(found[0, :16, 1, 0, 0], tokens[0, 2, :, 0, 0, 0])


def test_s_fusion_leaves_a_single_modality_as_it_is():
    block, features = SFusionBlock(4, 2, 1).eval(), torch.randn(1, 3, 4, 4, 2, 6)
    torch.testing.assert_close(block(features, torch.tensor([[False, True, False]])), features[:, 1])
    fused = block(features, torch.tensor([[True, True, False]]))
    low, high = features[:, :2].amin(1), features[:, :2].amax(1)
    assert bool(((fused >= low - 1e-6) & (fused <= high + 1e-6)).all())


def test_channels_become_the_voxels_of_their_cell():
    block = SFusionBlock(4, 2, 1)
    found = block.to_voxels(torch.arange(32.0).reshape(1, 32, 1, 1, 1))
    assert torch.equal(found, torch.arange(32.0).reshape(1, 4, 2, 2, 2))
    tokens = torch.arange(2.0).reshape(1, 1, 2, 1, 1).expand(1, 32, 2, 1, 1)
    assert torch.equal(block.to_voxels(tokens)[0, 0, :, 0, 0], torch.tensor([0.0, 0, 1, 1]))


def test_a_modality_is_made_of_the_others_by_hand():
    network = make("lmcr")
    weights = torch.tensor([[9.0, 2, 3, 4], [1, 5, 0, 0], [0, 0, 0, 0], [0, 0, 7, 1]])  # a number each on the diagonal
    for tell, row in zip(network.correlation, weights, strict=True):
        nn.init.zeros_(tell[-1].weight)
        tell[-1].bias.data = row
    features = torch.tensor([10.0, 20, 30, 40]).view(1, 4, 1, 1, 1, 1).expand(1, 4, 16, 2, 2, 2)
    with torch.no_grad():
        found = network.correlate(features)[0, :, 0, 0, 0, 0].tolist()
    assert found == [20 * 2 + 30 * 3 + 40 * 4 + 9, 10 + 5, 0, 30 * 7 + 1]


def test_sha_spec_s_auxiliary_losses_by_hand():
    network = make("sha_spec")
    features = [torch.zeros(1, 4, 16, 2, 2, 2) for _ in range(4)]
    features[-2][0] = torch.tensor([1.0, 4.0, 0.0, 3.0]).view(4, 1, 1, 1, 1)
    nn.init.zeros_(network.classify.weight)
    nn.init.zeros_(network.classify.bias)
    alignment, modality = network.learn_encoded(features[0], features, torch.tensor([[True, True, False, True]]))
    assert alignment.value.item() == pytest.approx((3 + 2) / 2)  # the first two; the last and the first
    assert modality.value.item() == pytest.approx(math.log(4))


def test_experts_are_weighed_among_those_that_are_there():
    network, image = make("sim_mlm"), torch.randn(1, 4, 8, 8, 8)
    alone = [torch.eye(4)[n : n + 1].bool() for n in range(4)]
    with torch.no_grad():
        each = torch.stack([network(image, one) for one in alone])
        (two,) = network(image, alone[0] | alone[3])
    low, high = torch.minimum(each[0], each[3])[0], torch.maximum(each[0], each[3])[0]
    assert bool(((two >= low - 1e-5) & (two <= high + 1e-5)).all())
    assert not torch.equal(two, low)


def test_the_moments_of_u_hemis_by_hand():
    features = torch.tensor([1.0, 5.0, 9.0]).view(1, 3, 1, 1, 1, 1)
    found = moments(features, torch.tensor([[True, True, False]])).flatten().tolist()
    assert found == [3, 4]  # the mean and the population variance of 1 and 5
    assert moments(features, torch.tensor([[False, True, False]])).flatten().tolist() == [5, 0]


def test_the_product_of_u_hved_by_hand():
    features = torch.tensor([[2.0, 0.0], [8.0, math.log(0.5)]]).view(1, 2, 2, 1, 1, 1)  # variances 1 and 0.5
    mean, variance = fuse_gaussians(features, torch.tensor([[True, True]]))
    assert variance.item() == pytest.approx(1 / (1 + 1 + 2), rel=1e-5)
    assert mean.item() == pytest.approx((2 * 1 + 8 * 2) / 4, rel=1e-5)
    every = torch.tensor([[True, False]])
    told = 0.5 * (0.5 - 1 - math.log(0.5) + 1)  # of mean 1 and variance 0.5 from a standard normal one
    assert subset_divergence(features, every, every).item() == pytest.approx(told, rel=1e-5)


# Auxiliary losses


def test_auxiliary_losses_by_hand():
    label = torch.tensor([[1.0], [5.0]])
    extras = [
        Extra("one", torch.tensor([[2.0]]), torch.tensor([1])),  # 3 from its label
        Extra("one", torch.tensor([[1.0]]), torch.tensor([0])),  # 0
        Extra("kl", torch.tensor(7.0)),
    ]
    loss = AuxiliaryLoss(lambda one, mask: (one - mask).abs().mean(), {"one": 2, "kl": 0.1, "none": 9})
    assert loss(extras, label).item() == pytest.approx(2 * (3 + 0) / 2 + 0.7)
    assert loss([], label).item() == 0
    with pytest.raises(UserError, match="auxiliary_loss: no weight of other found; expected one in"):
        loss([Extra("other", torch.tensor(1.0))], label)


# Weights


@pytest.fixture
def saved(name, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(make(name, window=(16, 16, 24)).state_dict(), path)
    return path


@EACH
def test_weights_say_which_network_they_are_of(name, saved, tmp_path):
    network, image = load_network(saved), torch.randn(1, 4, 9, 9, 9)
    assert (type(network), network.channels, network.window) == (class_of(name), CHANNELS, (16, 16, 24))
    with torch.no_grad():
        torch.testing.assert_close(network(image, SOME[:1]), make(name)(image, SOME[:1]), atol=1e-5, rtol=1e-4)
    with pytest.raises(UserError, match=f"{class_of(name).__name__} found; expected weights of a MetaKDUNet, or none"):
        start_from(MetaKDUNet(), saved)
    assert start_from(make(name), saved).training
    with pytest.raises(RuntimeError, match="found weights of another network; expected those of"):
        make(name).load_state_dict(MetaKDUNet().state_dict(), strict=False)
    with pytest.raises(UserError, match="'compile' found; expected auto or none"):
        load_network(saved, optimize="compile")


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ({"network": "Other"}, "found an architecture of 'Other', expected one of"),
        ({"channels": [4, 8, 10**9]}, "found an architecture of None"),
        ({"channels": 3}, "do not fit"),
        ({"surplus": 1}, "do not fit"),
        ({"out_channels": 2}, "found {'out_channels': 2}"),
        ({"input_stride": 17}, "found input_stride 17, expected at most 16"),
        ({"channels": [4, 8, 32]}, "of shape"),
    ],
)
def test_a_note_that_nobody_wrote_costs_one_line(note, message, tmp_path):
    network = make("dynunet")
    told = {"network": "ZeroFilledDynUNet", **network.arguments, **note}
    state = {**network.state_dict(), "architecture": torch.tensor(list(json.dumps(told).encode()), dtype=torch.uint8)}
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(UserError, match=message) as caught:
        load_network(tmp_path / "model.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "note", [torch.tensor([1, 2]), torch.zeros(10**6), torch.tensor(1.5), torch.tensor([[91, 93]])]
)
def test_a_note_that_is_none_costs_one_line(note, tmp_path):
    torch.save({**make("dynunet").state_dict(), "architecture": note}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="found an architecture of None"):
        load_network(tmp_path / "model.pt")


@EACH
def test_weights_are_published_with_a_stride_and_thresholds(name, saved, tmp_path):
    publish(saved, tmp_path / "out.pt", stride=2, thresholds=(0.5, 0.4, 0.2))
    network, image = load_network(tmp_path / "out.pt"), torch.randn(1, 4, 16, 16, 16)
    assert (network.pooling, network.window) == (2, (32, 32, 48))
    plain = make(name, input_stride=2)
    with torch.no_grad():
        shift = network(image, SOME[:1]) - plain(image, SOME[:1])
    expected = -torch.tensor([0.5, 0.4, 0.2]).logit().view(1, 3, 1, 1, 1).expand_as(shift)
    torch.testing.assert_close(shift, expected, atol=0.05, rtol=0)  # weights of 16 bits
    with pytest.raises(UserError, match=f"a {class_of(name).__name__} found; expected a MetaKDUNet"):
        publish(saved, tmp_path / "no.pt", modality_specific_scales=1)


@EACH
def test_torchscript_predicts_the_same(name, saved, tmp_path):
    export_network(saved, tmp_path / "model.ts", "torchscript", BUNDLE)
    exported, image = load_any(tmp_path / "model.ts"), torch.randn(1, 4, 9, 13, 7)
    assert exported.bytes_per_voxel() > 0
    for available in (SOME[:1], SOME[1:], torch.ones(1, 4, dtype=torch.bool)):
        with torch.no_grad():
            expected, found = make(name)(image, available), exported(spoil(image, available), available)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match=f"format: 'onnx' found; expected torchscript for a {class_of(name).__name__}"):
        export_network(saved, tmp_path / "model.onnx", "onnx", BUNDLE)


@EACH
def test_cases_are_predicted_and_subsets_compared(name, saved, cohort, tmp_path):
    case = cohort / "Simulated_000"
    assert predict(case, tmp_path / "out", saved, "--no-preview", "--save-uncertainty").exit_code == 0
    engine = SubsetPredictor(Predictor(saved))
    (found,) = find_cases(case)
    maps = engine.label_maps(engine.predictor.read(found), 4)
    assert list(maps) == modality_subsets()


# Overlays


@pytest.mark.parametrize("method", OTHER_NETWORKS)
def test_each_method_trains(method, cohort, tmp_path):
    prepare(method, cohort, tmp_path, batch_size=2, max_iterations=2, alpha=0.1).run()
    training = rows(tmp_path / "training.csv")
    assert len(training) == 2
    for row in training:
        assert float(row["distillation_loss"]) == 0
        parts = sum(float(row.get(part, 0)) for part in ("task_loss", "auxiliary_loss", "subset_loss"))
        assert float(row["loss"]) == pytest.approx(parts, rel=1e-5)
    assert ("auxiliary_loss" in training[0]) == ("train#trainer#auxiliary_loss" in load(f"methods/{method}.json"))
    assert not (tmp_path / "meta.csv").exists()
    assert json.loads((tmp_path / "settings.json").read_text())["method"] == method
    network = load_network(tmp_path / "model.pt")
    assert type(network) is class_of(method)
    assert predict(cohort / "Simulated_000", tmp_path / "out", tmp_path / "model.pt", "--no-preview").exit_code == 0


@pytest.mark.parametrize(
    "method", [name for name in OTHER_NETWORKS if class_of(name).deepest is not None], ids=lambda name: name
)
def test_metakd_distils_between_the_sequences_of_another_network(method, cohort, tmp_path):
    prepare(f"{method}+with_metakd", cohort, tmp_path, batch_size=2, max_iterations=3, meta_interval=1).run()
    training, meta = rows(tmp_path / "training.csv"), rows(tmp_path / "meta.csv")
    assert any(float(row["distillation_loss"]) > 0 for row in training)
    learned = [[float(row[f"importance_{name}"]) for name in MODALITY_NAMES] for row in meta]
    assert len(learned) == 3
    assert learned[0] != learned[-1]
    assert all(float(row["fill_l2_t1"]) > 0 for row in meta)


def test_metakd_needs_features_of_single_sequences(cohort, tmp_path):
    training = prepare("dynunet+with_metakd", cohort, tmp_path, max_iterations=2)
    with pytest.raises(UserError, match="ZeroFilledDynUNet: no features of single modalities"):
        training.parser.get_parsed_content("train#trainer").run()


def test_a_run_goes_on_to_the_last_bit(cohort, tmp_path):
    torch.set_num_threads(1)
    options = {"max_iterations": 4}
    prepare("dynunet", cohort, tmp_path / "whole", **options).run()
    stopped = prepare("dynunet", cohort, tmp_path / "parts", **options)
    trainer = stopped.parser.get_parsed_content("train#trainer")
    trainer.max_iterations = 2
    trainer.run()
    prepare("dynunet", cohort, tmp_path / "parts", **options).run()
    whole, parts = (torch.load(tmp_path / part / "model.pt", weights_only=True) for part in ("whole", "parts"))
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_the_command_trains_another_network_on_real_cases(cohort, tmp_path):
    names = ("experimental.json", "train_real.json", "methods/u_hemis.json")
    overlays = [word for name in names for word in ("--overlay", name)]
    small = {**SMALL, "max_iterations": 2}
    options = [str(word) for key, value in small.items() if key != "roi_size" for word in (f"--{key}", value)]
    train(*overlays, "--dataset_dir", cohort, "--output_dir", tmp_path, *options)
    assert type(load_network(tmp_path / "model.pt")) is class_of("u_hemis")


def test_the_router_is_computed_in_fp32():
    network = make("sim_mlm")
    seen = []
    network.router[0].register_forward_hook(lambda _, given, found: seen.extend([given[0].dtype, found.dtype]))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(1, 4, 16, 16, 16))
    assert seen == [torch.float32] * 2


# Documentation


@EACH
def test_the_table_says_how_many_parameters_each_has(name):
    with torch.device("meta"):
        given = {key: value for key, value in DEFINITIONS[name].items() if key != "_target_"}
        number = sum(parameter.numel() for parameter in class_of(name)(**given).parameters()) / 1e6
    lines = (REPOSITORY / "docs" / "explanation" / "methods.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith(f"| `{name}` |")]
    assert f"| {number:.2f} |" in row


def test_every_overlay_is_in_the_tables():
    text = (REPOSITORY / "docs" / "explanation" / "methods.md").read_text()
    assert all(f"`{method}`" in text for method in OTHER_NETWORKS)


def test_the_mean_of_the_present_images_stands_in_for_absent_ones():
    network, image = make("mean_image"), torch.randn(1, 4, 16, 16, 16)
    two = torch.tensor([[True, False, True, False]])
    filled = image.clone()
    filled[:, [1, 3]] = image[:, [0, 2]].mean(dim=1, keepdim=True)
    with torch.no_grad():
        found = network(image, two)
        torch.testing.assert_close(found, network(filled, torch.ones(1, 4, dtype=torch.bool)))
        assert not torch.allclose(found, make("dynunet")(image, two))
