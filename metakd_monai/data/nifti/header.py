"""Read the header of a NIfTI file, and check it before any voxel is read."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from metakd_monai.data.nifti.formats import NUMBERED, describe_format
from metakd_monai.data.nifti.gzip_stream import GZIP, START, DamageError, read_start
from metakd_monai.errors import UserError, in_one_line

AXES = 3
KINDS = ((nib.Nifti1Header, 344, b"n+1\0"), (nib.Nifti2Header, 4, b"n+2\0\r\n\x1a\n"))  # class, offset and magic
REAL = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
OTHER = {0: "unknown", 1: "bit", 32: "complex64", 128: "RGB", 1536: "float128", 1792: "complex128"}
OTHER |= {2048: "complex256", 2304: "RGBA"}
CODES = range(6)  # valid codes of sform and qform
FLAT = 1e-4  # smallest volume of a voxel relative to the product of its edges
QUIET = logging.getLogger(f"{__name__}.nibabel")  # nibabel logs what it repairs, such as a negative length
QUIET.disabled = True


@dataclass(frozen=True)
class NiftiFile:
    """A NIfTI file with a valid header.

    Attributes:
        path: where it is.
        header: nibabel's.
        shape: voxels along each axis, without axes of length 1 after the third.
        affine: ``(4, 4)``, from voxels to mm towards right, anterior, superior.
        dtype: of the voxels in the file, integer or floating-point.
        offset: bytes before the first voxel.
        slope: factor of stored values.
        intercept: constant added to them.
    """

    path: Path
    header: Any
    shape: tuple[int, ...]
    affine: np.ndarray
    dtype: np.dtype
    offset: int
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def is_scaled(self) -> bool:
        """Whether stored values differ from the real values."""
        return (self.slope, self.intercept) != (1, 0)

    @property
    def edges(self) -> tuple[float, ...]:
        """The lengths of a voxel's edges in mm, by the affine."""
        return tuple(float(edge) for edge in nib.affines.voxel_sizes(self.affine))

    @property
    def bytes(self) -> int:
        """How many bytes the file must have after decompression."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_nifti(path: str | Path) -> NiftiFile:
    """Read the header of a NIfTI-1 or NIfTI-2 file, gzipped or not, in either byte order.

    Raises:
        UserError: if the file is missing, unreadable, of another format, or its header is invalid: axes without voxels,
            voxels that are not real numbers, a non-finite scale, offset or affine, voxels without volume, or a size
            that differs from that of an uncompressed file.
    """
    place = Path(path)
    try:
        start = read_start(place, START)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); expected a NIfTI file") from None
    except DamageError as error:
        raise UserError(f"{path}: unreadable or truncated, expected a NIfTI file ({error})") from None
    try:
        return check_header(place, parse_header(place, start))
    except (HeaderDataError, ValueError, OverflowError, ArithmeticError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: {in_one_line(error)}; expected a sound NIfTI header") from None


def parse_header(path: Path, start: bytes) -> Any:
    """Return nibabel's header from a file's first bytes; raises UserError if they are not of a NIfTI file."""
    kind = next((kind for kind, place, magic in KINDS if start[place : place + len(magic)] == magic), None)
    if kind is None:
        known = describe_format(path, start)
        reason = "its first bytes are not a NIfTI header" if start else "empty"
        raise UserError(
            f"{path}: {known}" if known else f"{path}: unreadable or truncated, expected a NIfTI file ({reason})"
        )
    length = kind.template_dtype.itemsize
    if len(start) < length + 4:
        raise UserError(f"{path}: unreadable or truncated, expected a NIfTI file ({len(start)} bytes of its header)")
    if start[:4] not in NUMBERED:
        found = int.from_bytes(start[:4], "little", signed=True)
        raise UserError(f"{path}: sizeof_hdr {found} found; expected {length}")
    order = "<" if int.from_bytes(start[:4], "little") == length else ">"
    return kind(start[:length], endianness=order, check=False)


def check_header(path: Path, header: Any) -> NiftiFile:
    """Return the content of a header; raises UserError, or what nibabel raises, if it is invalid."""
    shape = check_axes(path, header)
    dtype = check_dtype(path, header)
    offset = check_offset(path, header)
    slope, intercept = check_scale(path, header)
    for name in ("sform_code", "qform_code"):
        if int(header[name]) not in CODES:
            raise UserError(f"{path}: {name} {int(header[name])} found; expected {CODES.start} to {CODES.stop - 1}")
    lengths = header["pixdim"][1 : 1 + min(AXES, int(header["dim"][0]))]
    if not (np.isfinite(lengths) & (lengths != 0)).all():
        raise UserError(f"{path}: voxels with edges of {show(lengths)} mm found (pixdim); expected lengths above 0")
    header.check_fix(logger=QUIET, error_level=40)
    affine = check_affine(path, header.get_best_affine())
    file = NiftiFile(path, header, shape, affine, dtype, offset, slope, intercept)
    check_size(file)
    return file


def check_axes(path: Path, header: Any) -> tuple[int, ...]:
    """Return the shape, without axes of length 1 after the third; raises UserError for an axis without voxels."""
    axes = int(header["dim"][0])
    if not 1 <= axes < len(header["dim"]):
        raise UserError(f"{path}: {axes} axes found (dim[0]); expected 1 to {len(header['dim']) - 1}")
    shape = [int(length) for length in header["dim"][1 : 1 + axes]]
    if min(shape) < 1:
        raise UserError(f"{path}: shape {tuple(shape)} found; expected at least one voxel along each axis")
    while len(shape) > AXES and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def check_dtype(path: Path, header: Any) -> np.dtype:
    """Return the data type of the voxels; raises UserError if they are not real numbers."""
    code = int(header["datatype"])
    if code not in REAL:
        name = OTHER.get(code, "unknown")
        raise UserError(
            f"{path}: voxels of data type {code} ({name}) found; expected integers or floats, up to 64 bits"
        )
    return np.dtype(REAL[code]).newbyteorder(header.endianness)


def check_offset(path: Path, header: Any) -> int:
    """Return where the voxels begin; raises UserError if that is within the header, or not finite."""
    found = float(header["vox_offset"])
    least = header.sizeof_hdr + 4
    if not (math.isfinite(found) and found >= least and found == int(found)):
        raise UserError(f"{path}: voxels that begin at byte {found:g} found (vox_offset); expected {least} or more")
    return int(found)


def check_scale(path: Path, header: Any) -> tuple[float, float]:
    """Return slope and intercept, 1 and 0 if the slope is 0, as in NIfTI; raises UserError for NaN or infinity.

    NaN stands for no scale only in nibabel's memory, not in a file.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise UserError(f"{path}: values scaled by {slope:g} and shifted by {intercept:g} found; expected numbers")
    return (slope, intercept) if slope else (1.0, 0.0)


