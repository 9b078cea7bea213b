"""Read voxels to the end of their file; write them on the exact grid of another file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling

from metakd_monai.data.files import write_safely
from metakd_monai.data.memory_limit import check_memory
from metakd_monai.data.nifti.gzip_stream import DamageError, read_to_end, verify
from metakd_monai.data.nifti.header import NiftiFile, read_nifti
from metakd_monai.errors import UserError

WHOLE = 1e-3  # largest distance of a label from an integer
LABELS = 256  # number of label values, from 0
FEW = 8  # values shown in a message


def read_voxels(path: str | Path, file: NiftiFile | None = None, out: np.ndarray | None = None) -> np.ndarray:
    """Read all voxels as float32, scaled as the header says, without axes of length 1 after the third.

    Args:
        path: of the file.
        file: its header, if it has been read.
        out: float32 array of the file's shape to read into; None for a new one.

    Raises:
        UserError: as in :func:`read_nifti`; if the volume does not fit into memory; and if the file does not match its
            header: truncated, with extra bytes at its end, or with a wrong checksum.
    """
    file = read_nifti(path) if file is None else file
    stored = read_stored(file)
    with np.errstate(over="ignore"):  # gives infinity, which is then refused
        if file.is_scaled:
            stored = apply_read_scaling(stored, np.float64(file.slope), np.float64(file.intercept))
        if out is None:
            return stored.astype(np.float32, copy=False)
        np.copyto(out, stored, casting="unsafe")
        return out


def read_labels(path: str | Path, file: NiftiFile | None = None) -> np.ndarray:
    """Read a label map as uint8; values within 0.001 of an integer are rounded.

    Args:
        path: of the file.
        file: its header, if it has been read.

    Raises:
        UserError: as in :func:`read_voxels`, and for values that are not integers from 0 to 255.
    """
    file = read_nifti(path) if file is None else file
    values = read_voxels(path, file) if file.is_scaled or file.dtype.kind == "f" else read_stored(file)
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.uint8)
        if np.array_equal(labels, values):
            return labels
        labels = np.rint(values).astype(np.uint8)
        strange = np.unique(values[~(np.abs(values - labels.astype(np.float32)) <= WHOLE)])
    if strange.size:
        found = ", ".join(f"{value:.7g}" for value in strange[:FEW]) + (", ..." if strange.size > FEW else "")
        raise UserError(
            f"{path}: label values {found} found; expected whole numbers from 0 to {LABELS - 1}, within {WHOLE:g}"
        )
    return labels


def read_stored(file: NiftiFile) -> np.ndarray:
    """Return the stored voxels, not scaled, first axis fastest; see :func:`read_voxels`."""
    sizes = file.dtype.itemsize + (12 if file.is_scaled else 4)  # as stored, and as read
    check_memory(file.path, file.offset + math.prod(file.shape) * sizes)
    content = run_to_end(read_to_end, file)
    return np.ndarray(file.shape, file.dtype, content.data, file.offset, order="F")


def verify_voxels(file: NiftiFile) -> None:
    """Read a file to its end without keeping it; raises UserError if it does not match its header."""
    run_to_end(verify, file)


def run_to_end(read: Callable[[Path, int], Any], file: NiftiFile) -> Any:
    """Run a function of :mod:`~metakd_monai.data.nifti.gzip_stream` on a file; failures become UserError."""
    try:
        return read(file.path, file.bytes)
    except MemoryError:
        raise UserError(f"{file.path}: its header declares {file.bytes} bytes; expected what fits in memory") from None
    except (DamageError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{file.path}: unreadable or truncated, expected a complete NIfTI file ({reason})") from None


def write_like(path: Path, voxels: np.ndarray, reference: str | Path) -> None:
    """Write voxels with affine and header of a reference file, so that ITK considers the grids equal.

    Args:
        path: output file; written under a temporary name, then renamed.
        voxels: ``(*S)`` or ``(*S, C)``, in the dtype to write.
        reference: the file that defines the grid.
    """
    source = read_nifti(reference)
    is_old = not isinstance(source.header, nib.Nifti2Header)
    header = source.header.copy() if is_old else nib.Nifti1Header()  # ITK reads NIfTI-1, but not NIfTI-2
    header.set_data_dtype(voxels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    image = nib.Nifti1Image(voxels, source.affine, header)
    # The constructor rounds sform and qform; copy the reference's bytes, which define the grid.
    for field in ("xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"):
        image.header[field] = source.header[field]
    for field in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
        image.header[field] = source.header[field]
    image.header["pixdim"][:4] = source.header["pixdim"][:4]
    write_safely(path, lambda temporary: nib.save(image, temporary))


def write_volume(path: Path, voxels: np.ndarray, spacing: float) -> None:
    """Write voxels with BraTS' orientation: left-posterior-superior, origin at the front left bottom corner."""
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[1, 3] = (voxels.shape[1] - 1) * spacing
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    write_safely(path, lambda temporary: nib.save(image, temporary))
