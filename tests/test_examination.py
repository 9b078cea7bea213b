"""From an examination to its results: what is taken as it is, what is prepared first, what becomes of the mask."""

import json
import logging
from dataclasses import replace
from functools import partial

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from raw_heads import write_scan

from metakd_monai.apps.cohort import predict_cases
from metakd_monai.apps.examination import (
    Examination,
    find_examinations,
    finish_examinations,
    lay_on_series,
    plan_preparation,
    prepare_examination,
    prepare_examinations,
    steps,
)
from metakd_monai.apps.examination.readiness import take_as_is
from metakd_monai.apps.predict.outputs import Outputs
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.raw import carry, preparation
from metakd_monai.apps.raw.case_folder import Outcome
from metakd_monai.apps.raw.template import AFFINE, SHAPE
from metakd_monai.apps.raw.transforms_file import RawGrid
from metakd_monai.cli import main
from metakd_monai.data.cases import Case, find_cases
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality
from metakd_monai.weights.locate import find_weights

FLAIR, T1, T1CE, T2 = Modality


def no_plan(folder):
    raise AssertionError("nothing has to be prepared")


def test_what_is_ready_is_taken_as_it_is(cohort, tmp_path):
    found = find_examinations(cohort / "Simulated_000")
    (examination,) = prepare_examinations(found, tmp_path, no_plan, keep_ready=True)
    assert examination.case.files == find_cases(cohort / "Simulated_000")[0].files
    assert examination.prepared is None
    assert examination.case.notes == ("no skull and one grid: taken as it is",)
    assert finish_examinations([examination], tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_4d_file_alone_in_a_folder_is_ready(cohort, tmp_path):
    case = find_cases(cohort)[0]
    images = [nib.load(case.files[m]) for m in Modality]
    stack = np.stack([image.get_fdata(dtype=np.float32) for image in images], axis=-1)
    nib.save(nib.Nifti1Image(stack, images[0].affine), tmp_path / "someone.nii.gz")
    (found,) = find_examinations(tmp_path)
    assert take_as_is(found, tmp_path) == Case("someone", tmp_path / "someone.nii.gz", notes=found.notes)


def thick(path):
    """Write a file anew with slices of twice the thickness."""
    image = nib.load(path)
    nib.save(nib.Nifti1Image(image.get_fdata()[..., ::2], image.affine @ np.diag([1, 1, 2, 1])), path)


def with_skull(path):
    """Write a file anew with noise around the brain."""
    image = nib.load(path)
    voxels = image.get_fdata()
    nib.save(nib.Nifti1Image(voxels + np.random.default_rng(0).random(voxels.shape) + 1, image.affine), path)


def damaged(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("change", "reason"),
    [(thick, "flair and t2: not on one grid"), (with_skull, "t2: with skull, or no whole brain"), (damaged, "_t2.nii")],
)
def test_the_rest_is_prepared_first_and_that_is_said(change, reason, cohort, tmp_path, monkeypatch, caplog):
    for modality, path in find_cases(cohort)[0].files.items():
        (tmp_path / f"P1_{modality.value}.nii.gz").write_bytes(path.read_bytes())
    change(tmp_path / "P1_t2.nii.gz")
    found = find_examinations(tmp_path)
    asked = []
    monkeypatch.setattr(
        steps, "prepare_cases", lambda cases, *_: asked.append(cases) or [Outcome("P1", "no head", failed=True)]
    )
    with caplog.at_level(logging.INFO):
        assert prepare_examinations(found, tmp_path / "out", lambda folder: folder, keep_ready=True) == []
        assert prepare_examinations(found, tmp_path / "out", lambda folder: folder) == []
    assert asked == [found, found]
    assert "P1: is prepared first (" in caplog.text
    assert reason in caplog.text


def test_without_the_extra_raw_input_is_refused_in_one_line(tmp_path, monkeypatch):
    voxels = np.random.default_rng(0).random((40, 40, 30)) * 100
    write_scan(tmp_path / "P1_flair.nii.gz", voxels, np.diag([5.0, 5, 5, 1]))
    monkeypatch.setattr(preparation, "version_of", lambda name: None)
    found = find_examinations(tmp_path)
    line = "itk-elastix is not installed.*expected pip install 'metakd-monai\\[raw\\]'$"
    with pytest.raises(UserError, match=f"^P1: flair: with skull, or no whole brain; {line}"):
        prepare_examinations(found, tmp_path / "out", plan_preparation, keep_ready=True)
    with pytest.raises(UserError, match=f"^{line}"):
        prepare_examinations(found, tmp_path / "out", plan_preparation)
    assert not (tmp_path / "out").exists()


def test_a_case_with_a_problem_fails_by_itself(cohort, tmp_path, caplog):
    whole, names = find_cases(cohort)[0], ("P1_t1.nii.gz", "P1_t1_b.nii.gz")
    for name in names:
        (tmp_path / "P1").mkdir(exist_ok=True)
        (tmp_path / "P1" / name).write_bytes(whole.files[T1].read_bytes())
    (tmp_path / "P2").mkdir()
    (tmp_path / "P2" / "P2_t1.nii.gz").write_bytes(whole.files[T1].read_bytes())
    found = find_examinations(tmp_path)
    made = prepare_examinations(found, tmp_path / "out", no_plan, keep_ready=True)
    assert [one.case.case_id for one in made] == ["P2"]
    assert "P1: failed: " in caplog.text


def test_one_examination_is_made_or_refused(cohort, tmp_path, monkeypatch):
    (found,) = find_examinations(cohort / "Simulated_000")
    assert prepare_examination(found, tmp_path, no_plan).case.files == found.series
    with pytest.raises(UserError, match=r"^Simulated_000: two T1$"):
        prepare_examination(replace(found, problem="two T1"), tmp_path, no_plan)
    monkeypatch.setattr(steps, "take_as_is", lambda *_: "with skull")
    monkeypatch.setattr(steps, "prepare_cases", lambda *_: [Outcome("Simulated_000", "no head", failed=True)])
    with pytest.raises(UserError, match=r"^Simulated_000: no head$"):
        prepare_examination(found, tmp_path, lambda folder: folder)


def test_labels_are_laid_on_the_series_that_was_asked_for(tmp_path, monkeypatch):
    labels = np.zeros(SHAPE, np.uint8)
    labels[60:90, 60:90, 60:90] = 1
    affine = AFFINE @ np.diag([4, 4, 3, 1])
    grids = {m: RawGrid((60, 60, n), affine.copy(), np.eye(4), None) for m, n in ((FLAIR, 50), (T1, 40))}
    monkeypatch.setattr(steps, "read_transforms", lambda folder: grids)
    case = Case("P1", {}, warnings=("left out: t2 does not fit",))
    found = Examination(None, case, tmp_path)
    for asked, grid in ((FLAIR, FLAIR), (T1, T1), (None, T1)):
        mask, affine = lay_on_series(found, labels, AFFINE, asked)
        assert (mask.shape, affine is grids[grid].affine) == (grids[grid].shape, True)
        assert int(mask.sum()) * 48 == pytest.approx(30**3, rel=0.1)
    assert lay_on_series(replace(found, prepared=None), labels, AFFINE, T2) == (labels, AFFINE)
    with pytest.raises(UserError, match=r"^P1: left out: t2 does not fit; expected a series that fits"):
        lay_on_series(found, labels, AFFINE, T2)


def write_study(folder, case, **values):
    """Write a case as DICOM series of one study, and the same voxels as NIfTI files; return the folders."""
    from raw_dicom import SEQUENCES, write_series

    for number, modality in enumerate((FLAIR, T1CE), start=1):
        image = nib.load(case.files[modality])
        voxels = image.get_fdata().round().astype(np.uint16)
        write_series(folder / "dicom", voxels, image.affine, str(number), **SEQUENCES[modality], **values)
        (folder / "nifti").mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(voxels, image.affine), folder / "nifti" / f"P1_{modality.value}.nii.gz")
    return folder / "dicom", folder / "nifti"


