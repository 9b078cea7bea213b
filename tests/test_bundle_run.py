"""The real configurations, run as a user runs them, on a tiny cohort."""

import copy
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import BUNDLE, REPOSITORY
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out
from test_files import assert_same_grid_for_itk
from test_predict import predict

from metakd_monai.bundle.root import is_bundle
from metakd_monai.data.cases import find_cases
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import Modality
from metakd_monai.weights.publish import publish

CONFIGS = BUNDLE / "configs"
EXPERIMENTAL = [str(CONFIGS / name) for name in ("train.json", "experimental.json")]
NETWORK = ["--network_def#channels", "[4,8,16]", "--device", "cpu"]
SMALL = [*NETWORK, "--roi_size", "[16,16,16]", "--num_workers", "0"]
BRIEF = ["--max_iterations", "4", "--meta_interval", "2", "--val_interval", "2", "--checkpoint_interval", "2"]


def bundle(config, *arguments, run_id="run", cwd=REPOSITORY, launcher=("-m", "monai.bundle"), status=0):
    files = config if isinstance(config, str) else "[" + ",".join(f"'{name}'" for name in config) + "]"
    command = [sys.executable, "-W", "ignore", *launcher, "run", run_id, "--config_file", files]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def train(*arguments, status=0):
    command = [sys.executable, "-W", "ignore", "-m", "metakd_monai", "train", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory) -> Path:
    """The issue's own command from the repository's root, with knobs."""
    output = tmp_path_factory.mktemp("trained")
    config = "bundles/brats_mri_metakd_segmentation/configs/train.json"
    arguments = ["--dataset_dir", cohort, "--output_dir", output, *SMALL, *BRIEF]
    bundle(config, *arguments, run_id="training")
    return output


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_training_writes_state_dicts_and_logs(trained):
    assert {
        "model.pt",
        "checkpoint.pt",
        "settings.json",
        "training.csv",
        "meta.csv",
        "validation.csv",
        "timing.csv",
        "tensorboard",
    } == {path.name for path in trained.iterdir()}
    assert all(isinstance(v, torch.Tensor) for v in torch.load(trained / "model.pt", weights_only=True).values())
    assert [int(row["iteration"]) for row in rows(trained / "training.csv")] == [1, 2, 3, 4]
    assert [int(row["iteration"]) for row in rows(trained / "meta.csv")] == [1, 3]
    assert {"val_dice_ET", "val_dice_TC", "val_dice_WT", "val_mean_dice", "val_loss"} < set(
        rows(trained / "validation.csv")[0]
    )
    assert {"fill_l2_t1ce", "fill_l2_t1ce+t2", "fill_cosine_t1+t1ce+t2"} < set(rows(trained / "meta.csv")[0])
    assert {path.name for path in (trained / "tensorboard").iterdir()} == {"training", "meta", "validation", "timing"}


def test_training_is_the_same_from_another_directory_with_workers_and_augmentation_on_the_device(
    trained, cohort, tmp_path
):
    arguments = ["--dataset_dir", cohort, "--output_dir", tmp_path / "out", *SMALL, *BRIEF, "--num_workers", "1"]
    arguments += ["--augment_on_device", "true"]
    bundle(EXPERIMENTAL, *arguments, cwd=tmp_path)
    assert (tmp_path / "out" / "training.csv").read_text() == (trained / "training.csv").read_text()


