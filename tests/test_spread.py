"""How far features tell sequences and cases apart."""

import pytest
import torch

from metakd_monai.apps.simulation.training.feature_spread import make_images, spread_over, spread_table, spreads
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import Modality

CHANNELS = (4, 8)


def test_spread_by_hand():
    assert spread_over(torch.tensor([[1.0, 3.0], [5.0, 5.0]]), 1) == pytest.approx(0.5**0.5)


def test_equal_sequences_have_no_spread_and_different_cases_have():
    case = torch.randn(2, 1, 8, 8, 8)
    found = spreads(MetaKDUNet(channels=CHANNELS).eval(), case.expand(-1, len(Modality), -1, -1, -1))
    assert len(found) == len(CHANNELS)
    for sequences, cases, space in found:
        assert sequences == pytest.approx(0, abs=1e-6)
        assert cases > 0.1
        assert space > 0.1


def test_a_table_of_networks_on_simulated_images():
    networks = {name: MetaKDUNet(channels=CHANNELS).eval() for name in ("mine", "random")}
    lines = spread_table(networks, make_images(cases=2, seed=0, spacing=6.0, atlas=None, real=None))
    assert [line.split(" | ")[:2] for line in lines[2:]] == [[f"| {n}", s] for n in ("mine", "random") for s in "12"]
