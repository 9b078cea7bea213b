"""scripts/reproduce/measure_spread.py: how far features tell sequences and cases apart."""

import sys

import pytest
import torch
from conftest import REPOSITORY

from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import Modality

sys.path.insert(0, str(REPOSITORY / "scripts"))
from measure_spread import main, spread, spreads

CHANNELS = (4, 8)


def test_spread_by_hand():
    assert spread(torch.tensor([[1.0, 3.0], [5.0, 5.0]]), 1) == pytest.approx(0.5**0.5)


def test_equal_sequences_have_no_spread_and_different_cases_have():
    case = torch.randn(2, 1, 8, 8, 8)
    found = spreads(MetaKDUNet(channels=CHANNELS).eval(), case.expand(-1, len(Modality), -1, -1, -1))
    assert len(found) == len(CHANNELS)
    for sequences, cases, space in found:
        assert sequences == pytest.approx(0, abs=1e-6)
        assert cases > 0.1
        assert space > 0.1


def test_of_a_file_of_weights(tmp_path, capsys):
    torch.save(MetaKDUNet(channels=CHANNELS).state_dict(), tmp_path / "model.pt")
    main([f"mine={tmp_path / 'model.pt'}", "--random", "--spacing", "6", "--cases", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [[f"| {n}", s] for n in ("mine", "random") for s in "12"]
