"""The parts of ``examples/deploy_app`` that need neither MONAI Deploy nor DICOM libraries."""

import sys

import pytest
import torch
from conftest import REPOSITORY
from monai.data import MetaTensor

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

sys.path.append(str(REPOSITORY / "examples" / "deploy_app"))

from descriptions import sequence_of
from grid import to_one_grid

FLAIR, T1, T1CE, T2 = Modality


def ball(shape=(40, 40, 40), spacing=(1.0, 1.0, 1.0), shift=0.0):
    """Return a ball of radius 14 mm around (20, 20, 20) mm whose values rise along x, ``(1, *S)``."""
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    axes = [torch.arange(n) * s for n, s in zip(shape, spacing, strict=True)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    inside = (x - 20 - shift) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 < 14**2
    return MetaTensor((inside * (100 + x))[None].float(), affine=affine)


def test_sequences_on_one_grid_are_left_as_they_are():
    images = {FLAIR: ball(), T1CE: ball()}
    reference, same = to_one_grid(images)
    assert reference is FLAIR
    assert all(same[modality] is image for modality, image in images.items())


def test_thick_slices_are_brought_to_the_finest_grid():
    images = {FLAIR: ball((40, 40, 20), (1.0, 1.0, 2.0)), T2: ball()}
    reference, moved = to_one_grid(images)
    assert reference is T2
    assert moved[T2] is images[T2]
    assert moved[FLAIR].shape == images[T2].shape
    assert torch.equal(moved[FLAIR].affine, images[T2].affine)
    well_inside = ball().as_tensor() > 0
    well_inside[..., :10], well_inside[..., 30:] = False, False
    difference = (moved[FLAIR].as_tensor() - images[T2].as_tensor()).abs()[well_inside]
    assert difference.median() < 1e-3  # values do not depend on z


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0)])
def test_what_is_not_aligned_is_refused(spacing):
    shape = (40, 40, int(40 / spacing[2]))
    with pytest.raises(UserError, match=r"t2: its brain and that of t1 overlap by 0\.\d+ .* register the sequences"):
        to_one_grid({T1: ball(), T2: ball(shape, spacing, shift=6)})


def test_nothing_in_common_is_refused():
    far = ball()
    far.affine[0, 3] = 500
    with pytest.raises(UserError, match=r"overlap by 0\.00"):
        to_one_grid({T1: ball(), T2: far})


@pytest.mark.parametrize(
    ("description", "contrast", "expected"),
    [
        ("AX T2 FLAIR", False, FLAIR),
        ("FLAIR_T2 axial", False, FLAIR),
        ("t1 mprage sag", False, T1),
        ("t1 mprage sag", True, T1CE),
        ("AX T1 POST GAD", False, T1CE),
        ("T1ce", False, T1CE),
        ("AX T2", True, T2),
        ("T1 FLAIR", False, None),
        ("T1 and T2", False, None),
        ("DWI b1000", False, None),
    ],
)
def test_descriptions(description, contrast, expected):
    assert sequence_of(description, contrast) is expected
