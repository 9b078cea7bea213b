"""The methods that Table 3 compares with: two steps of each, absence, and what each does by hand."""

import pytest
import torch
from torch import nn

from metakd_monai.apps.avmnist import MODALITIES, embedded_pairs
from metakd_monai.apps.avmnist.fusion_methods import Full2MissClassifier, ShaSpecClassifier
from metakd_monai.apps.avmnist.imputers import GANClassifier
from metakd_monai.apps.avmnist.smil import SMILClassifier
from metakd_monai.apps.avmnist.table3 import COMPARED, RATES, report, runs_of
from metakd_monai.apps.avmnist.trainings import Run, train
from metakd_monai.apps.avmnist.ways import METHODS
from metakd_monai.apps.classification import predict
from metakd_monai.errors import UserError, find_user_error

BOTH, FIRST, SECOND = (torch.tensor([row]) for row in ([True, True], [True, False], [False, True]))


def two_steps(method, **settings):
    if method == "SMIL":
        settings = {"train#trainer#warm_up": 1, **settings}
    settings = {**METHODS[method], "rate": 0.2, "train#trainer#max_iterations": 2, **settings}
    return train(Run("3a", method, 0, settings, meta=False), embedded_pairs())


def network_of(target, width=4):
    torch.manual_seed(0)
    encoders = {name: nn.Identity() for name in MODALITIES}
    return target(encoders, features=width, out_channels=3, hidden=5)


def extras_of(network, features, available=BOTH):
    _, _, _, extras = network.forward_features(dict(zip(MODALITIES, features.unbind(1), strict=True)), available)
    return {extra.name: extra for extra in extras}


def moved_by(network, loss):
    """Name the parts of a network that a loss gives a gradient to."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    slopes = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {name.split(".")[0] for name, slope in zip(names, slopes, strict=True) if slope is not None and slope.any()}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_and_never_reads_what_is_absent(method):
    parser = two_steps(method)
    network, test = parser.get_parsed_content("network"), parser.get_parsed_content("split")["test"][:8]
    assert all(item["sound"].isnan().all() for item in test)
    logits = predict(network, test, MODALITIES)
    assert logits.shape == (8, 10)
    assert logits.isfinite().all()
    torch.testing.assert_close(
        predict(network, [{**item, "sound": torch.full((1, 20, 20), 9.0)} for item in test], MODALITIES), logits
    )
    alone = {"image": torch.full((1, 28, 28), torch.nan), "available": SECOND[0]}
    heard = parser.get_parsed_content("split")["test_full"][:8]
    assert predict(network, [{**item, **alone} for item in heard], MODALITIES).isfinite().all()
    again = two_steps(method).get_parsed_content("network").state_dict()
    assert all(value.equal(again[name]) for name, value in network.state_dict().items())


def test_table_lists_the_methods():
    runs = {run.key: run for run in runs_of(0)}
    for table, methods in COMPARED.items():
        for method in methods:
            conditions = [(table, f"{method} {100 * rate:.0f}", "0") for rate in RATES]
            assert [runs[key].settings["rate"] for key in conditions] == list(RATES)
            assert not any(runs[key].meta for key in conditions)
    rows = [{"table": "3b", "condition": "SMIL 20", "seed": "0", "test": "90", "test_digits": ""}]
    assert "| 3b | SMIL 20 | 87.78 | 90.00 ± 0.00 |" in report(rows, {("3b", "SMIL 20"): "87.78"}, "made up")


def test_map_judge_and_classifier_learn_by_losses_of_their_own():
    network = network_of(GANClassifier)
    features = torch.rand(6, 2, 4)
    extras = extras_of(network, features, BOTH.expand(6, -1))
    moved = {name: moved_by(network, extra.value) for name, extra in extras.items()}
    assert moved == {"imputation": {"imputer"}, "judge": {"judge"}, "deception": {"imputer"}}
    assert extras_of(network, features, FIRST.expand(6, -1)) == {}
    filled = torch.stack([features[:, 0], network.imputer(features[:, 0])], dim=1)
    torch.testing.assert_close(network.eval().decode(features, FIRST.expand(6, -1)), network.head(filled))


def test_full2miss_adapts_what_lacks_the_scarce_modality():
    network = network_of(Full2MissClassifier).eval()
    features, available = torch.rand(3, 2, 4), torch.cat([BOTH, FIRST, BOTH])
    extras = extras_of(network, features, available)
    assert extras["missing"].rows.tolist() == [0, 2]
    alone = features[[0, 2]].clone()
    alone[:, 1] = 0
    torch.testing.assert_close(extras["missing"].value, network.head(alone))
    gap = network.head[:3](alone) - network.head[:3](features[[0, 2]])
    assert extras["adaptation"].value.item() == pytest.approx(gap.square().mean().item())
    assert extras["adaptation"].value > 0


def test_shaspec_gives_an_absent_modality_what_is_shared():
    network = network_of(ShaSpecClassifier).eval()
    features = torch.rand(1, 2, 4)
    shared = network.shared(features).relu()
    specific = network.specific[0](features[:, 0]).relu()
    composed = shared[:, 0] + network.compose(torch.cat([shared[:, 0], specific], dim=1))
    logits = network.head(torch.stack([composed, shared[:, 0]], dim=1))
    torch.testing.assert_close(network.decode(features, FIRST), logits)
    extras = extras_of(network, features)
    assert extras["alignment"].value.item() == pytest.approx((shared[0, 0] - shared[0, 1]).abs().mean().item())
    assert extras["modality"].value > 0


def test_smil_tells_features_from_centres():
    network = network_of(SMILClassifier).eval()
    network.centres.copy_(torch.rand(10, 4))
    features = torch.rand(2, 2, 4)
    for part in (network.disturb_joined, network.disturb_hidden):
        nn.init.constant_(part.bias, -100.0)  # no noise
        nn.init.zeros_(part.weight)
    weights = nn.functional.softplus(network.weigh(features[:, 0]))
    told = (weights[..., None] * network.centres).sum(1) / weights.sum(1, keepdim=True)
    wanted = network.head(torch.stack([features[:, 0], told], dim=1))
    torch.testing.assert_close(network.decode(features, FIRST.expand(2, -1)), wanted)
    torch.testing.assert_close(network.decode(features, BOTH.expand(2, -1)), network.head(features))


def test_smil_s_weights_learn_through_the_inner_step_alone():
    plain = two_steps("SMIL", **{"train#trainer#warm_up": 2}).get_parsed_content("network").state_dict()
    meta = two_steps("SMIL").get_parsed_content("network").state_dict()
    still = two_steps("SMIL", **{"train#trainer#inner_lr": 0.0, "weight_decay": 0.0}).get_parsed_content("network")
    start = two_steps("SMIL", **{"train#trainer#warm_up": 2, "weight_decay": 0.0}).get_parsed_content("network")
    assert not meta["weigh.weight"].equal(plain["weigh.weight"])
    assert still.weigh.weight.equal(start.weigh.weight)  # pairs have both, so nothing is told in the outer step
    assert not plain["centres"].any()
    assert meta["centres"].any()
    assert not still.encoders["sound"].training
    assert still.train().encoders["image"].training


def test_smil_refuses_fewer_pairs_than_centres():
    with pytest.raises(Exception, match="SMIL") as error:
        two_steps("SMIL", rate=0.005)
    assert "4 complete pairs found; expected at least 10" in str(find_user_error(error.value))
    assert isinstance(find_user_error(error.value), UserError)