def segmented(source, out, weights):
    """Return the examinations in a folder, segmented as they are."""
    found = prepare_examinations(find_examinations(source), out, no_plan, keep_ready=True)
    assert predict_cases(partial(Predictor, weights), [examination.case for examination in found], Outputs(out)) == []
    return found


def test_ready_dicom_has_the_mask_of_the_same_voxels_as_nifti(cohort, weights, tmp_path):
    pytest.importorskip("pydicom", reason="needs metakd-monai[raw]")
    masks = []
    for source in write_study(tmp_path, find_cases(cohort)[0]):
        out = tmp_path / f"out_{source.name}"
        (examination,) = segmented(source, out, weights)
        masks.append(np.asarray(nib.load(out / f"{examination.case.case_id}.nii.gz").dataobj))
        report = json.loads((out / f"{examination.case.case_id}.json").read_text())
    assert np.array_equal(*masks)
    assert len(np.unique(masks[0])) > 1
    assert report["modalities"]["used"] == ["flair", "t1ce"]


def test_dicom_results_of_dicom_and_none_of_nifti(cohort, weights, tmp_path, caplog):
    hd = pytest.importorskip("highdicom", reason="needs metakd-monai[dicom]")
    dicom, nifti = write_study(tmp_path, find_cases(cohort)[0], PatientID="../../x")
    out = tmp_path / "in" / "out"
    found = segmented(dicom, out, weights)
    assert finish_examinations(found, out, dicom=True) == []
    name = found[0].case.case_id
    written = sorted(path.name for path in (out / f"{name}_dicom").iterdir())
    assert written == ["picture.dcm", "report.dcm", "segmentation.dcm"]
    whole = hd.seg.segread(out / f"{name}_dicom" / "segmentation.dcm").get_volume().array[..., 2] > 0
    assert whole.sum() == (np.asarray(nib.load(out / f"{name}.nii.gz").dataobj) > 0).sum() > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dicom", "in", "model.pt", "nifti"]
    with caplog.at_level(logging.INFO):
        assert finish_examinations(segmented(nifti, out, weights), out, dicom=True) == []
    assert "P1: no DICOM series, so no DICOM results" in caplog.text


