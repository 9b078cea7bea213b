"""The two classification bundles: their JSON agrees with itself, and runs as a user runs it."""

import csv
import json
import re
import shutil
import sys

import pytest
import torch
from conftest import REPOSITORY, shared
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata
from test_bundle_configs import has
from test_bundle_run import bundle

from metakd_monai import __version__
from metakd_monai.apps.adni import CLASSES, MODALITIES, prepare_adni, simulate_adni
from metakd_monai.apps.avmnist import MODALITIES as PAIR
from metakd_monai.apps.avmnist.ways import RECIPES
from metakd_monai.errors import find_user_error

AVMNIST, ADNI = "avmnist_metakd_classification", "adni_metakd_classification"
BOTH = pytest.mark.parametrize("name", [AVMNIST, ADNI])
ADDITIONS = {"weights", "classes", "subsets", "evaluating", "part"}


def configs(name):
    return REPOSITORY / "bundles" / name / "configs"


def load(name, file):
    return json.loads((configs(name) / file).read_text())


@BOTH
def test_overlay_trunks_and_references(name):
    train, evaluation, inference = (load(name, file) for file in ("train.json", "evaluate.json", "inference.json"))
    assert {key for key in evaluation if not has(train, key)} <= ADDITIONS
    for key in ("network_def", "network", "bundle_root"):
        assert train[key] == inference[key]
    assert train["run"] == train["training"]
    for config in ({**train, **evaluation}, inference):
        text = json.dumps(config)
        assert "lambda" not in text
        assert ".json::" not in text
        assert [key for key in re.findall(r"@([A-Za-z_][\w#]*)", text) if not has(config, key)] == []


def test_tuned_overlay_is_what_the_study_calls_so():
    tuned = load(AVMNIST, "tuned.json")
    assert tuned == RECIPES["tuned"]
    assert [key for key in tuned if not has(load(AVMNIST, "train.json"), key)] == []


@BOTH
def test_the_core_is_the_segmentation_bundle_s(name):
    ours, theirs = load(name, "train.json"), load("brats_mri_metakd_segmentation", "train.json")
    for path in ("iwv_def", "distillation", "iwv_optimizer"):
        assert ours[path]["_target_"] == theirs[path]["_target_"]
    assert ours["train"]["trainer"]["_target_"] == theirs["train"]["trainer"]["_target_"]
    named = [theirs["train"][handler] for handler in ("meta_update", "dropping")]
    targets = {handler["_target_"] for handler in [*theirs["train"]["handlers"], *named]}
    assert {handler["_target_"] for handler in ours["train"]["handlers"]} <= targets
    assert ours["train"]["handlers"][0]["_target_"].endswith("MetaUpdateHandler")  # what references point to
    assert ours["meta"]["dataloader"]["data"] == ("$@split['meta']" if name == AVMNIST else "$@split['validation']")
    assert (ours["alpha"], ours["p_norm"], ours["normalization"]) == (0.1, 1, "softmax")


def test_avmnist_s_recipe_is_the_paper_s():
    wanted = {"max_epochs": 60, "learning_rate": 1e-3, "weight_decay": 1e-2, "lr_step_epochs": 20, "lr_factor": 0.9}
    wanted |= {"iwv_lr": 1e-2, "iwv_weight_decay": 1e-2, "donors": False, "augment": False, "dropping_prob": 0.0}
    train = load(AVMNIST, "train.json")
    assert {key: train[key] for key in wanted} == wanted


@BOTH
def test_metadata(name, tmp_path):
    metadata = load(name, "metadata.json")
    formats = metadata["network_data_format"]
    assert tuple(formats["inputs"]) == (PAIR if name == AVMNIST else MODALITIES)
    if name == ADNI:
        assert tuple(formats["outputs"]["pred"]["channel_def"].values()) == CLASSES
    assert metadata["version"] == __version__
    assert (configs(name).parent / "LICENSE").is_file()
    schema = shutil.copy(shared("facts", "meta_schema_20240725.json"), tmp_path / "schema.json")
    verify_metadata(meta_file=str(configs(name) / "metadata.json"), filepath=str(schema))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adni")
    simulate_adni(folder / "raw", subjects=400, seed=2)
    prepare_adni(folder / "raw", folder / "cohort")
    return folder / "cohort"


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def work(name, files, run_id="run", **options):
    """Run a bundle's configuration in this process."""
    workflow = ConfigWorkflow([str(configs(name) / file) for file in files], run_id=run_id, device="cpu", **options)
    workflow.initialize()
    workflow.run()
    return workflow.parser


