"""The parts of ``examples/monai_label_app`` that need no MONAI Label."""

import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import REPOSITORY

from metakd_monai.apps.examination import Examination
from metakd_monai.apps.raw import preparation
from metakd_monai.apps.raw.back_transform import labels_to_case
from metakd_monai.apps.raw.template import SHAPE
from metakd_monai.apps.raw.transforms_file import RawGrid
from metakd_monai.data.cases import find_cases
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

sys.path.append(str(REPOSITORY / "examples" / "monai_label_app"))

from images import Images
from labels import label_of_case, lay_on_image, readable_label
from worth import expected_dice, mean_uncertainty

FLAIR, T1, T1CE, T2 = Modality
VALUES = {"necrosis": 1, "oedema": 2, "enhancing tumour": 3}
AFFINE = np.array([[-1.0, 0, 0, 90], [0, -1.2, 0, 110], [0, 0, 2, -70], [0, 0, 0, 1]])


def report(volume, **dice):
    predicted = {region: {"dice": value} for region, value in dice.items()}
    return {"volumes_ml": {"WT": volume}, "expected": {"predicted": predicted} if dice else None}


def test_expected_dice_is_the_mean_over_regions():
    assert expected_dice(report(10.0, TC=0.5, WT=0.9)) == pytest.approx(0.7)
    assert expected_dice(report(0.0)) == 0
    assert expected_dice(report(10.0)) is None  # weights that nothing is known of


def test_uncertainty_counts_the_tumour_and_what_is_in_doubt():
    labels = torch.tensor([[0, 0, 1, 3]])
    assert mean_uncertainty(torch.tensor([[0.4, 0.5, 0.1, 0.3]]), labels) == pytest.approx(0.3)  # of 0.5, 0.1, 0.3
    assert mean_uncertainty(torch.zeros(1, 4), torch.zeros(1, 4)) == 1


@pytest.fixture
def saved(tmp_path):
    """A label map as 3D Slicer saves it, of another type than a mask of ours."""
    labels = np.zeros((6, 5, 4), np.int16)
    labels[1, :3, 0] = 1, 2, 3
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "P1_flair.nii.gz")
    return tmp_path / "P1_flair.nii.gz"


def test_segments_in_the_known_order_leave_a_label_map_as_it_is(saved, tmp_path):
    for segments in ([], list(VALUES)):
        assert readable_label(saved, segments, VALUES, tmp_path) == saved


def test_segments_in_another_order_get_their_own_values(saved, tmp_path):
    (tmp_path / "made").mkdir()
    found = nib.load(readable_label(saved, ["enhancing tumour", "oedema", "necrosis"], VALUES, tmp_path / "made"))
    assert np.asarray(found.dataobj)[1, :3, 0].tolist() == [3, 2, 1]
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)


def test_without_a_segment_the_others_keep_their_names(saved, tmp_path):
    (tmp_path / "made").mkdir()
    labels = np.zeros((6, 5, 4), np.int16)
    labels[1, :2, 0] = 1, 2
    nib.save(nib.Nifti1Image(labels, AFFINE), saved)
    found = nib.load(readable_label(saved, ["oedema", "enhancing tumour"], VALUES, tmp_path / "made"))
    assert np.asarray(found.dataobj)[1, :2, 0].tolist() == [2, 3]


def test_nrrd_becomes_nifti_on_the_same_grid(saved, tmp_path):
    itk = pytest.importorskip("itk")
    itk.imwrite(itk.imread(str(saved)), str(tmp_path / "P1.seg.nrrd"))
    (tmp_path / "made").mkdir()
    found = nib.load(readable_label(tmp_path / "P1.seg.nrrd", list(VALUES), VALUES, tmp_path / "made"))
    assert np.array_equal(found.dataobj, nib.load(saved).dataobj)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)


def test_a_label_map_without_its_empty_slices_gets_them_back(saved):
    whole = nib.load(saved)
    part = saved.with_name("part.nii.gz")
    nib.save(whole.slicer[:, :, :2], part)
    lay_on_image(part, saved)
    found = nib.load(part)
    assert np.array_equal(found.dataobj, whole.dataobj)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)


def test_a_segment_of_another_name_is_refused(saved, tmp_path):
    with pytest.raises(UserError, match="segment 'tumour' found; expected some of necrosis, oedema, enhancing tumour"):
        readable_label(saved, ["necrosis", "tumour"], VALUES, tmp_path)


@pytest.fixture
def study(tmp_path):
    """Series of one study as DICOM and as NIfTI; the NIfTI by the folder of the DICOM files."""
    pytest.importorskip("pydicom", reason="needs metakd-monai[raw]")
    from raw_dicom import write_series

    voxels = np.random.default_rng(0).integers(0, 4000, (40, 36, 16)).astype(np.uint16)
    images = {}
    affine = np.diag([-4.0, -4, 5, 1])
    for number, description in enumerate(("AX FLAIR", "AX T1", "AX T1 POST GAD", "AX T2", "localizer"), start=1):
        folder = tmp_path / f"1.2.826.0.1.3680043.8.498.2.{number}"
        times = {"RepetitionTime": None, "EchoTime": None}
        write_series(folder, voxels, affine, str(number), SeriesDescription=description, **times)
        images[folder] = tmp_path / f"{folder.name}.nii.gz"
        nib.save(nib.Nifti1Image(voxels, affine), images[folder])
    return images


