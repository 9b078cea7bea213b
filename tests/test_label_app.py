"""The parts of ``examples/monai_label_app`` that need no MONAI Label."""

import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import REPOSITORY

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

sys.path.append(str(REPOSITORY / "examples" / "monai_label_app"))

from labels import readable_label
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


def test_a_segment_of_another_name_is_refused(saved, tmp_path):
    with pytest.raises(UserError, match="segment 'tumour' found; expected some of necrosis, oedema, enhancing tumour"):
        readable_label(saved, ["necrosis", "tumour"], VALUES, tmp_path)


@pytest.fixture
def study(tmp_path):
    """Series of one study as DICOM and as NIfTI, T2 on another grid; and the NIfTI by the folder of the DICOM files."""
    pytest.importorskip("pydicom", reason="needs metakd-monai[raw]")
    from raw_dicom import write_series

    voxels = np.random.default_rng(0).integers(0, 4000, (40, 36, 16)).astype(np.uint16)
    images = {}
    for number, (description, shift) in enumerate(
        {"AX FLAIR": 0, "AX T1": 0, "AX T1 POST GAD": 0, "AX T2": 1, "localizer": 0}.items(), start=1
    ):
        affine = np.diag([-4.0, -4, 5, 1])
        affine[0, 3] = shift
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


def test_a_series_takes_the_study_s_others_on_its_grid_along(study):
    files, notes = choose(study, 2)
    assert files == {FLAIR: 0, T1: 1, T1CE: 2}
    assert "t2: ax t2 left out, it is on another grid than the image" in notes
    assert "passed over localizer" in notes
    assert "--series" not in notes


def test_a_series_alone_is_what_it_says_or_what_was_chosen(study):
    assert choose(study, 3, siblings=False)[0] == {T2: 3}
    assert choose(study, 4, told=T1, siblings=False)[0] == {T1: 4}
    assert choose(study, 1, told=T2)[0] == {FLAIR: 0, T1CE: 2, T2: 1}


def test_a_series_that_nobody_names_is_refused(study):
    with pytest.raises(UserError, match=r"series 'localizer': .*; expected a choice of sequence \(flair, t1, t1ce, t2"):
        choose(study, 4)
