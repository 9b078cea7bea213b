"""Where reference labels of the whole tumour end: how bright FLAIR is across their border.

0 is the brain far from the tumour, 1 the plateau of the oedema within it, 0 mm the outermost labelled voxels. Voxels
near the tumour core, which has a different border, and near the surface of the brain do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from metakd_monai.data.cases import find_cases
from metakd_monai.data.nifti import read_voxels
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Label, Modality

PLACES = np.arange(-6, 7)  # mm from the border, negative within
DEEP, FAR = PLACES <= -3, 10.0
MARGIN, AWAY_FROM_CORE = 5, 6.0  # mm
FEWEST = 50  # voxels for a mean


def profile(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the brightness of an image ``(*S)`` at ``PLACES``, from 0 to 1; NaN where there are too few voxels."""
    whole = labels > 0
    core = whole & (labels != Label.OEDEMA)
    outside, inside = distance_transform_edt(~whole), distance_transform_edt(whole)
    distance = np.where(whole, 1 - inside, outside)
    counts = binary_erosion(image != 0, iterations=MARGIN)
    beyond = np.median(image[counts & (distance > FAR)])
    if core.any():
        counts &= distance_transform_edt(~core) > AWAY_FROM_CORE
    values = np.full(len(PLACES), np.nan)
    for number, place in enumerate(PLACES):
        there = counts & (np.abs(distance - place) < 0.75)
        if there.sum() > FEWEST:
            values[number] = np.median(image[there])
    known = DEEP & ~np.isnan(values)
    plateau = values[known].max() if known.any() else np.nan
    return np.asarray((values - beyond) / (plateau - beyond))


def written(value: float) -> str:
    """Format a number; a dash if nothing was measured."""
    return "-" if np.isnan(value) else f"{value:.2f}"


def mean_profile(folder: Path) -> tuple[int, np.ndarray]:
    """Return the number of labelled cases with FLAIR in a folder, and their mean profile.

    Raises:
        UserError: for a folder without any.
    """
    rows = []
    for case in find_cases(folder):
        if case.label is not None and isinstance(case.files, Mapping) and Modality.FLAIR in case.files:
            rows.append(profile(read_voxels(case.files[Modality.FLAIR]), read_voxels(case.label)))
    if not rows:
        raise UserError(f"{folder}: no labelled case with a file named flair; expected one at least")
    return len(rows), np.ma.masked_invalid(rows).mean(0).filled(np.nan)


def border_row(folder: Path) -> str:
    """Return the row of a Markdown table for a folder of labelled cases; raises UserError where there are none."""
    number, means = mean_profile(folder)
    return f"| {folder.name} ({number}) | " + " | ".join(written(value) for value in means) + " |"


def border_head() -> str:
    """Return the head of that table."""
    return "| cases | " + " | ".join(f"{place} mm" for place in PLACES) + " |\n|---|" + "--:|" * len(PLACES)
