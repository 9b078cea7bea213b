"""What a user is told before the mask is looked at: Dice to expect, and what is unusual about the case."""

import json
import math
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import BUNDLE, CHANNELS, shared
from scipy.ndimage import binary_dilation
from test_predict import predict

from metakd_monai.apps.predict.appearance import measure_appearance, measure_contrast
from metakd_monai.apps.predict.expectations import FILE, read_expectations
from metakd_monai.apps.predict.input_checks import find_unusual, merge_appearances
from metakd_monai.apps.predict.mask_quality import FEATURES, INTERCEPT
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum
from metakd_monai.data.nifti import read_voxels
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import Modality
from metakd_monai.weights.exports.write_export import export_network

MM = (1.0, 1.0, 1.0)
DICE = {"median": 0.7, "low": 0.5, "high": 0.9, "cases": 9}


def look_at(image, spacing=MM):
    return measure_appearance(image, (image != 0).flatten(1).any(dim=1), np.diag([*spacing, 1.0]))


def read(folder):
    (case,) = find_cases(folder)
    there = {m: np.asarray(read_voxels(path), np.float32) for m, path in case.files.items()}
    return torch.stack([torch.as_tensor(there.get(m, np.zeros((240, 240, 155), np.float32))) for m in Modality])


@pytest.fixture(scope="module")
def ranges():
    """Of two real cases; a third one is tried."""
    folders = shared("data", "tcga_cc-by", "TCGA-DU-7294"), shared("data", "brats_cc-by-nc-sa", "BRATS_HG0015")
    return merge_appearances(look_at(read(folder)) for folder in folders)["ranges"]


@pytest.fixture(scope="module")
def real():
    return read(shared("data", "tcga_cc-by", "TCGA-FG-6692"))


def test_numbers_by_hand():
    image = torch.zeros(4, 12, 10, 10)
    image[0, 1:11, :, :8] = torch.arange(1.0, 801).reshape(10, 10, 8)  # even: no skew
    image[2, 1:11, :, :4] = torch.arange(1.0, 401).reshape(10, 10, 4) ** 4
    look = look_at(image, (1, 2, 3))
    assert (look["shortest_edge"], look["longest_edge"], look["brain_ml"], look["brain_share"]) == (1, 3, 4.8, 1)
    assert look["flair_skew"] == pytest.approx(0, abs=0.01)
    assert look["flair_tails"] == pytest.approx(98 / 50, abs=0.02)
    p5, p50, p95 = (np.array([0.05, 0.5, 0.95])) ** 4
    assert look["t1ce_skew"] == pytest.approx((p95 + p5 - 2 * p50) / (p95 - p5), abs=0.02)
    assert look.keys() & {"t1_skew", "t2_skew"} == set()
    scaled = look_at(torch.where(image == 0, 0, 5 * image + 7), (1, 2, 3))
    assert scaled == pytest.approx(look, rel=1e-4, abs=1e-4)


def test_merging():
    looks = [{"brain_ml": float(value), **({"t1_skew": 0.5} if value == 40 else {})} for value in range(101)]
    assert merge_appearances(looks) == {"cases": 101, "ranges": {"brain_ml": [0.5, 99.5], "t1_skew": [0.5, 0.5]}}


def test_a_real_case_is_usual(real, ranges):
    assert find_unusual(look_at(real), ranges) == []
    assert find_unusual(look_at(real[:, :, :, 20:]), ranges) == []  # the box does not matter
    some = real.clone()
    some[1], some[3] = 0, 0
    assert find_unusual(look_at(some), ranges) == []


def with_skull(image):
    brain = (image != 0).any(dim=0).numpy()
    shell = torch.as_tensor(binary_dilation(brain, iterations=12) & ~brain)
    return torch.where(shell, image.amax(dim=(1, 2, 3), keepdim=True) * 0.6, image)


def with_air(image):
    return torch.where(image == 0, 3 * torch.rand(image.shape) + 1, image)


def hemisphere(image):
    half = image.clone()
    half[:, 120:] = 0
    return half


def reversed_contrast(image):
    t2 = image[3]
    return torch.cat([image[:3], torch.where(t2 == 0, 0, t2.max() + 1 - t2)[None]])


def test_sequences_under_each_other_s_name_are_unusual(real, ranges):
    lines = find_unusual(look_at(real[[3, 1, 2, 0]]), ranges)
    assert [line.split(" has ")[0] for line in lines] == ["flair", "t2"]


