"""Write the NIfTI sequences of a case as DICOM series, to try DICOM software with images whose voxels are known.

Usage: python scripts/deploy/make_dicom_series.py CASE OUTPUT [--patient ID] [--crop 100,100,60] [--nifti FOLDER]

One MR series for each sequence, axial slices, one study and frame of reference for each patient; needs pydicom.
"""

import argparse
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from metakd_monai.data.cases import find_cases

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

from raw_dicom import SEQUENCES, write_series


def write_case(
    case_dir: Path, output: Path, patient: str | None, crop: tuple[int, ...] | None, nifti: Path | None
) -> None:
    """Write all sequences of a case, or a box in their middle, below a folder; and the same as NIfTI if asked."""
    case = find_cases(case_dir)[0]
    if isinstance(case.files, Path):
        raise SystemExit(f"{case_dir}: a 4-D file; expected a folder with one file for each sequence")
    patient = patient or case.case_id
    for number, (modality, path) in enumerate(case.files.items(), start=1):
        image = nib.load(path)
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("LPS"))
        image = middle(image.as_reoriented(turn), crop)
        voxels = np.asarray(image.dataobj).clip(0).astype(np.uint16)
        folder = output / f"{number}_{modality.value}"
        write_series(folder, voxels, image.affine, str(number), PatientID=patient, **SEQUENCES[modality])
        if nifti is not None:
            nifti.mkdir(parents=True, exist_ok=True)
            nib.save(image, nifti / f"{case.case_id}_{modality.value}.nii.gz")


def middle(image: nib.Nifti1Image, size: tuple[int, ...] | None) -> nib.Nifti1Image:
    """Cut a box out of the middle of an image."""
    if size is None:
        return image
    starts = [(length - wanted) // 2 for length, wanted in zip(image.shape, size, strict=True)]
    return image.slicer[tuple(slice(s, s + wanted) for s, wanted in zip(starts, size, strict=True))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case_dir", metavar="CASE", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--patient")
    parser.add_argument("--crop", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--nifti", type=Path, help="write the same voxels as NIfTI files to this folder")
    write_case(**vars(parser.parse_args()))
