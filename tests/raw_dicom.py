"""DICOM series as scanners write them: classic slices, or one enhanced multi-frame file."""

import zlib
from pathlib import Path

import numpy as np

from metakd_monai.vocabulary import Modality

CLASSIC, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
UIDS = "1.2.826.0.1.3680043.8.498."
SEQUENCES = {  # what series of each sequence say of themselves
    Modality.FLAIR: {
        "SeriesDescription": "AX T2 FLAIR",
        "RepetitionTime": 9000,
        "EchoTime": 120,
        "InversionTime": 2500,
    },
    Modality.T1: {"SeriesDescription": "AX T1"},
    Modality.T1CE: {"SeriesDescription": "AX T1 POST GAD", "ContrastBolusAgent": "Gadobutrol"},
    Modality.T2: {"SeriesDescription": "AX T2", "RepetitionTime": 5000, "EchoTime": 100},
}
MAY_BE_EMPTY = (
    *("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime"),
    *("ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator", "ScanOptions", "EchoTrainLength"),
)
DEFAULTS = {"SeriesDescription": "AX T1", "RepetitionTime": 600, "EchoTime": 10, "ScanningSequence": "SE"}


def root_of(values: dict) -> str:
    """Return what the UIDs of a patient begin with."""
    patient = values.get("PatientID")
    return UIDS if patient is None else f"{UIDS}{zlib.crc32(patient.encode())}."


def base(uid: str, series: str, values: dict) -> "object":
    """Return a data set with all but its place."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CLASSIC, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("x", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = CLASSIC, uid, "MR"
    root = root_of(values)
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{root}1", f"{root}2.{series}"
    data.FrameOfReferenceUID = f"{root}4"
    data.PatientID, data.StudyDate, data.SeriesNumber = "P1", "20200102", int(series)
    for name in MAY_BE_EMPTY:
        setattr(data, name, "")
    data.BodyPartExamined, data.PatientPosition, data.InstanceNumber = "BRAIN", "HFS", 1
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    data.MRAcquisitionType, data.SequenceVariant = "2D", "SK"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    echo = {"ScanningSequence": ["SE", "IR"]} if "InversionTime" in values else {}
    for name, value in {**DEFAULTS, **echo, **values}.items():
        setattr(data, name, value)
    return data


def places(affine: np.ndarray, number: int) -> tuple[list[float], list[float], list[float]]:
    """Return DICOM's position, orientation and spacing of one slice of a volume with an affine."""
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    edges = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    position = (lps @ [0, 0, number, 1])[:3]
    orientation = [*(lps[:3, 0] / edges[0]), *(lps[:3, 1] / edges[1])]
    return decimals(position), decimals(orientation), decimals((edges[1], edges[0]))


def decimals(values) -> list[float]:
    """Return numbers as DICOM writes them, in at most 16 letters."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(value), auto_format=True) for value in values]


def write_series(
    folder: Path, voxels: np.ndarray, affine: np.ndarray, series: str = "1", ending: str = ".dcm", **values
) -> list[Path]:
    """Write a volume ``(x, y, z)`` uint16 as classic slices, in names that say nothing of their order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    order = np.random.default_rng(int(series)).permutation(voxels.shape[2])
    for name, number in enumerate(order):
        data = base(f"{root_of(values)}3.{series}.{number + 1}", series, values)
        data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing = places(affine, int(number))
        (data.SliceThickness,) = decimals([np.linalg.norm(affine[:3, 2])])
        data.InstanceNumber = int(number) + 1
        data.Rows, data.Columns = voxels.shape[1], voxels.shape[0]
        data.PixelData = voxels[:, :, number].T.astype("<u2").tobytes()
        paths.append(folder / f"IM{series}_{name:04d}{ending}")
        data.save_as(paths[-1], enforce_file_format=True)
    return paths


def write_enhanced(path: Path, voxels: np.ndarray, affine: np.ndarray, **values) -> None:
    """Write a volume as one enhanced file, its frames shuffled."""
    from pydicom.dataset import Dataset

    data = base(f"{UIDS}3.9.1", "9", {})
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = ENHANCED
    for name in ("RepetitionTime", "EchoTime", "ScanningSequence"):
        delattr(data, name)
    data.SeriesDescription = values["SeriesDescription"]

    def item(**fields):
        made = Dataset()
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    order = np.random.default_rng(9).permutation(voxels.shape[2])
    _, orientation, spacing = places(affine, 0)
    (thick,) = decimals([np.linalg.norm(affine[:3, 2])])
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=spacing, SliceThickness=thick)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=orientation)],
        MRTimingAndRelatedParametersSequence=[item(RepetitionTime=values["RepetitionTime"])],
        MREchoSequence=[item(EffectiveEchoTime=values["EchoTime"])],
        MRModifierSequence=[item(InversionTimes=values["InversionTime"])],
    )
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=places(affine, int(number))[0])]) for number in order
    ]
    data.NumberOfFrames, data.Rows, data.Columns = len(order), voxels.shape[1], voxels.shape[0]
    data.PixelData = np.stack([voxels[:, :, n].T for n in order]).astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def pack(path: Path, kind: str) -> None:
    """Write a slice anew with its pixels compressed without loss: ``JPEG``, ``JPEG2000`` or ``RLE``."""
    import itk
    import pydicom
    from pydicom.uid import RLELossless

    data = pydicom.dcmread(path)
    if kind == "RLE":
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(path)
        return
    image, packed = itk.image_from_array(data.pixel_array), path.with_suffix(".packed")
    packer = itk.GDCMImageIO.New()
    packer.SetCompressionType(getattr(itk.GDCMImageIOEnums, f"Compression_{kind}"))
    writer = itk.ImageFileWriter[type(image)].New(Input=image, FileName=str(packed), ImageIO=packer)
    writer.UseCompressionOn()
    writer.Update()
    found = pydicom.dcmread(packed)
    packed.unlink()
    data.file_meta.TransferSyntaxUID, data.PixelData = found.file_meta.TransferSyntaxUID, found.PixelData
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
