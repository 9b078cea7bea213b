"""The Dice that a mask predicts for itself."""

import math

import pytest
import torch

from metakd_monai.apps.predict.mask_quality import (
    FEATURES,
    INTERCEPT,
    LEAST_ML,
    QualityModel,
    describe_predicted,
    features_of,
    predict_dice,
    report_predicted,
    sum_masks,
    warn_of,
)
from metakd_monai.transforms import regions_to_labels

EDGES = (10.0, 5.0, 2.0)  # mm: voxels of 0.1 mL
HIGHEST = 0.97  # Dice of the masks that were fitted
LOGIT_9 = math.log(9)  # a probability of .9


def block():
    """Logits of a block of 2 voxels that are ET at .9 (and TC, WT surely), in 4x4x4."""
    logits = torch.full((3, 4, 4, 4), -20.0)
    logits[0, 1, 1, 1:3] = LOGIT_9
    logits[0, 1, 2, 1:3] = -LOGIT_9  # .1: seen, and outside
    logits[1:, 1, 1, 1:3] = 20
    return logits, regions_to_labels(logits > 0, 4)


def models(**changes):
    weights = {INTERCEPT: 0.0, **dict.fromkeys(FEATURES, 0.0), "agreement": 1.0, **changes}
    return {region: QualityModel(weights, HIGHEST, (-0.5, 0.25), 0.6) for region in ("ET", "TC", "WT")}


def test_sums_by_hand():
    found = sum_masks(*block(), EDGES)["ET"]
    assert found["mask"] == pytest.approx(0.2)
    assert found["chance"] == pytest.approx(0.1 * (2 * 0.9 + 2 * 0.1))
    assert found["both"] == pytest.approx(0.1 * 2 * 0.9)
    bits = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    assert found["doubt"] == pytest.approx(0.1 * 4 * bits)
    assert found["surface"] == pytest.approx((4 * 10 + 4 * 20 + 2 * 50) / 100)  # faces across x, y and z in mm2


def test_features_by_hand():
    sums = {"mask": 2.0, "chance": 3.0, "both": 1.5, "core": 1.0, "doubt": 4.0, "surface": 20.0}
    found = features_of(sums, ["flair", "t2"])
    assert found.keys() == set(FEATURES)
    assert found["agreement"] == pytest.approx(2 * 1.5 / 5)
    assert found["fill"] == pytest.approx(math.log((3 + LEAST_ML) / (2 + LEAST_ML)))
    assert found["doubt"] == pytest.approx(math.log10((4 + LEAST_ML) / (2 + LEAST_ML)))
    assert (found["core"], found["flair"], found["t1"], found["t2"]) == (0.5, 1, 0, 1)


def test_a_sure_mask_has_a_high_dice_and_a_doubtful_one_is_flagged():
    logits, labels = block()
    found = predict_dice(models(), logits, labels, EDGES, ["t1ce"])
    assert found["WT"].dice == HIGHEST
    assert not found["WT"].flagged
    assert found["WT"].low < HIGHEST < found["WT"].high <= 1
    doubtful = predict_dice(models(**{INTERCEPT: -0.45}), logits, labels, EDGES, ["t1ce"])["ET"]
    assert doubtful.dice == pytest.approx(0.45)
    half = math.sqrt(0.45 * 0.55)
    assert (doubtful.low, doubtful.high) == pytest.approx((0.45 - half / 2, 0.45 + half / 4))
    assert warn_of({"ET": doubtful}, {"WT": 1.0}) == [
        "the ET mask has probably failed: predicted Dice 0.45 (0.20-0.57)"
    ]
    assert describe_predicted(report_predicted({"ET": doubtful})) == "predicted Dice ET 0.45 (0.20-0.57)"


def test_an_empty_mask_predicts_nothing_and_an_empty_whole_tumour_is_a_warning():
    logits = torch.full((3, 4, 4, 4), -20.0)
    labels = regions_to_labels(logits > 0, 4)
    assert predict_dice(models(), logits, labels, EDGES, ["t1"]) == {}
    assert warn_of({}, {"WT": 0.0}) == ["the WT mask is empty: no tumour found, or segmentation has failed"]
    assert describe_predicted({}) == ""


def test_a_mask_that_fills_the_box_has_a_prediction():
    logits = torch.full((3, 2, 2, 2), 20.0)
    found = predict_dice(models(), logits, regions_to_labels(logits > 0, 4), EDGES, ["t1"])
    assert found["WT"].dice == HIGHEST
