"""DICOM series in a folder, found and grouped by their headers, whatever the files' names and folders."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from metakd_monai.apps.raw.dicom_values import Groups, as_list, dicom_silenced, floats, group
from metakd_monai.data.cases import NIFTI, walk
from metakd_monai.data.nifti import AXES
from metakd_monai.errors import UserError

logger = logging.getLogger(__name__)

MAGIC_AT, MAGIC = 128, b"DICM"
IMAGE_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")  # MR
PARALLEL = 1e-3  # difference of direction cosines up to which two slices are parallel
UNEVEN = 0.05  # share by which the distance of slices may vary
SAME_PLACE = 0.01  # mm up to which two slices are at the same place
TO_RAS = np.diag([-1.0, -1.0, 1.0])
TEXTS = {
    "description": "SeriesDescription",
    "protocol": "ProtocolName",
    "agent": "ContrastBolusAgent",
    "acquisition": "MRAcquisitionType",
}
NUMBERS = {"tr": "RepetitionTime", "te": "EchoTime", "ti": "InversionTime", "number": "SeriesNumber"}
LISTS = {"sequence": "ScanningSequence", "variant": "SequenceVariant", "image_type": "ImageType"}


@dataclass(frozen=True)
class Frame:
    """One slice: its file, its number in it, the middle of its first voxel in mm to left, posterior, superior."""

    file: Path
    index: int
    position: tuple[float, ...]
    instance: str


@dataclass(frozen=True)
class DicomSeries:
    """A stack of parallel slices of one series.

    Attributes:
        series_uid: SeriesInstanceUID.
        study_uid: StudyInstanceUID.
        patient_id: PatientID; may be empty.
        study_date: as DICOM has it; may be empty.
        texts: of :data:`TEXTS` and :data:`LISTS`, in small letters.
        numbers: of :data:`NUMBERS`, as far as known.
        size: rows and columns.
        orientation: direction cosines of rows and columns.
        spacing: between rows and between columns, in mm.
        thickness: of a slice in mm; 0 if unknown.
        frames: the slices, in no order.
        notes: what was repaired.
    """

    series_uid: str
    study_uid: str
    patient_id: str
    study_date: str
    texts: dict[str, str]
    numbers: dict[str, float]
    size: tuple[int, int]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float
    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Its files, each once."""
        return sorted({frame.file for frame in self.frames})

    @property
    def name(self) -> str:
        """Its name for people: its description, or its number."""
        return self.texts.get("description") or f"series {self.numbers.get('number', 0):.0f}"

    @property
    def normal(self) -> np.ndarray:
        """The direction across the slices, ``(3,)``."""
        return np.cross(self.orientation[:AXES], self.orientation[AXES:])


def find_dicom(folder: Path) -> dict[str, list[DicomSeries]]:
    """Return the MR series below a folder by study, in the order of their numbers; empty if there is no DICOM file.

    Raises:
        UserError: when there are DICOM files, but pydicom is not installed.
    """
    stacks: dict[tuple[Any, ...], list[DicomSeries]] = {}
    for path in dicom_files(folder):
        for piece in read_pieces(path):
            key = (
                piece.study_uid,
                piece.series_uid,
                piece.size,
                *np.round(piece.orientation, 2),
                piece.numbers.get("te"),
            )
            stacks.setdefault((*key, piece.texts.get("image_type")), []).append(piece)
    studies: dict[str, list[DicomSeries]] = {}
    for pieces in stacks.values():
        whole = replace(pieces[0], frames=tuple(frame for piece in pieces for frame in piece.frames))
        studies.setdefault(f"{whole.patient_id}/{whole.study_uid}", []).append(drop_copies(whole))
    for members in studies.values():
        members.sort(key=lambda s: (s.numbers.get("number", 0.0), s.series_uid))
    return studies


