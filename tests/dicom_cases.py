"""A study of two series, a mask on the grid of one, and its results as DICOM."""

from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from raw_dicom import write_series

from metakd_monai.apps.dicom_results.write_objects import REPORT, write_results
from metakd_monai.apps.raw.raw_cases import find_raw_cases
from metakd_monai.vocabulary import Modality

FLAIR, T1, T1CE, T2 = Modality
AFFINE = np.diag([-4.0, -3.5, 5.0, 1.0]) + np.outer([70, 60, -40, 0], [0, 0, 0, 1])
OTHER = np.diag([-3.0, -3.0, 6.0, 1.0]) + np.outer([75, 62, -41, 0], [0, 0, 0, 1])
FLAIR_TIMES = {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
WORDS = {"SeriesDescription": "AX FLAIR", **FLAIR_TIMES}
REPORTED = {
    "settings": {"weights_sha256": "ab" * 32},
    "modalities": {"used": ["flair", "t1ce"], "missing": ["t1", "t2"]},
    "expected": {
        "predicted": {"WT": {"dice": 0.87, "low": 0.8, "high": 0.92, "flagged": False}},
        "dice": {region: {"cases": 28, "median": 0.7, "low": 0.5, "high": 0.9} for region in ("ET", "WT")},
    },
    "warnings": ["the skull seems to be there"],
}


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, shape).astype(np.uint16)


def write_study(folder: Path) -> Path:
    """Write the study into ``study`` below a folder."""
    write_series(folder / "study", noise(40, 36, 16), AFFINE, "1", **WORDS)
    write_series(folder / "study", noise(30, 32, 16), OTHER, "2", SeriesDescription="AX T1 POST")
    return folder / "study"


def draw(shape=(40, 36, 16)) -> np.ndarray:
    """Return a label map of nested boxes, in no symmetry."""
    labels = np.zeros(shape, np.uint8)
    labels[8:30, 10:25, 3:12] = 2
    labels[12:25, 12:20, 5:11] = 1
    labels[14:20, 15:19, 6:9] = 4
    return labels


def results(study: Path, labels: np.ndarray | None = None, report: dict = REPORTED, grid=FLAIR, affine=AFFINE) -> Path:
    """Write results of a study beside it; return their folder."""
    folder = study.parent
    nib.save(nib.Nifti1Image(draw() if labels is None else labels, affine), folder / "mask.nii.gz")
    Image.fromarray(noise(50, 60, 3).astype(np.uint8)).save(folder / "picture.png")
    (case,) = find_raw_cases(study)
    write_results(folder / "out", folder / "mask.nii.gz", case.series, report, grid, folder / "picture.png")
    return folder / "out"


def voxels_of(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the segments of a SEG file, ``(R, columns, rows, slices)``, placed by their own positions."""
    data = pydicom.dcmread(path)
    found = np.zeros((len(data.SegmentSequence), *shape), np.uint8)
    for frame, groups in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float) * [-1, -1, 1]
        where = np.linalg.solve(affine, [*place, 1])
        assert np.allclose(where[:2], 0, atol=1e-3)
        found[number - 1, :, :, round(where[2])] = frame.T
    return found


def change(study: Path, **values) -> None:
    """Set attributes in all files of a study; None takes one away."""
    for path in study.iterdir():
        data = pydicom.dcmread(path)
        for name, value in values.items():
            if value is None:
                del data[name]
            else:
                setattr(data, name, value)
        data.save_as(path)


def groups_of(folder: Path) -> list:
    return hd.sr.srread(folder / REPORT).content.get_volumetric_roi_measurement_groups()