def check_affine(path: Path, affine: np.ndarray) -> np.ndarray:
    """Return an affine; raises UserError if it is not finite, or its voxels have no volume."""
    if not np.isfinite(affine).all():
        raise UserError(f"{path}: affine {show(affine[:AXES])} found; expected finite numbers")
    brick = math.prod(nib.affines.voxel_sizes(affine))
    if not (0 < brick < math.inf and abs(np.linalg.det(affine[:AXES, :AXES])) > FLAT * brick):
        raise UserError(f"{path}: affine {show(affine[:AXES])} found, whose voxels have no volume; expected some")
    return affine


def check_size(file: NiftiFile) -> None:
    """Raise UserError if the size of an uncompressed file differs from its header."""
    with file.path.open("rb") as content:
        packed = content.read(len(GZIP)) == GZIP
    found = file.path.stat().st_size
    if not packed and found != file.bytes:
        raise UserError(
            f"{file.path}: unreadable or truncated, expected a complete NIfTI file"
            f" ({found} bytes; its header declares {file.bytes})"
        )


def show(numbers: Sequence[Any] | np.ndarray) -> list[Any]:
    """Return numbers for a message, with few digits."""
    rounded: list[Any] = np.round(np.asarray(numbers, dtype=float), 3).tolist()
    return rounded
