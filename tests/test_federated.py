"""Sites of MONAI's federated learning exchange the network and the importance together."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import CHANNELS, REPOSITORY

from metakd_monai.networks import ImportanceWeights, MetaKDUNet, WithImportance
from metakd_monai.weights.load import load_network


def test_network_and_importance_share_a_state_dict():
    network, importance = MetaKDUNet(channels=CHANNELS), ImportanceWeights()
    both = WithImportance(network, importance)
    assert set(both.state_dict()) == {"importance.weights", *(f"network.{name}" for name in network.state_dict())}
    image, available = torch.randn(1, 4, 8, 8, 8), torch.tensor([[True, False, True, False]])
    logits, features, mask = both.train()(image, available)
    assert (logits.shape, features.shape) == ((1, 3, 8, 8, 8), (1, 4, 16, 2, 2, 2))
    assert torch.equal(mask, available)
    with torch.no_grad():
        torch.testing.assert_close(both.eval()(image, available), network(image, available))


@pytest.mark.slow
def test_two_sites_of_monai_s_client_aggregate(tmp_path):
    script = REPOSITORY / "scripts" / "deploy" / "try_federated.py"
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path), "--rounds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rounds = json.loads((tmp_path / "federated.json").read_text())["rounds"]
    assert [found["iterations"] for found in rounds] == [[2, 2], [2, 2]]
    for found in rounds:
        first, second = found["importance_of_sites"]
        assert first != second  # each site has cases of its own
        for name, value in found["importance"].items():
            assert min(first[name], second[name]) - 1e-4 <= value <= max(first[name], second[name]) + 1e-4
    assert load_network(tmp_path / "model.pt").channels == CHANNELS