def test_schedules_and_options_are_knobs(cohort, tmp_path):
    arguments = ["--dataset_dir", cohort, "--output_dir", tmp_path, *SMALL, "--max_iterations", "3"]
    options = {
        "lr_schedule": "polynomial",
        "dropping_law": "subset",
        "warm_up": 1,
        "ramp": 1,
        "alpha": 0.5,
        "p_norm": 2,
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    bundle(EXPERIMENTAL, *arguments, *flags, "--normalization", "sigmoid", run_id="training")
    rates = [float(row["lr"]) for row in rows(tmp_path / "training.csv")]
    assert rates == pytest.approx([0.01 * (1 - n / 3) ** 0.9 for n in range(3)])


def test_a_damaged_file_costs_one_line_and_is_skipped_when_asked(cohort, tmp_path):
    damaged = shutil.copytree(cohort, tmp_path / "cohort") / "Simulated_002" / "Simulated_002_t2.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:500])
    arguments = ["--dataset_dir", tmp_path / "cohort", "--output_dir", tmp_path / "out", *SMALL, *BRIEF]
    done = train(*arguments, status=1)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(f"metakd: {damaged}: unreadable or truncated")
    options = ["--split#skip_damaged", "True", "--train#dataset#cache_dir", tmp_path / "cache"]
    done = bundle(str(CONFIGS / "train.json"), *arguments, *options)
    assert "Simulated_002: left out" in done.stdout + done.stderr
    assert (tmp_path / "out" / "model.pt").exists()
    assert len(list((tmp_path / "cache").glob("*.pt"))) == 5  # of six cases, the damaged one is left out


def test_training_as_printed_in_the_paper_runs_and_goes_without_validation(cohort, tmp_path):
    train("--overlay", "paper.json", "--dataset_dir", cohort, "--output_dir", tmp_path, *SMALL, "--max_iterations", 2)
    assert len(rows(tmp_path / "training.csv")) == 2
    assert not (tmp_path / "validation.csv").exists()
    assert json.loads((tmp_path / "settings.json").read_text())["validation_fraction"] == 0


def test_a_loss_that_is_not_finite_ends_the_command_with_a_line(cohort, tmp_path):
    options = ["--learning_rate", "1e20", "--checkpoint_interval", "1"]
    done = train("--dataset_dir", cohort, "--output_dir", tmp_path, *SMALL, *options, status=1)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("metakd: training: loss is nan at iteration 2 (learning rate 1e+20)")
    assert f"{tmp_path / 'checkpoint.pt'} of iteration 1 is from before" in line
    assert not (tmp_path / "model.pt").exists()


def test_inference_writes_masks_equal_to_metakd_predict(trained, cohort, tmp_path):
    arguments = ["--dataset_dir", cohort, "--output_dir", tmp_path / "a", "--weights", trained / "model.pt", *NETWORK]
    bundle(str(CONFIGS / "inference.json"), *arguments, "--modalities", "flair,t1ce", cwd=tmp_path)
    options = ["--modalities", "flair,t1ce", "--et-label", "3", "--no-preview"]
    result = predict(cohort, tmp_path / "b", trained / "model.pt", *options)
    assert result.exit_code == 0, result.output
    cases = find_cases(cohort)
    assert len(list((tmp_path / "a").iterdir())) == len(cases)
    for case in cases:
        first, second = (tmp_path / name / f"{case.case_id}.nii.gz" for name in "ab")
        assert_same_grid_for_itk(case.files[Modality.FLAIR], first)
        assert nib.load(first).get_data_dtype() == np.uint8
        assert np.array_equal(nib.load(first).dataobj, nib.load(second).dataobj)


def test_evaluation_writes_a_table(trained, cohort, tmp_path):
    (tmp_path / "model.pt").write_bytes((trained / "model.pt").read_bytes())
    configs = [str(CONFIGS / "train.json"), str(CONFIGS / "evaluate.json")]
    arguments = ["--dataset_dir", cohort, "--output_dir", tmp_path, *SMALL, "--modalities", "flair"]
    bundle(configs, *arguments, run_id="evaluating", cwd=tmp_path)
    table = (tmp_path / "val_dice_raw.csv").read_text()
    assert all(case.case_id in table for case in find_cases(cohort))
    assert len((tmp_path / "benchmark" / "table.csv").read_text().splitlines()) == 1 + 2 * 16


def test_switches_take_effect_together(cohort, tmp_path):
    options = {"amp": "true", "accumulation_steps": 2, "channels_last": "True", "augment_on_device": True}
    parser = ConfigParser()
    parser.read_config(EXPERIMENTAL)
    parser.update(
        {
            **{"dataset_dir": str(cohort), "output_dir": str(tmp_path), "device": "cpu", "num_workers": 0},
            **{"roi_size": [16, 16, 16], "network_def#channels": [4, 8, 16], "max_iterations": 2, **options},
            **{"val_interval": 2, "deterministic": "true"},
        }
    )
    try:
        parser.get_parsed_content("initialize#0")
        assert torch.are_deterministic_algorithms_enabled()
        trainer = parser.get_parsed_content("train#trainer")
        network = parser.get_parsed_content("network")
        assert (trainer.mixed, trainer.amp_dtype, trainer.accumulation_steps) == (True, torch.bfloat16, 2)
        weight = network.encoder[1].conv1.conv.weight
        assert weight.is_contiguous(memory_format=torch.channels_last_3d)
        assert not weight.is_contiguous()
        trainer.run()
    finally:
        torch.use_deterministic_algorithms(False)
    settings = json.loads((tmp_path / "settings.json").read_text())
    expected = {"amp": True, "amp_dtype": "bf16", "accumulation_steps": 2, "channels_last": True, "compile": False}
    assert expected | {"deterministic": True, "augment_on_device": True} == {
        name: settings[name] for name in (*expected, "deterministic", "augment_on_device")
    }
    assert len(rows(tmp_path / "training.csv")) == 2


@pytest.mark.parametrize(("name", "kind"), [("train.json", "train"), ("inference.json", "infer")])
def test_workflows_have_all_properties(name, kind, cohort, tmp_path):
    overrides = {"dataset_dir": str(cohort), "output_dir": str(tmp_path), "device": "cpu", "num_workers": 0}
    workflow = ConfigWorkflow(
        str(CONFIGS / name), workflow_type=kind, meta_file=str(CONFIGS / "metadata.json"), **overrides
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_random_transforms_leave_the_cache_as_it_is(cohort, tmp_path):
    parser = ConfigParser(json.loads((CONFIGS / "train.json").read_text()))
    parser.update({"dataset_dir": str(cohort), "device": "cpu", "num_workers": 0, "roi_size": [24, 28, 24]})  # whole
    data = parser.get_parsed_content("train#seeded_dataset")
    before = copy.deepcopy(data.dataset._cache)
    for seed in range(60):
        data[seed % len(data), seed]
    for item, kept in zip(before, data.dataset._cache, strict=True):
        assert item.keys() == kept.keys()
        assert all(torch.equal(item[key], kept[key]) for key in ("image", "label", "available"))


def test_verify_net_in_out():
    common = {"config_file": str(CONFIGS / "inference.json"), "meta_file": str(CONFIGS / "metadata.json")}
    verify_net_in_out(net_id="network_def", device="cpu", any=20, **common)
    verify_net_in_out(net_id="network_def", device="cpu", **common)


def test_ckpt_export(trained, tmp_path):
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(trained / "model.pt"),
        meta_file=str(CONFIGS / "metadata.json"),
        config_file=str(CONFIGS / "inference.json"),
        **{"network_def#channels": [4, 8, 16]},
    )
    exported = torch.jit.load(str(tmp_path / "model.ts"))
    assert exported(torch.randn(1, 4, 10, 10, 10)).shape == (1, 3, 10, 10, 10)


@pytest.fixture
def shipped(tmp_path) -> Path:
    """A copy of the bundle with random weights of the kind that it ships: fp16, strided, own encoder blocks."""
    folder = shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("models"))
    network = MetaKDUNet(channels=(4, 8, 12), input_stride=2, modality_specific_scales=2)
    torch.save(network.state_dict(), tmp_path / "trained.pt")
    publish(tmp_path / "trained.pt", folder / "models" / "model.pt")
    return folder


