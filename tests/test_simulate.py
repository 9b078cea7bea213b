import nibabel as nib
import numpy as np
import pytest

from metakd_monai.cases import find_cases
from metakd_monai.nifti import read_voxels
from metakd_monai.simulate import simulate_cohort
from metakd_monai.vocabulary import Modality, UserError


def small(folder, **arguments):
    return simulate_cohort(folder, shape=(24, 28, 24), spacing=6.0, progress=False, **arguments)


def test_same_seed_same_bytes_and_larger_cohort_begins_with_the_smaller(tmp_path):
    small(tmp_path / "a", cases=1, seed=5)
    small(tmp_path / "b", cases=2, seed=5)
    files = sorted((tmp_path / "a").rglob("*.nii.gz"))
    assert len(files) == 5
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()
    small(tmp_path / "c", cases=1, seed=6)
    assert files[0].read_bytes() != (tmp_path / "c" / files[0].relative_to(tmp_path / "a")).read_bytes()


def test_layout_is_that_of_brats(cohort):
    cases = find_cases(cohort)
    assert [case.case_id for case in cases][:2] == ["Simulated_000", "Simulated_001"]
    assert all(len(case.files) == 4 and case.label for case in cases)
    image = nib.load(cases[0].files[Modality.T1])
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.get_data_dtype() == np.int16
    assert image.header.get_zooms() == (6, 6, 6)


def test_every_case_has_all_labels_inside_the_brain(cohort):
    for case in find_cases(cohort):
        labels, image = read_voxels(case.label), read_voxels(case.files[Modality.FLAIR])
        assert set(np.unique(labels)) == {0, 1, 2, 4}
        assert (image[labels > 0] > 0).all()
        assert (image[0] == 0).all()


def test_contrast_is_what_a_radiologist_expects(cohort):
    ratios = []
    for case in find_cases(cohort):
        labels = read_voxels(case.label)
        mean = {m: {v: np.median(read_voxels(path)[labels == v]) for v in (1, 2, 4)} for m, path in case.files.items()}
        ratios.append({m: mean[m][4] / mean[m][2] for m in Modality})
        assert mean[Modality.T1][1] < mean[Modality.T1][2]  # necrosis dark in T1
        brain = np.median(
            read_voxels(case.files[Modality.FLAIR])[(labels == 0) & (read_voxels(case.files[Modality.T2]) > 0)]
        )
        assert mean[Modality.FLAIR][2] > 1.2 * brain  # oedema bright in FLAIR
    for modality in Modality:
        mean_ratio = np.mean([ratio[modality] for ratio in ratios])
        assert mean_ratio > 1.5 if modality is Modality.T1CE else 0.85 < mean_ratio < 1.15  # rim in T1ce alone


def test_finished_cases_are_not_overwritten_unasked(tmp_path):
    small(tmp_path, cases=1)
    with pytest.raises(UserError, match="Simulated_000: exists already"):
        small(tmp_path, cases=2)
    assert len(small(tmp_path, cases=2, overwrite=True)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cases": 0}, "cases: 0 found; expected 1 to 100000"),
        ({"seed": -1}, "seed: -1 found; expected 0 or more"),
        ({"shape": (8, 8, 8)}, "at least 16 voxels"),
        ({"shape": (32, 32)}, "three sizes"),
        ({"spacing": 0.0}, "spacing: 0 mm found"),
    ],
)
def test_unusable_arguments(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        simulate_cohort(tmp_path, **arguments)


@pytest.mark.slow
def test_full_brats_size(tmp_path):
    (folder,) = simulate_cohort(tmp_path, cases=1, shape=(240, 240, 155), spacing=1.0, progress=False)
    image = nib.load(folder / f"{folder.name}_flair.nii.gz")
    expected = np.diag([-1.0, -1.0, 1.0, 1.0])
    expected[1, 3] = 239
    assert image.shape == (240, 240, 155)
    assert np.array_equal(image.affine, expected)
