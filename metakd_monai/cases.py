"""Cases on disk: sequences are recognised by name, never by order."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from metakd_monai.nifti import describe_file
from metakd_monai.vocabulary import ET_LABELS, LABEL_TOKENS, MODALITY_TOKENS, Modality, UserError

NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
CONTRAST = re.compile(r"[_-]ce-[A-Za-z0-9]+", re.IGNORECASE)  # BIDS: sub-01_ce-gadolinium_T1w
TOKEN = re.compile(r"[A-Za-z0-9]+")
MOST_FILES = 1000  # of a folder without a sequence that are looked at for other formats
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
            found = describe_file(path) or "not a NIfTI file; expected .nii or .nii.gz"
            raise UserError(f"{path}: {found}, or a folder of cases")
        return [Case(NIFTI.sub("", path.name), path)]
    if not path.is_dir():
        raise UserError(
            f"{path}: no such file or folder; expected a case folder, a folder of cases or a 4-D NIfTI file"
        )
    cases = [case for folder in walk(path) if (case := read_subfolder(folder, path)) is not None]
    if not cases:
        told = (
            f"; {file.name}: {kind}" for file in islice(path.rglob("*"), MOST_FILES) if (kind := describe_file(file))
        )
        raise UserError(
            f"{path}: no modality found; expected files such as <case>_flair.nii.gz, <case>_t1.nii.gz,"
            f" <case>_t1ce.nii.gz, <case>_t2.nii.gz{next(told, '')}"
        )
    seen: dict[str, Case] = {}
    for case in cases:
        if case.case_id in seen:
            raise UserError(f"{path}: two cases are named {case.case_id!r}; expected unique names")
        seen[case.case_id] = case
    return cases


def hash_of(seed: int, name: object) -> str:
    """Return what to sort by for an order that looks random, and depends on the seed and the names alone."""
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def walk(folder: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it, sorted."""
    yield folder
    for child in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        yield from walk(child)
