"""Labelled cases assigned to folds by the size of their enhancing tumour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metakd_monai.data.cases import NIFTI
from metakd_monai.data.nifti import read_labels, read_nifti, voxel_ml
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import ET_LABELS


class Tumour(NamedTuple):
    """The size of a tumour: voxels that enhance, voxels of any label, and mL that enhance."""

    enhancing: int
    voxels: int
    enhancing_ml: float


def measure_tumour(label: str | Path) -> Tumour:
    """Return the size of the tumour in a label map."""
    labels = read_labels(label)
    enhancing = int(np.isin(labels, ET_LABELS).sum())
    return Tumour(enhancing, int((labels > 0).sum()), enhancing * voxel_ml(read_nifti(label).affine))


def deal(sizes: Mapping[str, Tumour], folds: int, seed: int) -> list[list[str]]:
    """Return the names of each fold's cases.

    Cases are sorted by the size of the enhancing tumour (then of the whole tumour). Of each group of as many cases as
    there are folds, every fold gets one at random.

    Raises:
        UserError: for fewer than two cases for each fold.
    """
    if folds < 2 or len(sizes) < 2 * folds:
        raise UserError(f"{folds} folds of {len(sizes)} labelled cases found; expected 2 folds or more, of 2 or more")
    ranked = sorted(sizes, key=lambda name: sizes[name], reverse=True)
    rng = np.random.default_rng(seed)
    dealt: list[list[str]] = [[] for _ in range(folds)]
    for start in range(0, len(ranked), folds):
        for fold, name in zip(rng.permutation(folds), ranked[start : start + folds], strict=False):
            dealt[fold].append(name)
    return dealt


def link_cases(items: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Make a folder of cases with links, named by sequence, to the files of a datalist's items.

    Raises:
        UserError: for a case that is one file of four channels.
    """
    for item in items:
        name, image = str(item["case_id"]), item["image"]
        if not isinstance(image, Mapping):
            raise UserError(f"{image}: a file of several sequences found; expected one for each, or a datalist")
        for role, file in {**image, "seg": item["label"]}.items():
            ending = NIFTI.search(str(file))
            place = folder / name / f"{name}_{role}{ending[0] if ending else ''}"
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(Path(file).resolve())
