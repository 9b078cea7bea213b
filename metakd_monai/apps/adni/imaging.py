"""Imaging: a vector of features or a map of grey matter for each subject."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from metakd_monai.apps.adni.tables import NothingFoundError, find_table, keep_subjects, latest_rows, read_table
from metakd_monai.data.nifti import read_voxels
from metakd_monai.errors import UserError

PREFIX = "IMAGE"
MATRIX, SUBJECTS = "ADNI_G.npy", "ADNI_subj.txt"  # of Flex-MoE's preparation
PTID = re.compile(r"\d{3}_S_\d{4,5}")
MAP_SIZE = (24, 28, 24)


def read_imaging(raw: Path, subjects: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
    """Read imaging, from the first of these that exists.

    ``IMAGE*.csv``: PTID and features. ``ADNI_G.npy`` with ``ADNI_subj.txt``: a row of voxels for each line
    ``PTID_date``. NIfTI maps on one grid whose names hold the PTID, such as RAVENS grey matter of 91x109x91: averaged
    down to 24x28x24. Of several scans of a subject the last one counts.

    Args:
        raw: folder, searched at any depth.
        subjects: PTIDs to keep, those with a diagnosis; None for all.

    Returns:
        PTIDs, and values ``(subjects, L)`` or ``(subjects, 1, *S)`` float32.

    Raises:
        NothingFoundError: when nothing is found.
        UserError: when it is damaged or of another cohort.
    """
    if (path := find_table(raw, PREFIX)) is not None:
        rows = keep_subjects(latest_rows(read_table(path), path), subjects, path)
        values = rows.select_dtypes("number")
        return list(map(str, rows.index)), values.to_numpy(np.float32)
    if (path := next(raw.rglob(MATRIX), None)) is not None:
        rows = keep_subjects(read_matrix(path), subjects, path)
        return list(map(str, rows.index)), rows.to_numpy(np.float32)
    maps = {match[0]: path for path in sorted(raw.rglob("*.nii*")) if (match := PTID.search(path.name))}
    chosen = sorted(maps if subjects is None else set(maps) & set(subjects))
    if not chosen:
        raise NothingFoundError(
            f"{raw}: no imaging of these subjects found; expected {PREFIX}*.csv, {MATRIX} and {SUBJECTS}, or NIfTI maps"
        )
    return chosen, np.stack([read_map(maps[ptid]) for ptid in chosen])


def read_matrix(path: Path) -> pd.DataFrame:
    """Read a matrix of voxels, by PTID of the last scan."""
    names = path.with_name(SUBJECTS)
    if not names.is_file():
        raise UserError(f"{names}: no such file; expected a line PTID_date for each row of {MATRIX}")
    lines = sorted(enumerate(names.read_text().split()), key=lambda pair: pair[1])
    try:
        values = np.load(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: unreadable, expected a matrix of voxels ({error})") from None
    if values.ndim != 2 or len(values) != len(lines):
        raise UserError(
            f"{path}: shape {values.shape} found; expected {len(lines)} rows, one for each line of {SUBJECTS}"
        )
    last = {match[0]: row for row, line in lines if (match := PTID.match(line))}
    return pd.DataFrame(values[list(last.values())], index=list(last))


def read_map(path: Path) -> np.ndarray:
    """Read one map, averaged down to ``(1, 24, 28, 24)``."""
    voxels = torch.from_numpy(read_voxels(path))
    if voxels.dim() != 3:
        raise UserError(f"{path}: {voxels.dim()} dimensions found; expected a volume")
    small = torch.nn.functional.adaptive_avg_pool3d(voxels[None], MAP_SIZE)
    return np.asarray(small.numpy())