def test_the_bundle_runs_with_the_weights_that_it_ships(shipped, cohort, tmp_path):
    """As given: no option names the network."""
    arguments = ["--dataset_dir", cohort, "--device", "cpu", "--modalities", "flair,t1ce"]
    bundle("configs/inference.json", *arguments, "--output_dir", tmp_path / "a", cwd=shipped)
    options = ["--modalities", "flair,t1ce", "--et-label", "3", "--no-preview"]
    result = predict(cohort, tmp_path / "b", shipped / "models" / "model.pt", *options)
    assert result.exit_code == 0, result.output
    masks = [sorted(folder.glob("*.nii.gz")) for folder in (tmp_path / "a", tmp_path / "b")]
    assert len(masks[0]) == len(masks[1]) == len(find_cases(cohort))
    for first, second in zip(*masks, strict=True):
        assert np.array_equal(nib.load(first).dataobj, nib.load(second).dataobj)
    assert np.asanyarray(nib.load(masks[0][0]).dataobj).any()


@pytest.mark.slow
def test_evaluation_takes_the_weights_that_the_bundle_ships(shipped, cohort, tmp_path):
    configs = ["configs/train.json", "configs/evaluate.json"]
    arguments = ["--dataset_dir", cohort, "--output_dir", tmp_path / "out", "--weights", "models/model.pt"]
    bundle(configs, *arguments, "--device", "cpu", "--num_workers", "0", run_id="evaluating", cwd=shipped)
    assert len((tmp_path / "out" / "benchmark" / "table.csv").read_text().splitlines()) == 1 + 2 * 16


def test_monai_checks_the_bundle_with_the_weights_that_it_ships(shipped, cohort):
    script = REPOSITORY / "scripts" / "deploy" / "verify_bundle.py"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, script, shipped, "--dataset-dir", cohort]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["bundle: all checks passed"], done.stderr


def test_monai_exports_the_weights_that_the_bundle_ships(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(shipped)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not is_bundle(Path(place))])  # of tests before
    files = {"ckpt_file": "models/model.pt", "meta_file": "configs/metadata.json"}
    files["config_file"] = "configs/inference.json"
    ckpt_export(net_id="network_def", filepath=str(tmp_path / "model.ts"), **files)
    assert torch.jit.load(str(tmp_path / "model.ts")).factor == 8
