"""The source series of a result: their completed headers, and UIDs determined by everything that made the result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom.valuerep import DA, TM

from metakd_monai.apps.raw.dicom_headers import DicomSeries, Frame
from metakd_monai.apps.raw.dicom_volume import grid_of, order_slices
from metakd_monai.data.nifti import NiftiFile, check_grid
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

# Attributes that DICOM wants in every object, and which may be empty.
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
SEXES = ("M", "F", "O")


@dataclass(frozen=True)
class Sources:
    """The sources of a result.

    Attributes:
        grid: the series on whose grid the mask is.
        frames: its slices in the order of the mask's last axis.
        step: from each slice to the next in mm, ``(3,)``.
        headers: of the grid's files, in the order of its slices, without pixels.
        others: headers of the other series.
    """

    grid: DicomSeries
    frames: Sequence[Frame]
    step: np.ndarray
    headers: Sequence[Any]
    others: Sequence[Any]

    def check_grid(self, mask: Path, file: NiftiFile) -> None:
        """Raise UserError for a mask that is on another grid."""
        shape, affine = grid_of(self.grid, self.frames, self.step)
        check_grid(mask, file.shape, file.affine, shape, affine, self.grid.name)

    @property
    def everything(self) -> list[Any]:
        """All headers."""
        return [*self.headers, *self.others]


def read_sources(series: Mapping[Modality, DicomSeries], grid: Modality) -> Sources:
    """Read the headers of all series.

    Raises:
        UserError: for a grid that is none of them, slices that form no regular volume, or missing UIDs.
    """
    if grid not in series:
        names = ", ".join(modality.value for modality in series)
        raise UserError(f"grid: {grid.value} found; expected one of the series used ({names})")
    frames, step = order_slices(series[grid])
    files = list(dict.fromkeys(frame.file for frame in frames))
    headers = [read_header(file) for file in files]
    others = [read_header(file) for modality, one in series.items() if modality is not grid for file in one.files]
    return Sources(series[grid], frames, step, headers, others)


def read_header(path: Path) -> Any:
    """Read a file's header; attributes that may be empty are emptied if they are missing or invalid.

    Raises:
        UserError: for a missing UID.
    """
    header = pydicom.dcmread(path, stop_before_pixels=True)
    missing = [name for name in NEEDED if not header.get(name)]
    if missing:
        raise UserError(f"{path.name}: no {missing[0]} found; expected one, as results refer to it")
    for name in MAY_BE_EMPTY:
        setattr(header, name, sound(name, header.get(name)))
    return header


def sound(name: str, value: Any) -> Any:
    """Return a value of an attribute, or an empty one where DICOM does not allow it."""
    if value is None or (name == "PatientSex" and value not in SEXES):
        return ""
    if name.endswith(("Date", "Time")):
        kind = DA if name.endswith("Date") else TM
        with contextlib.suppress(ValueError, TypeError):
            kind(value)
            return value
        return ""
    return value


@dataclass(frozen=True)
class Identity:
    """UIDs of results, the same whenever the same result is made again.

    Attributes:
        digest: of everything that made the result.
    """

    digest: str

    def uid(self, *names: str) -> hd.UID:
        """Return the UID of a part of the result."""
        return hd.UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join((self.digest, *names)))))


def identify(sources: Sources, labels: np.ndarray, settings: Mapping[str, Any]) -> Identity:
    """Return the identity of a mask ``(columns, rows, slices)`` uint8, given its sources and settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for uid in (sources.grid.series_uid, *sorted(str(header.SOPInstanceUID) for header in sources.everything)):
        digest.update(uid.encode())
    digest.update(np.ascontiguousarray(labels).tobytes())
    return Identity(digest.hexdigest())