def dicom_files(folder: Path) -> Iterator[Path]:
    """Yield the DICOM files below a folder, recognised by their first bytes."""
    for place in walk(folder):
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or NIFTI.search(path.name) or not path.is_file() or path.name == "DICOMDIR":
                continue
            try:
                with path.open("rb") as content:
                    start = content.read(MAGIC_AT + len(MAGIC))
            except OSError:
                continue
            if start[MAGIC_AT:] == MAGIC:
                yield path


def read_pieces(path: Path) -> list[DicomSeries]:
    """Return the pieces of MR series in a file; none if it is something else or unreadable."""
    if find_spec("pydicom") is None:
        raise UserError(
            f"{path.name}: DICOM found, and pydicom is not installed; expected pip install 'metakd-monai[raw]'"
        )
    import pydicom

    try:
        with dicom_silenced():
            data = pydicom.dcmread(path, stop_before_pixels=True)
            if str(data.get("SOPClassUID", "")) not in IMAGE_CLASSES:
                return []
            return [piece_of(path, data)] if "PerFrameFunctionalGroupsSequence" not in data else pieces_of(path, data)
    except Exception as error:  # one bad file of many; the error may quote the patient's name
        logger.warning("%s: skipped, not a valid DICOM file (%s)", path.name, type(error).__name__)
        return []


def piece_of(path: Path, data: Any) -> DicomSeries:
    """Return a classic file, which is one slice."""
    position = floats(data.ImagePositionPatient)
    frame = Frame(path, 0, position, str(data.get("SOPInstanceUID", path)))
    return describe(data, data, floats(data.ImageOrientationPatient), floats(data.PixelSpacing), [frame])


def pieces_of(path: Path, data: Any) -> list[DicomSeries]:
    """Return an enhanced file: one piece for each orientation and echo time among its frames."""
    shared = data.SharedFunctionalGroupsSequence[0] if data.get("SharedFunctionalGroupsSequence") else None
    pieces = []
    for index, own in enumerate(data.PerFrameFunctionalGroupsSequence):
        groups = [own, *([shared] if shared is not None else [])]
        where = group(groups, "PlanePositionSequence").ImagePositionPatient
        turned = group(groups, "PlaneOrientationSequence").ImageOrientationPatient
        measures = group(groups, "PixelMeasuresSequence")
        frame = Frame(path, index, floats(where), f"{data.get('SOPInstanceUID', path)}/{index}")
        pieces.append(describe(data, Groups(groups, data), floats(turned), floats(measures.PixelSpacing), [frame]))
    return pieces


def describe(
    data: Any, values: Any, orientation: tuple[float, ...], spacing: tuple[float, ...], frames: list[Frame]
) -> DicomSeries:
    """Return a piece of a series from its file's header."""
    texts = {name: str(values.get(tag) or "").strip().lower() for name, tag in TEXTS.items()}
    texts |= {name: " ".join(map(str, as_list(values.get(tag)))).lower() for name, tag in LISTS.items()}
    if data.get("ContrastBolusAgentSequence"):
        texts["agent"] = texts["agent"] or "given"
    numbers = {name: float(found[0]) for name, tag in NUMBERS.items() if (found := as_list(values.get(tag)))}
    return DicomSeries(
        str(data.SeriesInstanceUID),
        str(data.get("StudyInstanceUID", "")),
        str(data.get("PatientID") or "").strip(),
        str(data.get("StudyDate") or ""),
        texts,
        numbers,
        (int(data.Rows), int(data.Columns)),
        orientation,
        (spacing[0], spacing[1]),
        float(as_list(values.get("SliceThickness") or 0)[0]),
        tuple(frames),
    )


def drop_copies(series: DicomSeries) -> DicomSeries:
    """Drop repeated slices with the same instance UID, and note it."""
    once = {frame.instance: frame for frame in series.frames}
    dropped = len(series.frames) - len(once)
    note = (f"{series.name}: {dropped} copies of slices skipped",) if dropped else ()
    return replace(series, frames=tuple(once.values()), notes=(*series.notes, *note))
