"""The weights that the bundle ships."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import CHANNELS, REPOSITORY

from metakd_monai.apps.predict.expectations import read_expectations
from metakd_monai.apps.predict.expectations_file import publish_expectations
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum
from metakd_monai.errors import UserError
from metakd_monai.networks import MetaKDUNet
from metakd_monai.weights.load import load_network
from metakd_monai.weights.publish import publish


def test_a_trained_network_becomes_small_weights_with_a_stride(network, weights, tmp_path):
    torch.save({"network": network.state_dict(), "iteration": 3}, tmp_path / "checkpoint.pt")
    said = publish(tmp_path / "checkpoint.pt", tmp_path / "out" / "model.pt", stride=2)
    published = load_network(tmp_path / "out" / "model.pt", optimize="none")
    assert (published.channels, published.pooling) == (CHANNELS, 2)
    assert said.splitlines()[-1] == f"SHA-256 {checksum(tmp_path / 'out' / 'model.pt')}"
    for name, value in network.state_dict().items():
        assert torch.equal(published.state_dict()[name], value.half().float()), name
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    assert {value.dtype for name, value in state.items() if name != "input_stride"} == {torch.float16}
    assert (tmp_path / "out" / "model.pt").stat().st_size < 0.7 * weights.stat().st_size
    publish(tmp_path / "checkpoint.pt", tmp_path / "again.pt", stride=2)
    assert checksum(tmp_path / "again.pt") == checksum(tmp_path / "out" / "model.pt")
    publish(tmp_path / "again.pt", tmp_path / "kept.pt")
    assert checksum(tmp_path / "kept.pt") == checksum(tmp_path / "again.pt")


def test_of_several_trainings_the_mean_is_published(network, tmp_path):
    state = network.state_dict()
    for number, factor in enumerate((0.5, 1.5, 4.0)):
        torch.save({name: value * factor for name, value in state.items()}, tmp_path / f"{number}.pt")
    publish([tmp_path / f"{number}.pt" for number in range(3)], tmp_path / "mean.pt")
    mean = load_network(tmp_path / "mean.pt", optimize="none").state_dict()
    for name, value in state.items():
        torch.testing.assert_close(mean[name], value * 2, rtol=2e-3, atol=1e-4)
    torch.save({**state, "input_stride": torch.tensor(2)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt: weights differ in network from"):
        publish([tmp_path / "0.pt", tmp_path / "other.pt"], tmp_path / "no.pt")
    assert not (tmp_path / "no.pt").exists()


def test_shared_scales_become_copies_for_each_modality(weights, tmp_path):
    image, there = torch.randn(1, 4, 8, 8, 8), torch.tensor([[True, False, True, True]])
    expected, previous = None, weights
    for modality_specific_scales in (0, 1, 2):
        output = tmp_path / f"{modality_specific_scales}.pt"
        said = publish(previous, output, modality_specific_scales=modality_specific_scales)
        assert said.splitlines()[0].endswith(f"modality_specific_scales {modality_specific_scales}, window whole")
        previous = output
        network = load_network(previous, optimize="none")
        assert (network.modality_specific_scales, network.channels) == (modality_specific_scales, CHANNELS)
        found = network(image, there)
        expected = found if expected is None else expected
        assert torch.equal(found, expected)
    with pytest.raises(UserError, match=r"2\.pt: modality_specific_scales 2 found; expected at most the 1 requested"):
        publish(previous, tmp_path / "fewer.pt", modality_specific_scales=1)
    with pytest.raises(ValueError, match="must be 0 or more, and less than 3 scales, got 3"):
        publish(weights, tmp_path / "all.pt", modality_specific_scales=3)


@pytest.mark.parametrize(
    ("options", "window"),
    [
        ({}, (16, 24, 32)),
        ({"stride": 2}, (32, 48, 64)),
        ({"window": "whole"}, None),
        ({"stride": 2, "window": "40,40,48"}, (40, 40, 48)),
    ],
)
def test_the_window_goes_with_the_weights_in_their_new_voxels(weights, tmp_path, options, window):
    torch.save(MetaKDUNet(channels=CHANNELS, window=(16, 24, 32)).state_dict(), weights)
    said = publish(weights, tmp_path / "out.pt", **options)
    assert load_network(tmp_path / "out.pt").window == window
    assert said.splitlines()[0].endswith(f"window {window or 'whole'}")


def test_thresholds_move_the_logits(weights, tmp_path):
    image, there = torch.randn(1, 4, 8, 8, 8), torch.tensor([[True, False, True, True]])
    publish(weights, tmp_path / "as_is.pt")
    publish(weights, tmp_path / "moved.pt", thresholds=(0.2, 0.5, 0.9))
    before, after = (load_network(tmp_path / f"{name}.pt", "cpu", "none")(image, there) for name in ("as_is", "moved"))
    for region, threshold in enumerate((0.2, 0.5, 0.9)):
        chance = before[:, region].sigmoid()
        clear = (chance - threshold).abs() > 1e-3  # biases are stored with 16 bits
        assert torch.equal((after[:, region] > 0)[clear], (chance > threshold)[clear])
    with pytest.raises(UserError, match=r"^thresholds: 1\.5 found; expected numbers between 0 and 1$"):
        publish(weights, tmp_path / "x.pt", thresholds=(0.2, 1.5, 0.9))


def test_what_cannot_be_published(network, weights, tmp_path):
    output = tmp_path / "published.pt"
    with pytest.raises(UserError, match=r"^nothing\.pt: no such file"):
        publish(Path("nothing.pt"), output)
    with torch.no_grad():
        network.heads[0].conv.bias[0] = 1e6
    torch.save(network.state_dict(), tmp_path / "huge.pt")
    with pytest.raises(UserError, match=r"heads\.0\.conv\.bias is not finite in fp16"):
        publish(tmp_path / "huge.pt", output)
    torch.save(MetaKDUNet(channels=(8, 32, 64, 128, 512)).state_dict(), tmp_path / "large.pt")
    with pytest.raises(UserError, match="MB found; expected at most 25 MB"):
        publish(tmp_path / "large.pt", output)
    assert not output.exists()
    assert "512)" in publish(tmp_path / "large.pt", output, largest=math.inf)


@pytest.mark.parametrize(
    ("name", "ignored"), [("model.pt", False), ("expected.json", False), ("model.ts", True), ("checkpoint.pt", True)]
)
def test_git_takes_the_shipped_files_only(name, ignored):
    path = f"bundles/brats_mri_metakd_segmentation/models/{name}"
    done = subprocess.run(["git", "check-ignore", "--no-index", "-q", path], cwd=REPOSITORY, check=False)
    assert (done.returncode == 0) == ignored


def test_expectations_are_put_together(cohort, weights, tmp_path):
    output = tmp_path / "models" / "model.pt"
    publish(weights, output)
    dice = {"flair": {"WT": {"median": 0.8, "low": 0.7, "high": 0.9, "cases": 9}}}
    measured = {
        "subsets": dice,
        "cases": ["a", "b"],
        "weights_sha256": checksum(output),
        "measured": "9 cases",
        "surplus": 1,
    }
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    said = publish_expectations(output, None, [cohort])
    assert said.endswith("expected.json: Dice of 0 subsets on 0 cases, 0 models, 16 ranges")
    publish_expectations(output, tmp_path / "measured.json", [])
    found = json.loads((output.parent / "expected.json").read_text())
    assert {name: found[name] for name in ("subsets", "cases", "weights_sha256")} == {
        name: measured[name] for name in ("subsets", "cases", "weights_sha256")
    }
    assert found["training"]["cases"] == len(find_cases(cohort))
    assert found["training"]["ranges"]["longest_edge"] == [6, 6]
    assert read_expectations(output, checksum(output)).describe(["flair"]) == "expected Dice WT 0.70-0.90 (9 cases)"

    other = tmp_path / "other.pt"
    torch.save(MetaKDUNet(channels=CHANNELS).state_dict(), other)
    publish(other, output)
    about_others = f"measured.json: about the weights {measured['weights_sha256']}; expected {checksum(output)}"
    with pytest.raises(UserError, match=about_others):
        publish_expectations(output, tmp_path / "measured.json", [])
    publish_expectations(output, None, [cohort])  # Dice of the former weights does not stay
    assert set(json.loads((output.parent / "expected.json").read_text())) == {"weights_sha256", "training"}
    measured["folds"] = ["of a fold", "of another"]  # a cross-validation is about all weights of its recipe
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    publish_expectations(output, tmp_path / "measured.json", [])
    assert read_expectations(output, checksum(output)).measured_on == ["a", "b"]
    (tmp_path / "bad.json").write_text("[")
    with pytest.raises(UserError, match=r"bad\.json: unreadable"):
        publish_expectations(output, tmp_path / "bad.json", [])
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(UserError, match=r"bad\.json: list found; expected a JSON object"):
        publish_expectations(output, tmp_path / "bad.json", [])


def test_the_script_says_what_it_published_or_why_not(weights, cohort, tmp_path):
    def run(source):
        script = REPOSITORY / "scripts" / "weights" / "publish.py"
        command = [sys.executable, script, source, "--output", tmp_path / "model.pt", "--cases", cohort]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    done = run(weights)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3), done.stderr
    assert done.stdout.splitlines()[1] == f"SHA-256 {checksum(tmp_path / 'model.pt')}"
    done = run("nothing.pt")
    assert (done.returncode, done.stderr.splitlines()[-1][:34]) == (1, "publish: nothing.pt: no such file;")
