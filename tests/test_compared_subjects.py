"""The methods that Table 2 compares with: two steps of each, absence, routing and retrieval by hand, the table."""

import pytest
import torch
from torch import nn

from metakd_monai.apps.adni import CLASSES, MODALITIES, prepare_adni, simulate_adni
from metakd_monai.apps.adni.expert_classifiers import FlexMoEClassifier, LiMoEClassifier
from metakd_monai.apps.adni.experts import SparseExperts, balance
from metakd_monai.apps.adni.retriever import OWN, SHARED, RetrieverClassifier, candidates
from metakd_monai.apps.adni.variants import METHODS, VARIANTS, train_variant
from metakd_monai.apps.classification import SCORES, predict
from metakd_monai.apps.paper.table2 import importance_report, table2_report

WIDTH = 8


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adni")
    simulate_adni(folder / "raw", subjects=150, seed=1)
    prepare_adni(folder / "raw", folder / "cohort")
    return folder / "cohort"


def two_steps(cohort, method):
    return train_variant(cohort, 0, method, {"train#trainer#max_iterations": 2})


def network_of(target, **arguments):
    torch.manual_seed(0)
    encoders = {name: nn.Identity() for name in MODALITIES}
    return target(encoders, features=WIDTH, out_channels=3, hidden=4, **arguments).eval()


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_and_never_reads_what_is_absent(cohort, method):
    parser = two_steps(cohort, method)
    network, test = parser.get_parsed_content("network"), parser.get_parsed_content("split")["test"]
    assert not torch.stack([item["available"] for item in test]).all()
    logits = predict(network, test, MODALITIES)
    assert logits.shape == (len(test), len(CLASSES))
    assert logits.isfinite().all()
    other = [{**item, **{name: item[name].nan_to_num(9.0) for name in MODALITIES}} for item in test]
    torch.testing.assert_close(predict(network, other, MODALITIES), logits)
    some = [item for item in test if item["available"][1]]
    spoilt = [{**item, "imaging": torch.full_like(item["imaging"], torch.nan)} for item in some]
    alone = predict(network, spoilt, MODALITIES, present=["genomic"])
    torch.testing.assert_close(predict(network, some, MODALITIES, present=["genomic"]), alone)
    again = two_steps(cohort, method).get_parsed_content("network")
    assert all(value.equal(again.state_dict()[name]) for name, value in network.state_dict().items())
    assert predict(again, test, MODALITIES).equal(logits)


def test_a_token_gets_as_many_experts_as_it_may():
    torch.manual_seed(0)
    experts = SparseExperts(WIDTH, 4, experts=6, chosen=2)
    tokens = torch.randn(5, WIDTH)
    made, routing = experts(tokens)
    assert (routing.gates > 0).sum(1).tolist() == [2] * 5
    torch.testing.assert_close(routing.gates.sum(1), torch.ones(5))
    assert ((routing.load > 0) & (routing.load < 1)).any()
    allowed = torch.tensor([True, False, True, True, False, False])
    _, routing = experts.eval()(tokens, allowed)
    assert not routing.gates[:, ~allowed].any()
    assert ((routing.load > 0.5) == (routing.gates > 0)).all()  # without noise the likelier ones are chosen
    place = routing.gates[0].nonzero().squeeze(1)
    by_hand = [routing.gates[0, e] * ((tokens[0] @ experts.first[e]).relu() @ experts.second[e]) for e in place]
    torch.testing.assert_close(experts(tokens, allowed)[0][0], sum(by_hand))
    assert made.shape == tokens.shape


def test_balance_by_hand():
    even, odd = torch.full((4, 2), 0.5), torch.tensor([[1.0, 0.0]] * 4)
    assert balance(even, even).item() == 0
    assert balance(odd, even).item() == pytest.approx(1)  # mean 2, deviation 2


