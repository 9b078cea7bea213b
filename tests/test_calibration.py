"""Expectations from a cross-validation: measured, fitted, written, published, and told by predict."""

import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from test_predict import predict

from metakd_monai.apps.calibration.calibration_curve import curve_points, draw_curves, expected_error
from metakd_monai.apps.calibration.cross_validated import measure_case, measure_parts
from metakd_monai.apps.calibration.input_trials import try_checks
from metakd_monai.apps.calibration.measured_expectations import expectations_of
from metakd_monai.apps.calibration.measurement_report import report_lines
from metakd_monai.apps.calibration.quality_fit import MaskRow, choose_threshold, fit_region
from metakd_monai.apps.calibration.rules_tried import TRIED, apply_rule
from metakd_monai.apps.calibration.voxelwise import Reliability, near_borders
from metakd_monai.apps.predict.expectations import read_expectations
from metakd_monai.apps.predict.expectations_file import publish_expectations
from metakd_monai.apps.predict.mask_quality import FEATURES
from metakd_monai.apps.predict.postprocessing import PostProcessing
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor
from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum
from metakd_monai.transforms import labels_to_regions

SUBSETS = ("flair", "t1ce", "flair+t1+t1ce+t2")


@pytest.mark.parametrize("rule", TRIED, ids=str)
def test_counts_tell_what_a_rule_does(rule):
    rng = np.random.default_rng(0)
    shape = (24, 24, 24)
    blobs = torch.nn.functional.avg_pool3d(torch.as_tensor(rng.normal(size=(1, 1, *shape))), 5, 1, 2)[0, 0].numpy()
    labels = np.where(blobs > 0.12, rng.choice([1, 2, 4], shape), 0).astype(np.uint8)
    truth = labels_to_regions(torch.as_tensor(rng.choice([0, 1, 2, 4], (1, *shape)).astype(np.uint8))) > 0
    has, right = apply_rule(rule, measure_parts(torch.as_tensor(labels)[None], truth))
    masks = labels_to_regions(torch.as_tensor(rule(labels, 4))[None]) > 0
    assert has.tolist() == masks.flatten(1).sum(dim=1).tolist()
    assert right.tolist() == (masks & truth).flatten(1).sum(dim=1).tolist()


def test_rules_that_counts_do_not_tell_of_are_refused():
    for rule in (PostProcessing("metakd"), PostProcessing("small_et", target=0)):
        with pytest.raises(ValueError, match="expected a rule that counts of voxels tell the outcome of"):
            apply_rule(rule, [])
    assert [count.tolist() for count in apply_rule(PostProcessing(), [])] == [[0, 0, 0], [0, 0, 0]]


def made_up(cases, noise=0.02, seed=0):
    """Masks whose Dice is half their agreement and .4 more with FLAIR."""
    rng = np.random.default_rng(seed)
    rows = []
    for case in range(cases):
        for subset in SUBSETS:
            features = {name: float(rng.uniform(0, 1)) for name in FEATURES}
            features |= {name: float(name in subset.split("+")) for name in ("flair", "t1", "t1ce", "t2")}
            dice = 0.5 * features["agreement"] + 0.4 * features["flair"] + rng.normal() * noise
            rows.append(MaskRow(str(case), subset, "WT", float(np.clip(dice, 0, 1)), features, 1.0))
    return rows


def test_a_fit_finds_what_dice_depends_on():
    found = fit_region(made_up(40))
    assert found["weights"]["agreement"] == pytest.approx(0.5, abs=0.05)
    assert found["weights"]["log10_ml"] == pytest.approx(0, abs=0.05)
    assert found["left_out"]["spearman"] > 0.9
    assert 0.8 <= found["left_out"]["covered"] <= 0.95
    assert found["left_out"]["failed_flagged"] > 0.9
    assert found["left_out"]["good_flagged"] < 0.05


def test_what_cannot_be_predicted_is_not():
    rng = np.random.default_rng(1)
    rows = [row._replace(dice=float(rng.uniform())) for row in made_up(40)]
    found = fit_region(rows)
    assert abs(found["left_out"]["spearman"]) < 0.3
    assert found["error"][1] - found["error"][0] > 1
    assert fit_region(made_up(9)) is None
    assert fit_region([row._replace(features={}) for row in rows]) is None  # empty masks alone


def test_a_threshold_flags_failed_masks_and_few_others():
    predicted = np.array([0.2, 0.3, 0.4, 0.55, 0.6, 0.9])
    failed = np.array([True, True, True, False, False, False])
    assert choose_threshold(predicted, failed) == pytest.approx(0.41)
    assert choose_threshold(predicted, ~failed) == 0  # a flag that is wrong more often than right is none