def test_avmnist_from_the_repository_s_root_without_any_data(tmp_path):
    config = f"bundles/{AVMNIST}/configs/train.json"
    bundle(config, "--output_dir", tmp_path, "--max_epochs", "2", "--device", "cpu", run_id="training")
    names = {path.name for path in tmp_path.iterdir()}
    assert {"model.pt", "checkpoint.pt", "settings.json", "training.csv", "meta.csv", "validation.csv"} < names
    meta = rows(tmp_path / "meta.csv")
    assert float(meta[0]["importance_image"]) + float(meta[0]["importance_sound"]) == pytest.approx(1)
    assert {"fill_cosine_image", "fill_l2_sound"} < set(meta[0])
    assert float(rows(tmp_path / "validation.csv")[-1]["val_accuracy"]) > 0.5  # of ten digits
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert (settings["rate"], settings["seed"], settings["version"]) == (0.2, 0, __version__)


def test_adni_trains_evaluates_and_infers(cohort, tmp_path, monkeypatch):
    options = {"dataset_dir": str(cohort), "output_dir": str(tmp_path)}
    work(ADNI, ["train.json"], "training", max_epochs=40, **options)
    last = rows(tmp_path / "meta.csv")[-1]
    assert sum(float(last[f"importance_{name}"]) for name in MODALITIES) == pytest.approx(1)
    work(ADNI, ["train.json", "evaluate.json"], "evaluating", **options)
    table = rows(tmp_path / "subsets.csv")
    assert len(table) == 16
    assert [row["modalities"] for row in table[:5]] == [*MODALITIES, "clinical+genomic"]
    assert all(row["accuracy"] == row["micro_f1"] for row in table)
    assert float(table[1]["balanced_accuracy"]) > 45  # genomic, classes two deviations apart; chance is 33
    work(ADNI, ["inference.json"], **options, weights=str(tmp_path / "model.pt"), present=["genomic", "imaging"])
    predictions = rows(tmp_path / "predictions.csv")
    assert {row["modalities"] for row in predictions} <= {"genomic", "imaging", "genomic+imaging"}
    assert all(sum(float(row[name]) for name in CLASSES) == pytest.approx(1, abs=1e-3) for row in predictions)
    with pytest.raises(RuntimeError) as error:
        work(ADNI, ["inference.json"], **options, weights=str(tmp_path / "other.pt"))
    assert "no such file; expected weights" in str(find_user_error(error.value))


@pytest.mark.slow
def test_the_tuned_overlay_trains_and_its_weights_infer(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    options = {"output_dir": str(tmp_path)}
    parser = work(AVMNIST, ["train.json", "tuned.json"], "training", max_epochs=1, **options)
    assert parser.get_parsed_content("optimizer").param_groups[0]["lr"] == pytest.approx(0, abs=1e-5)  # after 1 epoch
    weights = {"weights": str(tmp_path / "model.pt"), "present": ["sound"]}
    work(AVMNIST, ["inference.json"], **options, **weights, normalize_rows=True)
    assert len(rows(tmp_path / "predictions.csv")) == 450
    with pytest.raises(RuntimeError) as error:
        work(AVMNIST, ["inference.json"], **options, **weights)
    assert "weights of another network found" in str(find_user_error(error.value))


def test_a_stopped_run_goes_on_exactly(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    common = {"dataset_dir": str(cohort), "max_epochs": 4, "val_interval": 1000}
    work(ADNI, ["train.json"], "training", output_dir=str(tmp_path / "whole"), **common)
    parser = ConfigParser(load(ADNI, "train.json"))
    parser.update({**common, "output_dir": str(tmp_path / "halves"), "device": "cpu", "checkpoint_interval": 3})
    parser.get_parsed_content("initialize")
    trainer = parser.get_parsed_content("train#trainer")
    trainer.max_iterations = 5
    trainer.run()
    work(ADNI, ["train.json"], "training", output_dir=str(tmp_path / "halves"), **common)
    first, second = (torch.load(tmp_path / part / "model.pt", weights_only=True) for part in ("whole", "halves"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": ["image", "smell"]}, "'smell' found; expected some of image, sound"),
        ({"pairs": "no_such"}, "no_such/avmnist.npz: no such file"),
        ({"rate": 2}, "rate: 2 found; expected a share"),
        ({"donors": "maybe"}, "donors: 'maybe' found; expected true or false"),
    ],
)
def test_options_that_cannot_be(options, message, tmp_path):
    parser = ConfigParser(load(AVMNIST, "train.json"))
    parser.update({"output_dir": str(tmp_path), "device": "cpu", **options})
    with pytest.raises(RuntimeError) as error:
        parser.get_parsed_content("train#trainer")
    assert message in str(find_user_error(error.value))
