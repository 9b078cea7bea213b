"""Uncertainty maps: their definition against the subsets' own probabilities, and what the command writes."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from metakd_monai.apps.benchmark import SubsetPredictor
from metakd_monai.apps.predict.predictor import Compute, Predictor
from metakd_monai.apps.predict.uncertainty import describe_uncertainty, entropy
from metakd_monai.cli import main
from metakd_monai.data.cases import find_cases
from metakd_monai.errors import UserError
from metakd_monai.inferers.subset_decoding import MeanProbability, masks_of_subsets
from metakd_monai.vocabulary import Modality

TOLERANCE = 1 / 1024  # the map's steps


@pytest.fixture
def case(cohort):
    return find_cases(cohort / "Simulated_000")[0]


def predict(source, output, weights, *options):
    arguments = ["predict", str(source), "--output", str(output), "--weights", str(weights), "--no-preview"]
    return CliRunner().invoke(main, [*arguments, *map(str, options)])


def bits(probability):
    """Entropy in bits of ``(R, *S)``, mean over regions, straight from its definition."""
    p = np.clip(np.asarray(probability, dtype=np.float64), 1e-12, 1 - 1e-12)
    return (-p * np.log2(p) - (1 - p) * np.log2(1 - p)).mean(axis=0)


def test_entropy_by_hand():
    probability = torch.tensor([0.5, 0.0, 1.0]).reshape(1, 3, 1, 1, 1)
    assert entropy(probability).item() == pytest.approx(1 / 3, abs=TOLERANCE)
    assert entropy(torch.full((1, 3, 1, 1, 1), 0.5)).item() == 1
    assert entropy(torch.full((1, 3, 1, 1, 1), 0.25)).item() == pytest.approx(0.8113, abs=TOLERANCE)


@pytest.mark.parametrize("compute", [Compute(), Compute(memory_limit=0.7)])
@pytest.mark.parametrize("modalities", [tuple(Modality), (Modality.FLAIR, Modality.T1CE)])
def test_it_is_the_entropy_of_the_mean_over_all_subsets(case, weights, modalities, compute, monkeypatch):
    monkeypatch.setattr("metakd_monai.inferers.memory.STEP", 4)
    monkeypatch.setattr("metakd_monai.inferers.memory.SMALLEST", 8)
    predictor = Predictor(weights, modalities=modalities, compute=compute)
    if compute.memory_limit < 1:
        monkeypatch.setattr(predictor.network, "bytes_per_voxel", lambda: 2e4)
    item = predictor.read(case)
    found = predictor.uncertainty(item, predictor.segment(item))
    opinions = [logits.sigmoid() for _, logits in SubsetPredictor(predictor).logits(item)]
    assert len(opinions) == describe_uncertainty(item["available"].tolist())["opinions"]
    expected = bits(torch.stack(opinions).mean(dim=0))
    # Where windows overlap the benchmark blends logits, the map probabilities.
    assert np.abs(found[0].numpy() - expected).max() < (0.02 if compute != Compute() else TOLERANCE)
    assert found.shape == (1, *item["image"].shape[1:])


def test_mirrored_opinions_count_half_each(case, weights):
    modalities = [Modality.FLAIR, Modality.T1CE]
    mirrored, plain = (Predictor(weights, modalities=modalities, compute=Compute(mirror=m)) for m in ("lr", "none"))
    item = plain.read(case)
    logits = mirrored.segment(item)
    turned = {**item, "image": item["image"].flip(1)}
    views = [SubsetPredictor(plain).logits(item), SubsetPredictor(plain).logits(turned)]
    alone = [x.sigmoid() if n == 0 else x.sigmoid().flip(1) for n in (0, 1) for s, x in views[n] if len(s) == 1]
    expected = bits((torch.stack(alone).mean(dim=0) * 2 + logits.sigmoid()) / 3)
    assert np.abs(mirrored.uncertainty(item, logits)[0].numpy() - expected).max() < TOLERANCE


def test_of_one_sequence_it_is_that_of_the_mirror_image_too(case, weights):
    predictor = Predictor(weights, modalities=[Modality.T2])
    item = predictor.read(case)
    logits = predictor.segment(item)
    mirrored = predictor.segment({**item, "image": item["image"].flip(1)}).flip(1)
    expected = bits((logits.sigmoid() + mirrored.sigmoid()) / 2)
    assert np.abs(predictor.uncertainty(item, logits)[0].numpy() - expected).max() < TOLERANCE
    assert describe_uncertainty(item["available"].tolist())["method"] == "mirroring"


def test_what_is_absent_does_not_change_it(case, weights):
    predictor = Predictor(weights, modalities=[Modality.FLAIR, Modality.T2])
    item = predictor.read(case)
    logits = predictor.segment(item)
    spoilt = item["image"].clone()
    spoilt[1] = float("nan")
    first, second = (predictor.uncertainty({**item, "image": image}, logits) for image in (item["image"], spoilt))
    assert torch.equal(first, second)


def test_features_of_all_sequences_are_reckoned_with(network):
    everything = torch.ones(1, 4, dtype=torch.bool)
    together = MeanProbability(network, masks_of_subsets(everything))
    kept = 4 * (4 + 8 / 8 + 16 / 64)  # bytes of one sequence's features for each voxel, of widths 4, 8 and 16
    assert together.bytes_per_voxel() == pytest.approx(network.bytes_per_voxel() + 3 * kept)


def test_the_command_writes_it_on_the_input_s_grid_and_says_how(tmp_path, cohort, weights):
    plain, unsure = tmp_path / "plain", tmp_path / "unsure"
    assert predict(cohort / "Simulated_000", plain, weights).exit_code == 0
    result = predict(cohort / "Simulated_000", unsure, weights, "--save-uncertainty")
    assert result.exit_code == 0, result.output
    name = "Simulated_000.nii.gz"
    assert np.array_equal(nib.load(plain / name).dataobj, nib.load(unsure / name).dataobj)
    written = nib.load(unsure / "Simulated_000_uncertainty.nii.gz")
    source = nib.load(cohort / "Simulated_000" / "Simulated_000_flair.nii.gz")
    assert written.shape == source.shape
    assert np.array_equal(written.affine, source.affine)
    values = written.get_fdata()
    assert values.min() >= 0
    assert 0.1 < values.max() <= 1
    assert json.loads((unsure / "Simulated_000.json").read_text())["uncertainty"] == {
        "method": "subsets",
        "opinions": 15,
        "measure": "entropy of the mean probability, mean of ET, TC and WT",
        "unit": "bit",
    }
    assert json.loads((plain / "Simulated_000.json").read_text())["uncertainty"] is None


def test_it_can_be_asked_for_later_and_does_not_outlive_its_mask(tmp_path, cohort, weights):
    source, path = cohort / "Simulated_000", tmp_path / "Simulated_000_uncertainty.nii.gz"
    assert predict(source, tmp_path, weights, "--save-probabilities").exit_code == 0
    assert not path.exists()
    assert predict(source, tmp_path, weights, "--save-uncertainty").exit_code == 0
    written = path.stat().st_mtime_ns
    assert (tmp_path / "Simulated_000_probabilities.nii.gz").exists()  # of the same settings: true still
    assert predict(source, tmp_path, weights, "--save-uncertainty").exit_code == 0
    assert path.stat().st_mtime_ns == written
    assert predict(source, tmp_path, weights, "--modalities", "t1", "--overwrite").exit_code == 0
    assert not path.exists()


@pytest.mark.slow
def test_cases_in_processes_have_the_same_maps(tmp_path, cohort, weights):
    for name in ("Simulated_000", "Simulated_001"):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / name).symlink_to(cohort / name)
    for jobs in (1, 2):
        options = ("--save-uncertainty", "--jobs", jobs)
        assert predict(tmp_path / "two", tmp_path / f"jobs{jobs}", weights, *options).exit_code == 0
    maps = [sorted((tmp_path / f"jobs{jobs}").glob("*_uncertainty.nii.gz")) for jobs in (1, 2)]
    assert len(maps[0]) == 2
    for one, other in zip(*maps, strict=True):
        difference = nib.load(one).get_fdata() - nib.load(other).get_fdata()
        assert np.abs(difference).max() <= TOLERANCE


def test_exported_networks_are_refused_in_one_line(tmp_path, cohort):
    path = tmp_path / "model.onnx"
    path.touch()
    result = CliRunner().invoke(
        main, ["predict", str(cohort), "--output", str(tmp_path / "out"), "--weights", str(path), "--save-uncertainty"]
    )
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "exported network found; expected weights such as model.pt" in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_other_networks_are_refused(case, weights):
    predictor = Predictor(weights)
    item = predictor.read(case)
    logits = predictor.segment(item)
    predictor.network = lambda x, available: logits[None]
    with pytest.raises(UserError, match=r"expected weights such as model\.pt"):
        predictor.uncertainty(item, logits)
