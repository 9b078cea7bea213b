"""How bright FLAIR is where labels end."""

import nibabel as nib
import numpy as np
import pytest

from metakd_monai.apps.simulation.training.border import PLACES, border_head, border_row, profile
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Label


@pytest.fixture
def lesion():
    """A ball of 15 mm, 3 where it is full and 1 outside, with a border that falls over 10 mm; and its radius."""
    grid = np.mgrid[:64, :64, :64] - 31.5
    radius = np.sqrt((grid**2).sum(0))
    return 1 + 2 * np.clip((20 - radius) / 10, 0, 1), radius


def labels_within(radius, mm):
    return np.where(radius < mm, int(Label.OEDEMA), 0)


@pytest.mark.parametrize("mm", [14.0, 16.0, 18.0])
def test_the_profile_is_that_of_the_image_at_the_distance_from_the_label(lesion, mm):
    image, radius = lesion
    found = profile(image, labels_within(radius, mm))
    expected = np.clip((20 - (mm - 0.5 + PLACES)) / 10, 0, 1)
    assert found == pytest.approx(expected / expected[0], abs=0.08)


def test_near_the_core_nothing_counts(lesion):
    image, radius = lesion
    labels = labels_within(radius, 16.0)
    labels[radius < 8] = int(Label.NECROSIS)
    assert np.isnan(profile(image, labels)[PLACES < -3]).all()


def test_a_table_of_folders(lesion, tmp_path):
    image, radius = lesion
    for name, array in (("flair", image.astype(np.float32)), ("seg", labels_within(radius, 16.0).astype(np.uint8))):
        (tmp_path / "Case").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "Case" / f"Case_{name}.nii.gz")
    row = border_row(tmp_path)
    assert row.startswith(f"| {tmp_path.name} (1) | 1.00 |")
    assert {line.count("|") for line in (row, *border_head().splitlines())} == {len(PLACES) + 2}


def test_a_folder_without_such_cases_is_refused(tmp_path):
    (tmp_path / "Case").mkdir()
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.float32), np.eye(4)), tmp_path / "Case" / "Case_flair.nii.gz")
    with pytest.raises(UserError, match="expected one at least"):
        border_row(tmp_path)
