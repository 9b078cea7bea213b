"""Write the NIfTI sequences of a case as DICOM series, to try DICOM software with images whose voxels are known.

Usage: python scripts/deploy/make_dicom_series.py CASE OUTPUT [--patient ID] [--crop 100,100,60] [--nifti FOLDER]

One MR series for each sequence, axial slices, one study and frame of reference for each patient; needs pydicom.
"""

import argparse
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from metakd_monai.data.cases import find_cases
from metakd_monai.vocabulary import Modality

DESCRIPTIONS = {
    Modality.FLAIR: "AX T2 FLAIR",
    Modality.T1: "AX T1",
    Modality.T1CE: "AX T1 POST GAD",
    Modality.T2: "AX T2",
}


def write_case(
    case_dir: Path, output: Path, patient: str | None, crop: tuple[int, ...] | None, nifti: Path | None
) -> None:
    """Write all sequences of a case, or a box in their middle, below a folder; and the same as NIfTI if asked."""
    case = find_cases(case_dir)[0]
    if isinstance(case.files, Path):
        raise SystemExit(f"{case_dir}: a 4-D file; expected a folder with one file for each sequence")
    patient = patient or case.case_id
    uids = {name: generate_uid(entropy_srcs=[patient, name]) for name in ("study", "frame")}
    for number, (modality, path) in enumerate(case.files.items(), start=1):
        image = nib.load(path)
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("LPS"))
        image = middle(image.as_reoriented(turn), crop)
        folder = output / f"{number}_{modality.value}"
        folder.mkdir(parents=True)
        write_series(image, folder, patient, modality, number, uids)
        if nifti is not None:
            nifti.mkdir(parents=True, exist_ok=True)
            nib.save(image, nifti / f"{case.case_id}_{modality.value}.nii.gz")


def middle(image: nib.Nifti1Image, size: tuple[int, ...] | None) -> nib.Nifti1Image:
    """Cut a box out of the middle of an image."""
    if size is None:
        return image
    starts = [(length - wanted) // 2 for length, wanted in zip(image.shape, size, strict=True)]
    return image.slicer[tuple(slice(s, s + wanted) for s, wanted in zip(starts, size, strict=True))]


def write_series(
    image: nib.Nifti1Image, folder: Path, patient: str, modality: Modality, number: int, uids: dict[str, Any]
) -> None:
    """Write one volume, axes towards left, posterior, superior, slice by slice."""
    affine = np.diag([-1, -1, 1, 1]) @ image.affine  # DICOM's axes are left, posterior, superior
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    voxels = np.asarray(image.dataobj)
    series = generate_uid(entropy_srcs=[patient, modality.value])
    for slice_ in range(voxels.shape[2]):
        pixels = voxels[:, :, slice_].T  # rows run towards posterior, columns towards left
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage
        uid = generate_uid(entropy_srcs=[patient, modality.value, str(slice_)])
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid
        data.PatientID = data.PatientName = patient
        data.PatientBirthDate = data.PatientSex = data.AccessionNumber = data.ReferringPhysicianName = ""
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = uids["study"], series, uids["frame"]
        data.StudyID, data.StudyDate, data.StudyTime = "1", "20200101", "120000"
        data.Modality, data.Manufacturer, data.PositionReferenceIndicator = "MR", "", ""
        data.SeriesNumber, data.InstanceNumber = number, slice_ + 1
        data.SeriesDescription = DESCRIPTIONS[modality]
        data.ScanningSequence, data.SequenceVariant, data.ImageType = "SE", "NONE", ["DERIVED", "SECONDARY"]
        data.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        data.SliceThickness = float(spacing[2])
        data.ImageOrientationPatient = [float(v) for v in (*directions[:, 0], *directions[:, 1])]
        data.ImagePositionPatient = [float(v) for v in affine[:3] @ [0, 0, slice_, 1]]
        data.Rows, data.Columns = pixels.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelData = np.ascontiguousarray(pixels, dtype="<i2").tobytes()
        data.save_as(folder / f"{slice_:03d}.dcm", enforce_file_format=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case_dir", metavar="CASE", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--patient")
    parser.add_argument("--crop", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--nifti", type=Path, help="write the same voxels as NIfTI files to this folder")
    write_case(**vars(parser.parse_args()))
