"""A picture for judging a preparation in ten seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nibabel.affines import apply_affine

from metakd_monai.apps.predict.preview import cut, printable
from metakd_monai.apps.raw.prepared import Prepared
from metakd_monai.apps.raw.template import Template
from metakd_monai.apps.raw.volumes import COARSE_MM, Volume, resample, upright_grid
from metakd_monai.data.files import write_safely
from metakd_monai.data.nifti import AXES
from metakd_monai.vocabulary import Modality

ATLAS, BRAIN = "#e69f00", "#56b4e9"  # outlines; Okabe and Ito
ROWS = ("axial in SRI24", "sagittal in SRI24", "raw, axial")
SLICES = {2: 85, 0: 105}  # axial, sagittal in SRI24


def draw_check(
    path: Path, prepared: Prepared, series: Mapping[Modality, Volume], template: Template, title: str
) -> None:
    """Write a PNG with a column for each sequence.

    Each has two slices in SRI24 with the outlines of the brain and the atlas' brain, and one slice of the raw series
    with the brain's outline on it.
    """
    figure = Figure(figsize=(2.6 * len(series) + 0.6, 8.6), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(ROWS), len(series), squeeze=False)
    for column, (modality, volume) in enumerate(series.items()):
        image = prepared.images.get(modality)
        left_out = modality in prepared.left_out
        for row, axis in enumerate(SLICES):
            if image is None:
                axes[row][column].text(0.5, 0.5, "left out" if left_out else "failed", color="grey", ha="center")
            else:
                parts = (cut(v, axis, SLICES[axis]) for v in (image, prepared.brain, template.brain))
                show(axes[row][column], *parts)
        fit = prepared.fits.get(modality)
        slice_, brain = raw_slice(volume, prepared.mask, fit.matrix if fit else np.eye(4))
        show(axes[2][column], slice_, brain, None)
        axes[0][column].set_title(
            f"{modality.value}{' (centre)' if modality is prepared.centre else ''}", color="white"
        )
    for row, name in enumerate(ROWS):
        axes[row][0].set_ylabel(name, color="white")
    for panel in axes.ravel():
        panel.set(facecolor="black", xticks=[], yticks=[])
    figure.suptitle(printable(title), color="white", fontsize=9, parse_math=False)
    figure.text(0.5, 0.01, "blue: brain   orange: the atlas' brain", color="white", ha="center", fontsize=9)
    figure.subplots_adjust(0.06, 0.03, 0.99, 0.88, 0.03, 0.05)
    write_safely(path, lambda temporary: figure.savefig(temporary, format="png", dpi=80, facecolor="black"))


def raw_slice(volume: Volume, mask: Volume, from_centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the axial slice of a raw series through the middle of the brain, in cubes of 2 mm, and the brain there."""
    shape, affine = upright_grid(volume, COARSE_MM)
    brain = resample(mask, shape, affine, np.linalg.inv(from_centre)) > 0.5
    middle = int(np.median(np.argwhere(brain)[:, 2])) if brain.any() else shape[2] // 2
    affine[:AXES, AXES] = apply_affine(affine, (0, 0, middle))
    grey = resample(volume, (*shape[:2], 1), affine, outside=float(volume.voxels.min()))
    return grey[::-1, ::-1, 0].T, brain[::-1, ::-1, middle].T


def show(panel: Any, grey: np.ndarray, brain: np.ndarray, atlas: np.ndarray | None) -> None:
    """Draw a slice in grey with outlines over it."""
    high = float(np.quantile(grey[grey > 0], 0.99)) if (grey > 0).any() else 1.0
    panel.imshow(grey, cmap="gray", vmin=0, vmax=max(high, 1e-6), interpolation="nearest")
    for mask, colour in ((atlas, ATLAS), (brain, BRAIN)):
        if mask is not None and mask.any() and not mask.all():
            panel.contour(mask.astype(float), [0.5], colors=[colour], linewidths=0.8)
