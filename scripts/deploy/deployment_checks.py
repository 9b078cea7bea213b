"""What the trials of MONAI Label and MONAI Deploy share: masks that are expected, and comparisons."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from metakd_monai.vocabulary import Label, Modality

LACKING = Modality.T1CE
ALL = [m.value for m in Modality]
OTHERS = [m.value for m in Modality if m is not LACKING]


def stack(case: Any) -> nib.Nifti1Image:
    """Return the four sequences of a case as one 4-D image."""
    images = [nib.load(case.files[m]) for m in Modality]
    return nib.Nifti1Image(np.stack([np.asarray(i.dataobj) for i in images], axis=-1), images[0].affine)


def predict(
    case: Path, output: Path, weights: Path, modalities: list[str], et_label: Label = Label.ET_2023
) -> nib.Nifti1Image:
    """Return the mask of ``metakd predict``; enhancing tumour has the bundle's value unless said."""
    shutil.rmtree(output, ignore_errors=True)
    command = ["metakd", "predict", str(case), "--output", str(output), "--weights", str(weights)]
    options = ["--modalities", ",".join(modalities), "--et-label", str(int(et_label)), "--no-preview"]
    subprocess.run([*command, *options, "--device", "cpu"], check=True, capture_output=True)
    return read(next(output.glob("*.nii.gz")))


def read(path: Path | str) -> nib.Nifti1Image:
    """Read a mask into memory: its file may be replaced."""
    image = nib.load(path)
    return nib.Nifti1Image(np.asarray(image.dataobj), image.affine)


def check(what: str, holds: bool, details: object = "") -> None:
    """Print what holds; end with status 1 when it does not."""
    if not holds:
        raise SystemExit(f"FAILED {what} {details}")
    print(f"ok   {what}", flush=True)


def same(what: str, mask: nib.Nifti1Image, expected: nib.Nifti1Image) -> None:
    """Compare two masks voxel for voxel, on one grid."""
    found, wanted = np.asarray(mask.dataobj), np.asarray(expected.dataobj)
    grid = np.allclose(mask.affine, expected.affine, atol=1e-4) and mask.get_data_dtype() == np.uint8
    counts = dict(zip(*(values.tolist() for values in np.unique(wanted, return_counts=True)), strict=True))
    differ = int((found != wanted).sum())
    check(
        f"{what}: {differ} of {wanted.size} voxels differ; labels {counts}", differ == 0 and grid and len(counts) == 4
    )
