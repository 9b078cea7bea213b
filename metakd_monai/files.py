"""NIfTI files in and out, and cases on disk: sequences are recognised by name, never by order."""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from metakd_monai.vocabulary import ET_LABELS, LABEL_TOKENS, MODALITY_TOKENS, Label, Modality, UserError

NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
CONTRAST = re.compile(r"[_-]ce-[A-Za-z0-9]+", re.IGNORECASE)  # BIDS: sub-01_ce-gadolinium_T1w
TOKEN = re.compile(r"[A-Za-z0-9]+")
MIXED_ET_NAME = re.compile(r"^BraTS-[A-Z]", re.IGNORECASE)  # BraTS-GLI-00000-000: 2023 and later


@dataclass(frozen=True)
class Case:
    """One patient's scan.

    Attributes:
        case_id: what the masks are named after.
        files: the file of each present modality; or one 4-D file with a channel for each modality, in channel order.
        label: its label map, where there is one.
        problem: why the case cannot be used, where it cannot.
    """

    case_id: str
    files: Mapping[Modality, Path] | Path
    label: Path | None = None
    problem: str | None = None

    @property
    def et_label(self) -> int:
        """Value of enhancing tumour that goes with the case's name: 3 for the names of BraTS 2023 on, else 4."""
        return ET_LABELS[0] if MIXED_ET_NAME.match(self.case_id) else ET_LABELS[1]

    def as_item(self) -> dict[str, Any]:
        """Return the case as an entry of a MONAI datalist; raises UserError when it cannot be used."""
        if self.problem is not None:
            raise UserError(self.problem)
        image = str(self.files) if isinstance(self.files, Path) else {m.value: str(f) for m, f in self.files.items()}
        item: dict[str, Any] = {"image": image, "case_id": self.case_id}
        return item if self.label is None else {**item, "label": str(self.label)}


def modality_of(name: str) -> Modality | None:
    """Recognise a sequence by the last whole token of a file name that spells one.

    ``sub-01_ce-gadolinium_T1w.nii.gz`` (BIDS) is T1ce; names that spell a label map are no sequence.
    """
    stem = NIFTI.sub("", name)
    tokens = [token.lower() for token in TOKEN.findall(stem)]
    found = [MODALITY_TOKENS[token] for token in tokens if token in MODALITY_TOKENS]
    if not found or is_label(name):
        return None
    return Modality.T1CE if found[-1] is Modality.T1 and CONTRAST.search(stem) else found[-1]


def is_label(name: str) -> bool:
    """Tell whether a file name spells a label map as a whole token."""
    return bool(LABEL_TOKENS & {token.lower() for token in TOKEN.findall(NIFTI.sub("", name))})


def read_case_folder(folder: Path) -> Case | None:
    """Read which sequences a folder holds; None when it holds none.

    Raises:
        UserError: when two files are for one sequence.
    """
    names = sorted(f.name for f in folder.iterdir() if NIFTI.search(f.name) and not f.name.startswith("."))
    files: dict[Modality, Path] = {}
    for name in names:
        modality = modality_of(name)
        if modality is None:
            continue
        if modality in files:
            raise UserError(
                f"{folder}: two files for {modality.value!r} ({files[modality].name}, {name}); expected at most one"
            )
        files[modality] = folder / name
    if not files:
        return None
    labels = [folder / name for name in names if is_label(name)]
    return Case(name_case(folder, files), files, labels[0] if labels else None)


def read_subfolder(folder: Path, top: Path) -> Case | None:
    """Read a folder as :func:`read_case_folder` does; below the top one, a problem is left to the case's turn."""
    try:
        return read_case_folder(folder)
    except UserError as error:
        if folder == top:
            raise
        return Case(folder.name, {}, problem=str(error))


def name_case(folder: Path, files: Mapping[Modality, Path]) -> str:
    """Name a case by what its file names share, or by its folder when they share nothing."""
    stems = []
    for modality, path in files.items():
        stem = CONTRAST.sub("", NIFTI.sub("", path.name))
        ends = [m.start() for m in TOKEN.finditer(stem) if MODALITY_TOKENS.get(m.group().lower()) in set(Modality)]
        stems.append(stem[: ends[-1]] if ends else modality.value)
    shared = os.path.commonprefix(stems)  # noqa: RUF071  # of characters, not of paths
    return shared.rstrip("_-. ") or folder.resolve().name


def find_cases(source: str | Path) -> list[Case]:
    """Find the cases in a case folder, a folder of case folders (to any depth) or a 4-D NIfTI file.

    A folder of many cases is not refused for one bad case: that case carries its ``problem``.

    Raises:
        UserError: when nothing is there, no sequence is recognised, or two cases have one name.
    """
    path = Path(source)
    if path.is_file():
        if not NIFTI.search(path.name):
            raise UserError(f"{path}: not a NIfTI file; expected .nii or .nii.gz, or a folder of cases")
        return [Case(NIFTI.sub("", path.name), path)]
    if not path.is_dir():
        raise UserError(
            f"{path}: no such file or folder; expected a case folder, a folder of cases or a 4-D NIfTI file"
        )
    cases = [case for folder in walk(path) if (case := read_subfolder(folder, path)) is not None]
    if not cases:
        raise UserError(
            f"{path}: no modality found; expected files such as <case>_flair.nii.gz, <case>_t1.nii.gz,"
            " <case>_t1ce.nii.gz, <case>_t2.nii.gz"
        )
    seen: dict[str, Case] = {}
    for case in cases:
        if case.case_id in seen:
            raise UserError(f"{path}: two cases are named {case.case_id!r}; expected unique names")
        seen[case.case_id] = case
    return cases


def walk(folder: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it, sorted."""
    yield folder
    for child in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        yield from walk(child)


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
    """Refuse a sequence that cannot be one: raises UserError for values that are not finite or all the same."""
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise UserError(f"{path}: {what} has {bad} voxels that are NaN or infinite; expected finite intensities")
    if voxels.min() == voxels.max():
        raise UserError(f"{path}: {what} is constant ({voxels.flat[0]:g} everywhere); expected an image of a brain")


def check_labels(values: np.ndarray, where: str) -> int | None:
    """Check the values of a label map; return that of enhancing tumour, or None when it has none.

    Raises:
        UserError: for values outside 0, 1, 2, 3, 4, or for both 3 and 4.
    """
    known = {int(label) for label in Label}
    found = {float(value) for value in np.unique(values)}
    if not found <= known:
        strange = ", ".join(f"{value:g}" for value in sorted(found - known))
        raise UserError(f"{where}: label values {strange} found; expected 0, 1, 2 and 4 (or 3, from BraTS 2023 on)")
    enhancing = [value for value in ET_LABELS if value in found]
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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, under a temporary name first."""
    write_safely(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n"))


def write_safely(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then rename.

    Raises:
        UserError: when the place cannot be written to.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); expected a writable folder") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