def choose(study, number, told=None, siblings=True):
    from siblings import choose_siblings

    folder = list(study)[number]
    others = {other: image for other, image in study.items() if other != folder and siblings}
    chosen = choose_siblings(study[folder], folder, told, others)
    return {m: list(study.values()).index(path) for m, path in chosen.files.items()}, " ".join(chosen.notes)


def test_a_series_takes_the_study_s_others_along(study):
    files, notes = choose(study, 2)
    assert list(files.items()) == [(FLAIR, 0), (T1, 1), (T1CE, 2), (T2, 3)]
    assert "skipped localizer" in notes
    assert "--series" not in notes


def test_a_series_alone_is_what_it_says_or_what_was_chosen(study):
    assert choose(study, 3, siblings=False)[0] == {T2: 3}
    assert choose(study, 4, told=T1, siblings=False)[0] == {T1: 4}
    assert choose(study, 1, told=T2)[0] == {FLAIR: 0, T1CE: 2, T2: 1}


def test_a_series_that_nobody_names_is_refused(study):
    with pytest.raises(UserError, match=r"series 'localizer': .*; expected a choice of sequence \(flair, t1, t1ce, t2"):
        choose(study, 4)


@pytest.fixture
def files(cohort, tmp_path):
    """A datastore's files: P1 is ready, the FLAIR of P2 has a skull."""
    for modality, path in find_cases(cohort)[0].files.items():
        for case in ("P1", "P2"):
            (tmp_path / f"{case}_{modality.value}.nii.gz").write_bytes(path.read_bytes())
    image = nib.load(tmp_path / "P2_flair.nii.gz")
    skull = np.random.default_rng(0).random(image.shape) + 1
    nib.save(nib.Nifti1Image(image.get_fdata() + skull, image.affine), tmp_path / "P2_flair.nii.gz")
    return tmp_path


def test_images_that_are_ready_are_taken_as_they_are(files):
    images = Images(SimpleNamespace())
    for name in ("flair", "t2"):
        found = images.examine(images.case_of({"image": str(files / f"P1_{name}.nii.gz")}))
        assert (found.case.case_id, list(found.case.files), found.prepared) == ("P1", list(Modality), None)
    alone = images.case_of({"image": str(files / "P1_t2.nii.gz"), "siblings": False})
    assert images.examine(alone).case.files == {T2: files / "P1_t2.nii.gz"}


def test_a_brain_mask_is_taken_where_it_is_the_case_s(files):
    images = Images(SimpleNamespace())
    (files / "P1_brainmask.nii.gz").touch()
    assert images.case_of({"image": str(files / "P1_t2.nii.gz")}).brain_mask == files / "P1_brainmask.nii.gz"
    assert images.case_of({"image": str(files / "P2_t2.nii.gz")}).brain_mask is None
    (files / "P2_flair.nii.gz").rename(files / "P2-flair.nii.gz")
    case = images.case_of({"image": str(files / "P2_t2.nii.gz")})
    assert (len(case.series), case.brain_mask) == (4, None)


def test_images_with_skull_are_refused_with_what_to_install(files, monkeypatch):
    images = Images(SimpleNamespace())
    monkeypatch.setattr(preparation, "version_of", lambda name: None)
    asked = images.case_of({"image": str(files / "P2_t2.nii.gz")})
    with pytest.raises(UserError, match=r"^P2: flair: with skull.*; itk-elastix is not.*'metakd-monai\[raw\]'$"):
        images.examine(asked)


def test_a_label_map_on_a_raw_series_is_brought_into_its_case(tmp_path, monkeypatch):
    moved = np.eye(4)
    moved[:3, 3] = 3, 0, 0
    affine = np.array([[-2.0, 0, 0, -60], [0, -2, 0, 180], [0, 0, 3, 30], [0, 0, 0, 1]])
    grid = RawGrid((40, 40, 30), affine, moved, None)
    labels = np.zeros(grid.shape, np.uint8)
    labels[10:20, 10:20, 5:10] = 3
    nib.save(nib.Nifti1Image(labels, grid.affine), tmp_path / "P1_t2.nii.gz")
    monkeypatch.setattr("labels.read_transforms", lambda folder: {T2: grid})
    examination = Examination(None, None, tmp_path)
    (tmp_path / "made").mkdir()
    found = nib.load(label_of_case(tmp_path / "P1_t2.nii.gz", examination, tmp_path / "made"))
    assert np.array_equal(found.dataobj, labels_to_case(labels, grid, SHAPE))
    assert int(np.asarray(found.dataobj).sum()) == pytest.approx(3 * 20 * 20 * 15, rel=0.1)
    assert label_of_case(tmp_path / "P1_t2.nii.gz", Examination(None, None, None), tmp_path).name == "P1_t2.nii.gz"