def test_t1_and_t1ce_exchanged(real, ranges):
    (line,) = find_unusual(look_at(real[[0, 2, 1, 3]]), ranges)
    expected = r"t1 and t1ce exchanged\? bright voxels of t1 are brighter by \d\.\d\d interquartile ranges"
    assert re.fullmatch(expected, line)
    assert "contrast" not in look_at(torch.where(torch.arange(4)[:, None, None, None] == 2, 0, real))


@pytest.mark.parametrize("inside", [torch.rand(4, 8, 8), 3.0], ids=["the same", "of one value"])
def test_contrast_of_images_without_any(inside):
    images = torch.zeros(2, 8, 8, 8)
    images[:, 2:6] = inside
    assert measure_contrast(*(image.numpy() for image in images)) == 0
    assert measure_contrast(images[0].numpy(), np.zeros((8, 8, 8))) == 0


@pytest.mark.parametrize(
    ("change", "spacing", "says"),
    [
        (with_skull, MM, r"not skull-stripped\? nonzero voxels: 2\d{3} mL \(in training 12\d\d to 161\d\), .*"),
        (with_air, MM, r"not skull-stripped\? .*, 100% of their box \(in training 46%\); metakd predict --raw .*"),
        (hemisphere, MM, r"small or incomplete brain\? nonzero voxels: \d{3} mL \(in training 12\d\d to 161\d\), .*"),
        (reversed_contrast, MM, r"t2 has unusual intensities: skew -0\.5\d \(in training 0\.45 to 0\.64\)"),
        (lambda x: x[..., ::3], (1.0, 1.0, 3.0), r"voxels of 1 to 3 mm, in training 1 mm; thick slices.*"),
        (lambda x: x[:, ::3, ::3, ::3], (3.0, 3.0, 3.0), r"voxels of 3 mm, in training 1 mm"),
    ],
    ids=["skull", "air", "half", "reversed", "slices", "coarse"],
)
def test_what_is_unusual_is_said_in_one_line(real, ranges, change, spacing, says):
    (line,) = find_unusual(look_at(change(real), spacing), ranges)
    assert re.fullmatch(says, line), line


def describe(weights, **content):
    """Write ``expected.json`` beside weights."""
    text = json.dumps({"weights_sha256": checksum(weights), "cases": ["a", "b", "c"], **content})
    weights.with_name(FILE).write_text(text)


def subsets():
    return {"flair+t1ce": {"WT": DICE, "ET": {**DICE, "low": 0.123}}, "t1": {"WT": {"median": 0.5, "cases": 8}}}


def test_predict_tells_the_dice_of_the_given_subset(cohort, weights, tmp_path, caplog):
    describe(weights, subsets=subsets(), measured="three folds")
    case = find_cases(cohort)[0]
    for given, said in (
        ("t1ce,flair", " s; expected Dice ET 0.12-0.90, WT 0.50-0.90 (three folds)"),
        ("t1", " s"),  # of too few cases
        ("t2", " s"),
    ):
        caplog.clear()
        source = cohort / case.case_id
        result = predict(source, tmp_path / given, weights, "--modalities", given, "--no-preview")
        assert result.exit_code == 0, result.output
        (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith(case.case_id)]
        assert line.endswith(said)
        report = json.loads((tmp_path / given / f"{case.case_id}.json").read_text())
        assert report["warnings"] == []
        if given != "t1ce,flair":
            assert report["expected"] is None
        else:
            name = "+".join(m.value for m in Modality if m.value in given.split(","))
            said = {"measured": "three folds", "measured_on": ["a", "b", "c"]}
            assert report["expected"] == {"predicted": {}, "dice": subsets()[name], **said}


def test_predict_warns_and_goes_on(cohort, weights, tmp_path, caplog):
    predictor = Predictor(weights)
    items = [predictor.read(case) for case in find_cases(cohort)]
    looks = [measure_appearance(i["image"].as_tensor(), i["available"], i["image"].affine) for i in items]
    describe(weights, training=merge_appearances(looks))
    folder = tmp_path / "in" / "one"
    folder.mkdir(parents=True)
    for modality, path in find_cases(cohort)[0].files.items():
        image = nib.load(path)
        affine = image.affine @ np.diag([1, 1, 1.5, 1])
        air = np.random.default_rng(0).integers(1, 4, image.shape)  # noise: a border of one value would be background
        nib.save(
            nib.Nifti1Image((image.dataobj + air).astype(np.int16), affine), folder / f"one_{modality.value}.nii.gz"
        )
    for source in (cohort, folder):
        result = predict(source, tmp_path / "out", weights, "--no-preview")
        assert result.exit_code == 0, result.output
    said = [record.getMessage() for record in caplog.records if ": warning: " in record.getMessage()]
    assert [line.split(": ")[0] for line in said] == ["one", "one"]
    report = json.loads((tmp_path / "out" / "one.json").read_text())
    assert [f"one: warning: {text}" for text in report["warnings"]] == said
    assert report["warnings"][0] == "voxels of 6 to 9 mm, in training 6 mm"
    assert report["warnings"][1].startswith("not skull-stripped? nonzero voxels: ")