def test_a_calibration_curve_by_hand():
    chance = torch.tensor([0.025, 0.525, 0.525, 0.975])[:, None, None].expand(3, 4, 1, 1)
    truth = torch.tensor([True, True, False, True])[:, None, None].expand(3, 4, 1, 1)
    counts = Reliability()
    counts.add(chance, truth, complete=False)
    points = curve_points([{"reliability": counts.as_dict()}] * 2)
    wt = [(one.voxels, round(one.probability, 3), one.share) for one in points if one.region == "WT"]
    assert wt == [(4, 0.525, 0.5), (2, 0.975, 1.0)]  # the background's bin is left out
    assert expected_error(points, "every subset", "WT") == pytest.approx((4 * 0.025 + 2 * 0.025) / 6)
    assert math.isnan(expected_error(points, "all four", "WT"))


def test_near_borders_is_in_mm():
    mask = np.zeros((1, 40, 9, 9), bool)
    mask[0, :20] = True
    found = near_borders(mask, [1.0, 20.0, 20.0])
    line = np.flatnonzero(found[:, 4, 4])
    assert line.tolist() == list(range(14, 25))  # 5 mm to both sides of the last voxel inside
    assert not near_borders(np.zeros_like(mask), [1.0, 1.0, 1.0]).any()


def test_input_checks_are_tried_by_the_ranges_of_other_folds():
    looks = [{"brain_ml": 1300.0 + n, "brain_share": 0.5, "contrast": 1.0, "flair_skew": 0.1} for n in range(4)]
    looks = [{**look, "shortest_edge": 1.0, "longest_edge": 1.0} for look in looks]
    looks[3]["brain_ml"] = 600
    records = [
        {"fold": n % 2, "appearance": look, "exchanged": {"contrast": 1.0 if n == 0 else -1.0}}
        for n, look in enumerate(looks)
    ]
    assert try_checks(records) == {
        "false alarms, all four": (1, 4),
        "false alarms, every subset": (15, 60),
        "T1 and T1ce exchanged, found": (3, 4),
        "T1 and T1ce in order, said to be exchanged": (0, 4),
    }


def test_from_folds_to_what_predict_says(tmp_path, weights, caplog):
    folds = [tmp_path / "fold0", tmp_path / "fold1"]
    simulate_cohort(folds[0], cases=10, seed=5, shape=(20, 20, 20), spacing=6.0, progress=False)
    folds[1].mkdir()
    for case in find_cases(folds[0])[5:]:
        (folds[0] / case.case_id).rename(folds[1] / case.case_id)
    shutil.copy(weights, tmp_path / "other.pt")
    script = REPOSITORY / "scripts" / "weights" / "measure_expectations.py"
    command = [sys.executable, script, "--output", tmp_path / "out", "--fold", weights, folds[0]]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    def run(*more):
        return subprocess.run([*command, *more], capture_output=True, text=True, check=False, env=environment)

    done = run("--fold", tmp_path / "other.pt", folds[1])
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "expected.json").read_text())
    assert (found["measured"], len(found["cases"])) == ("cross-validation, 10 cases, 2 folds", 10)
    assert found["subsets"]["flair+t1"]["WT"]["cases"] == 10
    assert "| `none` |" in (tmp_path / "out" / "report.md").read_text()
    assert len((tmp_path / "out" / "masks.csv").read_text().splitlines()) == 1 + 10 * 15 * 3
    records = [
        {**json.loads((tmp_path / "out" / "cases" / f"{case.case_id}.json").read_text()), "fold": number}
        for number, folder in enumerate(folds)
        for case in find_cases(folder)
    ]
    assert json.dumps(expectations_of(records, found["folds"], "none")) == json.dumps(found)
    assert "\n".join(report_lines(records, found)) + "\n" == (tmp_path / "out" / "report.md").read_text()
    draw_curves(tmp_path / "curves.png", curve_points(records))
    assert (tmp_path / "curves.png").read_bytes() == (tmp_path / "out" / "calibration.png").read_bytes()
    first = find_cases(folds[0])[0]
    anew = measure_case(SubsetPredictor(Predictor(weights)), first)
    assert anew["masks"] == records[0]["masks"]
    assert anew["appearance"] == records[0]["appearance"]
    publish_expectations(weights, tmp_path / "out" / "expected.json", [])
    assert read_expectations(weights, checksum(weights)).models.keys() == found["masks"].keys()

    case = find_cases(folds[0])[0]
    source = folds[0] / case.case_id
    assert predict(source, tmp_path / "masks", weights, "--no-preview").exit_code == 0
    report = json.loads((tmp_path / "masks" / f"{case.case_id}.json").read_text())
    predicted = report["expected"]["predicted"]
    assert predicted.keys() == found["masks"].keys() != set()
    assert report["expected"]["measured"] == found["measured"]
    assert "; predicted Dice " in caplog.text
    flagged = [region for region, one in predicted.items() if one["flagged"]]
    assert [text.split()[1] for text in report["warnings"] if "probably failed" in text] == flagged

    again = run("--fold", tmp_path / "other.pt", folds[0])
    assert (again.returncode, "is in another fold too" in again.stderr) == (1, True)