def test_limoe_classifies_the_tokens_that_are_there():
    network, features = network_of(LiMoEClassifier), torch.randn(1, 4, WIDTH)
    parts = dict(network.head.named_children())
    alone = features[:, 2:3]
    token, _ = parts["layer"](alone, torch.tensor([[True]]))
    logits, extras = network.classify(features, torch.tensor([[False, False, True, False]]))
    torch.testing.assert_close(logits, parts["classify"](token[:, 0]))
    assert {extra.name for extra in extras} == {"balance", "local", "global"}


def test_flex_moe_takes_the_tokens_of_the_subset():
    network, features = network_of(FlexMoEClassifier), torch.randn(1, 4, WIDTH)
    available = torch.tensor([[True, False, True, True]])
    bank = dict(network.head.named_children())["bank"].weight.detach()
    filled = features.clone()
    filled[0, 1] = bank[2].view(4, WIDTH)[1]  # the second modality is absent: bit 1
    before, extras = network.classify(features, available)
    torch.testing.assert_close(before, network.classify(filled, torch.ones_like(available))[0])
    assert [extra.name for extra in extras] == ["balance", "subset"]
    assert [extra.name for extra in network.classify(features, torch.ones_like(available))[1]] == ["balance"]
    bank[2] += 1
    assert not torch.equal(network.classify(features, available)[0], before)


def supported(*rows):
    support = [
        {**{name: torch.full((WIDTH,), float(n)) for name in MODALITIES}, "available": torch.tensor(row)}
        for n, row in enumerate(rows)
    ]
    return network_of(RetrieverClassifier, support=support)


def test_retrieved_samples_have_what_is_missing_and_what_is_there():
    network = supported([True, True, False, True], [True, False, True, True], [False, True, False, False])
    available = torch.tensor([[True, False, True, False], [False, False, True, True], [True, False, False, False]])
    places, found = network.draw(1, available)
    assert found.sum(1).tolist() == [2, 2, 1]  # as many as there are modalities
    assert set(places[:2].flatten().tolist()) <= {0, 2}  # nobody has them all and the second, so who has the second
    assert set(places[2].tolist()) == {0}
    again, _ = network.draw(1, available)
    assert again.equal(places)
    network.train()
    drawn = torch.stack([network.draw(1, available)[0][0] for _ in range(20)])
    assert set(drawn.flatten().tolist()) == {0, 2}


def test_what_nobody_has_is_made_of_the_sample_alone():
    network, features = supported([True, False, True, True]), torch.randn(1, 4, WIDTH)
    available = torch.tensor([[True, False, True, False]])
    assert not network.draw(1, available)[1].any()
    made, _ = network.retrieve(1, features, available)
    tokens, _ = network.head["retrieve"](features, available, candidates(1, 4))
    torch.testing.assert_close(made, tokens[:, [0, 2]].mean(1))
    assert network.classify(features, available)[0].isfinite().all()


def test_a_modality_has_experts_of_its_own():
    owners = torch.stack([candidates(n, 4) for n in range(4)])
    assert owners.sum(1).tolist() == [OWN + SHARED] * 4
    assert owners.sum(0).tolist() == [1] * 4 * OWN + [4] * SHARED


def test_table2_lists_the_methods_and_tests_the_gaps():
    names = list(VARIANTS)

    def rows(start):
        return [{"samples": 9, **dict.fromkeys(SCORES, start + 0.1 * n)} for n in range(16)]

    results = [
        {name: rows(60 - 2 * n + seed * (n + 1)) for n, name in enumerate(names)} | {"importance": [0.1, 0.5, 0.1, 0.3]}
        for seed in range(3)
    ]
    text = table2_report(results, names, "Made up")
    assert f"| modalities | samples | score | {' | '.join(names)} |" in text
    assert set(METHODS) < set(names)
    assert "| C+G | 9 | accuracy | 61.40 ± 1.00 |" in text
    assert "| alpha 0 | accuracy | +1.00 ± 0.58 | 0.113 |  |" in text  # gaps 2, 1, 0; all subsets differ alike
    assert text.count("\n| LiMoE | ") == 3
    assert "| genomic | 2.0 | 0.500 ± 0.000 |" in importance_report(results)
