"""Two folders of label maps: which file is which case, and how a file is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metakd_monai.data.cases import (
    NIFTI,
    OWN_SUFFIXES,
    check_case_id,
    find_cases,
    nifti_names,
    read_label,
    recognise,
    walk,
)
from metakd_monai.data.nifti import AXES, check_labels, read_labels, read_nifti
from metakd_monai.errors import UserError
from metakd_monai.metrics.conventions import Convention
from metakd_monai.vocabulary import LabelConvention

BESIDE = OWN_SUFFIXES  # endings of what metakd predict writes beside masks
ALONE = ("seg", "segm", "dseg", "segmentation")  # names that tell nothing about the case
SEGMENTATION_END = re.compile(r"[_-]d?seg$", re.IGNORECASE)


@dataclass(frozen=True)
class LabelMap:
    """A label map ``labels`` ``(X, Y, Z)`` uint8, its affine ``(4, 4)`` and spacing in mm."""

    labels: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, ...]


def find_predictions(folder: Path) -> dict[str, Path]:
    """Find ``<case>.nii.gz`` in a folder, by case; previews, reports and maps beside them are skipped.

    Raises:
        UserError: when there are none, or two of one case.
    """
    stems = ((NIFTI.sub("", path.name), path) for path in list_nifti(folder))
    found = ((stem, path) for stem, path in stems if not stem.endswith(BESIDE))
    return unique(folder, found, "<case>.nii.gz")


def find_references(folder: Path) -> dict[str, Path]:
    """Find label maps by case: ``<case>_seg``, ``<case>-seg`` or ``<case>`` in a folder, or case folders at any depth.

    A label beside its case's images gets the name that :func:`~metakd_monai.data.cases.find_cases` gives the case.
    Without images, in folders below the top one, only names of a tumour's segmentation count; one that does not end in
    ``_seg`` or ``-seg`` (such as that of BraTS20_Training_355) is named after its folder.

    Raises:
        UserError: when there are none, or two of one case.
    """
    check_folder(folder)
    labelled = name_labels(folder)
    found = []
    for place in walk(folder):
        paths = list_nifti(place)
        stems = {NIFTI.sub("", path.name) for path in paths}
        names = ((labelled.get(path) or name_reference(path, place == folder, stems), path) for path in paths)
        found += [(name, path) for name, path in names if name is not None]
    return unique(folder, found, "<case>_seg.nii.gz, <case>-seg.nii.gz or <case>.nii.gz")


def name_labels(folder: Path) -> dict[Path, str]:
    """Return the names of cases with labels beside their images, by label; none if there are no images."""
    try:
        return {case.label: case.case_id for case in find_cases(folder) if case.label is not None}
    except UserError:
        return {}


def name_reference(path: Path, top: bool, stems: Collection[str]) -> str | None:
    """Return the case whose reference a file is, or None if its name says that it is no reference.

    Args:
        path: of the file.
        top: whether it lies in the folder that was given.
        stems: names of all files of its folder, without endings.
    """
    stem, label = NIFTI.sub("", path.name), read_label(path.name)
    if label is None:
        return stem if top and recognise(path.name) is None else None
    if SEGMENTATION_END.search(stem):
        return None if label.reason and not stem.lower().endswith("dseg") else SEGMENTATION_END.sub("", stem)
    if top and stem.lower() not in ALONE:  # a case may be called P1_mask; a mask beside P1 is none
        prefix = stem[: label.start].rstrip("_-. ")
        beside = any(other != stem and other.startswith(prefix) for other in stems)
        return None if label.reason and (beside or not label.vague) else stem
    return None if label.reason else path.resolve().parent.name


def list_nifti(folder: Path) -> list[Path]:
    """List the NIfTI files of a folder, sorted; raises UserError when there is no such folder."""
    check_folder(folder)
    return [folder / name for name in nifti_names(folder)]


def check_folder(folder: Path) -> None:
    """Raise UserError when a folder does not exist."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a folder of label maps")


def unique(folder: Path, found: Iterable[tuple[str, Path]], names: str) -> dict[str, Path]:
    """Return files by case, sorted; raises UserError when there are none, or two of one case."""
    files: dict[str, Path] = {}
    for case_id, path in found:
        check_case_id(case_id, f"{folder}: name of a case")
        if case_id in files:
            raise UserError(f"{folder}: two files for case {case_id!r} ({files[case_id]}, {path}); expected one")
        files[case_id] = path
    if not files:
        raise UserError(f"{folder}: no label map found; expected files such as {names}")
    return dict(sorted(files.items()))


def read_label_map(path: Path, labels_of: LabelConvention | None = None) -> LabelMap:
    """Read a label map; ``labels_of`` says what values it may have, None for those of any BraTS.

    Raises:
        UserError: when it is unreadable, has not three axes, or has other values (for None: outside 0 to 4, or both 3
            and 4).
    """
    file = read_nifti(path)
    if len(file.shape) != AXES:
        raise UserError(f"{path}: shape {file.shape} found; expected a label map of three axes")
    labels = read_labels(path, file)
    check_labels(labels, str(path), labels_of)
    return LabelMap(labels, file.affine, file.edges)


def find_foreign(labels: np.ndarray, convention: Convention, which: str) -> list[str]:
    """Return a warning when a label map ``(*S)`` holds another year's enhancing tumour, which counts for no region."""
    voxels = int(np.count_nonzero(labels == convention.foreign_label))
    if not voxels:
        return []
    return [f"{which}: {voxels} voxels of label {convention.foreign_label} count for no region in {convention.name}"]
