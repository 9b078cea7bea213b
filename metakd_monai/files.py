"""NIfTI files in and out; every file is written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from metakd_monai.temporaries import mark_of, remove, remove_temporaries, temporary_of
from metakd_monai.vocabulary import ET_LABELS, Label, LabelConvention, UserError, in_one_line

LONGEST_JSON = 256 << 20  # bytes
FULL_DISK = ("PytorchStreamWriter", "file write failed", "unexpected pos")  # what torch.save says, a RuntimeError


def read_nifti(path: str | Path) -> nib.Nifti1Image:
    """Open a NIfTI file; raises UserError when it is missing or no NIfTI file."""
    try:
        return nib.load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ImageFileError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: unreadable or truncated, expected a NIfTI file ({error})") from None


def read_voxels(path: str | Path, image: nib.Nifti1Image | None = None) -> np.ndarray:
    """Read all voxels as float32; raises UserError when the file is damaged."""
    image = read_nifti(path) if image is None else image
    try:
        return np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path}: unreadable or truncated, expected a complete NIfTI file ({error})") from None


def check_image(path: str | Path, voxels: np.ndarray, what: str) -> None:
    """Refuse a sequence that cannot be one: raises UserError for values that are not finite or all the same.

    Zeros are no part of the brain: an image of 0 and one other value would be 0 all over once it is normalised.
    """
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise UserError(f"{path}: {what} has {bad} voxels that are NaN or infinite; expected finite intensities")
    if voxels.min() == voxels.max():
        raise UserError(f"{path}: {what} is constant ({voxels.flat[0]:g} everywhere); expected an image of a brain")
    brain = voxels[voxels != 0]
    if brain.min() == brain.max():
        raise UserError(f"{path}: {what} is constant ({brain[0]:g} or 0 everywhere); expected an image of a brain")


def check_labels(values: np.ndarray, where: str, convention: LabelConvention | None = None) -> int | None:
    """Check the values of a label map; return that of enhancing tumour, or None when it has none.

    Args:
        values: of the label map, of any shape.
        where: for messages.
        convention: what values are allowed; None for those of any BraTS, but not both 3 and 4.

    Raises:
        UserError: for values outside the allowed ones.
    """
    known = convention.values if convention else {int(label) for label in Label}
    found = {float(value) for value in np.unique(values)}
    if not found <= known:
        strange = ", ".join(f"{value:g}" for value in sorted(found - known))
        allowed = ", ".join(map(str, sorted(known))) if convention else "0, 1, 2 and 4 (or 3, from BraTS 2023 on)"
        of = f" of {convention.name}" if convention else ""
        raise UserError(f"{where}: label values {strange} found; expected {allowed}{of}")
    enhancing = [value for value in ([convention.enhancing] if convention else ET_LABELS) if value in found]
    if len(enhancing) > 1:
        raise UserError(f"{where}: labels 3 and 4 found together; expected enhancing tumour to be one of them")
    return enhancing[0] if enhancing else None


def write_like(path: Path, voxels: np.ndarray, reference: str | Path) -> None:
    """Write voxels on the very grid of a reference file: its affine and header, so that ITK finds them equal.

    Args:
        path: where to; written under a temporary name, then renamed.
        voxels: ``(*S)`` or ``(*S, C)``, in the dtype to write.
        reference: the file whose grid it is.
    """
    source = read_nifti(reference)
    header = source.header.copy()
    header.set_data_dtype(voxels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    image = nib.Nifti1Image(voxels, source.affine, header)
    # set_sform and set_qform went through floats in the constructor; the bytes of the reference are the grid.
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"):
        image.header[field] = source.header[field]
    for field in ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
        image.header[field] = source.header[field]
    image.header["pixdim"][:4] = source.header["pixdim"][:4]
    write_safely(path, lambda temporary: nib.save(image, temporary))


def read_json(path: str | Path, expected: str) -> Any:
    """Read JSON that somebody else may have written.

    Args:
        path: of the file.
        expected: what it should be, for messages.

    Raises:
        UserError: when it is missing, no file of at most :data:`LONGEST_JSON` bytes, no JSON, or nested too deeply.
    """
    try:
        if not Path(path).is_file():  # a pipe or a device would never end
            reason = "not a file" if Path(path).exists() else "no such file"
            raise UserError(f"{path}: {reason}; expected {expected}")
        if Path(path).stat().st_size > LONGEST_JSON:
            raise UserError(f"{path}: larger than {LONGEST_JSON >> 20} MiB; expected {expected}")
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: unreadable ({in_one_line(error)}); expected {expected}") from None


def read_record(path: str | Path) -> dict[str, Any]:
    """Read what an earlier run wrote of a case: JSON with ``settings``; ``{}`` for anything else, or nothing."""
    try:
        found = read_json(path, "a record of an earlier run")
    except UserError:
        return {}
    known = isinstance(found, dict) and isinstance(found.get("settings"), dict)
    return found if known else {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, under a temporary name first."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, under a temporary name first; names of files that are no text are spelled out."""
    write_safely(path, lambda temporary: temporary.write_bytes(text.encode("utf-8", "backslashreplace")))


def check_writable(folder: Path) -> None:
    """Make a folder; raises UserError when it cannot be written to."""
    probe = folder / f".{os.getpid()}.writable"
    write_safely(probe, lambda temporary: temporary.touch())
    probe.unlink()


def write_safely(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then rename.

    What killed processes left of the same file is removed.

    Raises:
        UserError: when the place cannot be written to.
    """
    temporary = temporary_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporaries(path.parent, [path.name])
        write(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError, ValueError) as error:
        reason = why_unwritable(path, error)
        if reason is None:
            raise
        raise UserError(f"{in_one_line(path, 300)}: cannot be written ({reason}); expected a writable folder") from None
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()


def why_unwritable(path: Path, error: Exception) -> str | None:
    """Return why a file cannot be written; None when the error is no matter of its place."""
    if isinstance(error, OSError):
        return "a folder is there" if os.path.isdir(path) else in_one_line(error.strerror or error)
    if isinstance(error, RuntimeError):
        return "no space left, it seems" if any(words in str(error) for words in FULL_DISK) else None
    odd = "\0" in str(path) or isinstance(error, UnicodeEncodeError)
    return "no name that a file can have" if odd and not isinstance(error, UserError) else None


def mark_unfinished(mask: Path, report: Path) -> None:
    """Say beside a mask that it is being written, so that a run killed at that can be resumed; its report is void."""
    write_safely(mark_of(mask), lambda temporary: temporary.touch())
    remove(report)
