"""One 3-D image, as OHIF, a datastore or an upload hands it over: what it is, and what lies beside it."""

import shutil

import pytest
import torch

from metakd_monai.data.cases import files_of_image, find_cases
from metakd_monai.errors import UserError
from metakd_monai.transforms import LoadImageModalitiesd
from metakd_monai.transforms.images import BY_NAME, SEQUENCE, SIBLINGS
from metakd_monai.vocabulary import MODALITY_NAMES, Modality

FLAIR, T1, T1CE, T2 = Modality
CHOICES = [BY_NAME, *MODALITY_NAMES]


def names_of(files):
    return {modality.value: path.name for modality, path in files.items()}


@pytest.fixture
def folder(tmp_path):
    """A datastore of several cases, with a copy, a label map, an upload and a name that is not clear."""
    for name in (
        *("A_flair", "A_t1", "A_t1ce", "A_flair_bias", "A_seg", "A1_t2", "B_t2", "tmp3k2x9", "brain"),
        *("C_flair", "C_t1_gadx"),  # of two readings
    ):
        (tmp_path / f"{name}.nii.gz").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A_flair", {"flair": "A_flair", "t1": "A_t1", "t1ce": "A_t1ce"}),
        ("A_flair_bias", {"flair": "A_flair_bias"}),  # a copy: of another kind than its siblings
        ("B_t2", {"t2": "B_t2"}),
        ("A1_t2", {"t2": "A1_t2"}),
    ],
)
def test_a_name_tells_the_sequence_and_its_siblings_come_along(folder, name, expected):
    found = files_of_image(folder / f"{name}.nii.gz")
    assert names_of(found) == {modality: f"{stem}.nii.gz" for modality, stem in expected.items()}
    assert list(found) == sorted(found, key=list(Modality).index)


def test_an_image_may_come_alone(folder):
    assert names_of(files_of_image(folder / "A_t1.nii.gz", siblings=False)) == {"t1": "A_t1.nii.gz"}
    with pytest.raises(UserError, match=r"C_t1_gadx.nii.gz may be t1 or t1ce.*; or the image without its siblings"):
        files_of_image(folder / "C_flair.nii.gz")
    assert names_of(files_of_image(folder / "C_flair.nii.gz", siblings=False)) == {"flair": "C_flair.nii.gz"}


def test_a_choice_goes_before_the_name(folder):
    assert names_of(files_of_image(folder / "tmp3k2x9.nii.gz", T1CE)) == {"t1ce": "tmp3k2x9.nii.gz"}
    chosen = files_of_image(folder / "A_t1.nii.gz", T2)
    assert names_of(chosen) == {"flair": "A_flair.nii.gz", "t1ce": "A_t1ce.nii.gz", "t2": "A_t1.nii.gz"}


@pytest.mark.parametrize("name", ["tmp3k2x9", "brain", "A_seg"])
def test_what_nobody_names_is_refused_with_what_to_choose(folder, name):
    line = rf"{name}.nii.gz: one 3-D image, its name tells no sequence; expected a choice of sequence \(flair, t1, t1ce"
    with pytest.raises(UserError, match=line):
        files_of_image(folder / f"{name}.nii.gz")


def test_a_name_of_two_readings_is_refused_with_both(tmp_path):
    (tmp_path / "T1_gadx.nii.gz").touch()
    with pytest.raises(UserError, match=r"may be t1 or t1ce by its name; expected a choice"):
        files_of_image(tmp_path / "T1_gadx.nii.gz")


def test_one_file_of_a_case_is_loaded_as_the_case(cohort):
    case = find_cases(cohort)[0]
    load = LoadImageModalitiesd(one_file=True)
    whole, one = load(case.as_item()), load({"image": str(case.files[T1CE]), SEQUENCE: CHOICES, SIBLINGS: True})
    assert torch.equal(one["image"], whole["image"])
    assert one["available"].tolist() == whole["available"].tolist() == [True] * 4
    alone = load({"image": str(case.files[T1CE]), SIBLINGS: False})
    assert alone["available"].tolist() == [False, False, True, False]
    assert torch.equal(alone["image"][2], whole["image"][2])


def test_elsewhere_one_file_has_all_channels(cohort):
    with pytest.raises(UserError, match=r"expected a 4-D file with 4 channels"):
        LoadImageModalitiesd()({"image": str(find_cases(cohort)[0].files[T2])})


def test_an_upload_is_loaded_by_what_its_sender_chose(cohort, tmp_path):
    case = find_cases(cohort)[0]
    upload = shutil.copy(case.files[T2], tmp_path / "tmp3k2x9.nii.gz")
    load = LoadImageModalitiesd(one_file=True)
    assert load({"image": str(upload), SEQUENCE: "t2"})["available"].tolist() == [False, False, False, True]
    with pytest.raises(UserError, match=r"tmp3k2x9.nii.gz: one 3-D image, its name tells no sequence"):
        load({"image": str(upload), SEQUENCE: CHOICES})
    with pytest.raises(UserError, match="t2x"):
        load({"image": str(upload), SEQUENCE: "t2x"})