BAD_DICE = [
    {"median": 1},
    {**DICE, "low": "abc"},
    {**DICE, "low": [0.5]},
    {**DICE, "high": None},
    {**DICE, "median": True},
    {**DICE, "high": 1.5},
    {**DICE, "median": 0.4},
    {**DICE, "cases": math.nan},
    {**DICE, "cases": math.inf},
    {**DICE, "cases": None},
    {**DICE, "cases": 2.5},
    {**DICE, "cases": 0},
    {**DICE, "cases": 10**400},
]
GOOD_RANGES = {"brain_ml": [1, 2], "brain_share": [0, 1], "longest_edge": [1, 1], "shortest_edge": [1, 1]}
BAD_RANGES = [
    {"brain_ml": [1, 2]},
    {**GOOD_RANGES, "brain_ml": [1]},
    {**GOOD_RANGES, "brain_ml": [2, 1]},
    {**GOOD_RANGES, "brain_ml": "12"},
    {**GOOD_RANGES, "brain_ml": 1},
    {**GOOD_RANGES, "brain_ml": [1, math.nan]},
    {**GOOD_RANGES, "t1_colour": [1, 2]},
    [],
]
MODEL = {"weights": dict.fromkeys((INTERCEPT, *FEATURES), 0.1), "highest": 1.0, "error": [-0.5, 0.4], "flag_below": 0.5}
BAD_MODELS = [
    {"weights": {INTERCEPT: 1}},
    {"weights": None},
    {"error": [0.4, -0.5]},
    {"error": [0.4]},
    {"error": 0.4},
    {"flag_below": math.nan},
    {"highest": None},
]
UNREADABLE = [
    *({"subsets": {"t1": {"WT": dice}}} for dice in BAD_DICE),
    *({"training": {"ranges": ranges}} for ranges in BAD_RANGES),
    *({"masks": {"WT": {**MODEL, **change}}} for change in BAD_MODELS),
    {"masks": {"XX": MODEL}},
    {"masks": []},
    {"subsets": {"t1": {"XX": DICE}}},
    {"subsets": ["t1"]},
    {"subsets": {"t1": None}},
    {"training": None},
    {"cases": "a case"},
]


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"weights_sha256": "of others"}, "expected.json is about other weights, ignored"),
        *((change, "expected.json is unreadable, ignored") for change in UNREADABLE),
    ],
)
def test_what_is_about_other_weights_or_unreadable_is_ignored_with_a_note(weights, change, note):
    describe(weights, **{"subsets": subsets(), **change})
    found = read_expectations(weights, checksum(weights))
    assert found.note == note
    assert found.report(["t1"], {}) == {"note": note}
    assert found.describe(["t1"]) == ""
    for text in ("{", "[]", "[" * 100_000, "null", '"text"', "\x00"):
        weights.with_name(FILE).write_text(text)
        assert read_expectations(weights, checksum(weights)).note == "expected.json is unreadable, ignored"
    weights.with_name(FILE).unlink()
    assert read_expectations(weights, checksum(weights)).report(["t1"], {}) is None


def test_the_note_is_in_line_and_report(cohort, weights, tmp_path, caplog):
    describe(weights, weights_sha256="of others")
    assert predict(cohort / "Simulated_000", tmp_path / "out", weights, "--no-preview").exit_code == 0
    assert " s; expected.json is about other weights, ignored" in caplog.text
    report = json.loads((tmp_path / "out" / "Simulated_000.json").read_text())
    assert report["expected"] == {"note": "expected.json is about other weights, ignored"}


def test_exports_are_the_same_weights(tmp_path):
    torch.save(MetaKDUNet(channels=CHANNELS).state_dict(), tmp_path / "model.pt")
    describe(tmp_path / "model.pt", subsets=subsets())
    export_network(tmp_path / "model.pt", tmp_path / "model.ts", "torchscript", BUNDLE)
    assert Predictor(tmp_path / "model.ts").expectations.describe(["flair", "t1ce"]).startswith("expected Dice ET 0.12")
    shutil.copy(tmp_path / "model.pt", tmp_path / "other.pt")
    assert Predictor(tmp_path / "other.pt").expectations.note is None  # the same bytes