def test_results_that_cannot_be_made_fail_one_case_in_one_line(cohort, weights, tmp_path, caplog):
    pytest.importorskip("highdicom", reason="needs metakd-monai[dicom]")
    import pydicom

    for number in "12":
        write_study(tmp_path / number, find_cases(cohort)[0], StudyInstanceUID=f"1.2.{number}", PatientID="SMITH")
    for path in (tmp_path / "1" / "dicom").iterdir():
        data = pydicom.dcmread(path)
        del data.FrameOfReferenceUID
        data.save_as(path)
    found = segmented(tmp_path, tmp_path / "out", weights)
    bad = next(one.case.case_id for one in found if one.raw.series[FLAIR].study_uid == "1.2.1")
    assert finish_examinations(found, tmp_path / "out", dicom=True) == [bad]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith(f"{bad}: failed: ")
    assert "no FrameOfReferenceUID found" in line
    assert "SMITH" not in caplog.text
    assert len(list((tmp_path / "out").glob("*_dicom/*.dcm"))) == 3


@pytest.mark.parametrize("option", ["--dicom", "--patient-ids"])
def test_options_of_examinations_go_with_raw(option, cohort, tmp_path):
    done = CliRunner().invoke(main, ["predict", str(cohort / "Simulated_000"), option, "-o", str(tmp_path / "out")])
    assert (done.exit_code, f"{option}: goes with --raw" in done.output) == (2, True)
    assert not (tmp_path / "out").exists()


def test_dicom_results_without_highdicom_are_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("metakd_monai.apps.dicom_results.write_objects.find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["predict", str(tmp_path), "--raw", "--dicom", "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "highdicom is not installed; expected pip install 'metakd-monai[dicom]'" in done.output


@pytest.fixture
def bundles(tmp_path):
    (tmp_path / "models" / "one" / "models").mkdir(parents=True)
    torch.save({}, tmp_path / "models" / "one" / "models" / "model.pt")
    return tmp_path / "models"


def test_weights_are_found_in_a_bundle_s_folder_and_in_the_one_above(bundles):
    weights = bundles / "one" / "models" / "model.pt"
    assert find_weights(bundles / "one") == find_weights(bundles) == weights
    (bundles / "two" / "models").mkdir(parents=True)
    with pytest.raises(UserError, match=r"0 bundles with models/model\.pt found; expected a bundle's folder"):
        find_weights(bundles / "two")
    (bundles / "two" / "models" / "model.pt").touch()
    with pytest.raises(UserError, match=r"2 bundles with models/model\.pt found"):
        find_weights(bundles)


def test_what_was_said_of_the_preparation_stands_in_the_report(cohort, weights, tmp_path, monkeypatch):
    for modality, path in find_cases(cohort)[0].files.items():
        (tmp_path / f"P1_{modality.value}.nii.gz").write_bytes(path.read_bytes())
    done = Outcome("P1", "", warnings=("the headers of t2 and the centre disagree by 9 mm; registered",))
    monkeypatch.setattr(steps, "prepare_cases", lambda *_: [done])
    monkeypatch.setattr(carry, "read_transforms", lambda folder: dict.fromkeys(Modality))
    (made,) = prepare_examinations(find_examinations(tmp_path), tmp_path / "out", lambda folder: folder)
    assert made.case.warnings == done.warnings
    ready = replace(find_cases(cohort)[0], warnings=done.warnings)
    predict_cases(partial(Predictor, weights), [ready], Outputs(tmp_path / "masks", preview=False))
    report = json.loads((tmp_path / "masks" / f"{ready.case_id}.json").read_text())
    assert report["warnings"][0] == done.warnings[0]
