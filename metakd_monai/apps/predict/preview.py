"""A picture of each result: slices through the tumour, each given sequence with the mask over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import label as label_parts

from metakd_monai.data.boxes import bounding_box
from metakd_monai.data.files import write_safely
from metakd_monai.vocabulary import ET_LABELS, Label, Modality

# Colour-blind safe (Okabe and Ito): necrosis vermilion, oedema green, enhancing tumour yellow.
COLOURS = {"necrosis": (0.84, 0.37, 0.0), "oedema": (0.0, 0.62, 0.45), "enhancing": (0.94, 0.89, 0.26)}
PLANES = ("axial", "coronal", "sagittal")
OPACITY = 0.45


def draw_preview(
    path: Path, image: np.ndarray, available: Sequence[bool], labels: np.ndarray, spacing: Sequence[float], title: str
) -> None:
    """Write a PNG with a column for each sequence and a row for each plane, in radiological orientation.

    Args:
        path: of the PNG.
        image: ``(N, *S)``, axes towards left, posterior, superior; what absent channels hold is not shown.
        available: of each modality.
        labels: label map ``(*S)`` on the same grid.
        spacing: voxel size along each axis in mm.
        title: above the picture.
    """
    box = brain_box(image, available)
    everything = (slice(None), *box)
    image, labels = image[everything], labels[box]
    main = largest_tumour(labels)
    figure = Figure(figsize=(10, 9), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(Modality))
    for row, plane in enumerate(PLANES):
        axis = 2 - row  # axial cuts across superior, coronal across posterior, sagittal across left
        index = busiest_slice(main, axis)
        across, down = (s for n, s in enumerate(spacing) if n != axis)
        axes[row][0].set_ylabel(plane, color="white")
        for column, modality in enumerate(Modality):
            panel = axes[row][column]
            panel.set(facecolor="black", xticks=[], yticks=[])
            if row == 0:
                panel.set_title(modality.value, color="white")
            if available[column]:
                picture = blend(cut(image[column], axis, index), cut(labels, axis, index))
                panel.imshow(picture, aspect=down / across, interpolation="nearest")
            else:
                panel.text(0.5, 0.5, "absent", color="grey", ha="center", va="center", transform=panel.transAxes)
    figure.suptitle(printable(title), color="white", fontsize=11, parse_math=False)
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="lower center", ncol=3, labelcolor="white", frameon=False)
    figure.subplots_adjust(0.04, 0.05, 0.99, 0.87, 0.03, 0.03)
    write_safely(path, lambda temporary: figure.savefig(temporary, format="png", dpi=90, facecolor="black"))


def printable(text: str) -> str:
    """Return lines with a question mark for what no font can show, such as bytes of a name that is no text."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def brain_box(image: np.ndarray, available: Sequence[bool]) -> tuple[slice, ...]:
    """Return the box around what the present modalities show."""
    shown = (image[np.asarray(available, bool)] != 0).any(axis=0)
    return bounding_box(shown) if shown.any() else tuple(slice(0, length) for length in image.shape[1:])


def largest_tumour(labels: np.ndarray) -> np.ndarray:
    """Return the mask of the largest connected tumour; everything, when there is none."""
    parts, number = label_parts(labels > 0)
    if number == 0:
        return np.ones_like(labels, dtype=bool)
    largest: np.ndarray = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return largest


def busiest_slice(mask: np.ndarray, axis: int) -> int:
    """Return the slice across an axis that holds most of a mask; the middle one of equals."""
    content = mask.sum(axis=tuple(n for n in range(3) if n != axis))
    best = np.flatnonzero(content == content.max())
    return int(best[len(best) // 2])


def cut(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Return one slice as rows and columns: anterior or superior on top, the patient's left on the right."""
    plane = volume.take(index, axis=axis).T
    return plane if axis == 2 else plane[::-1]


def blend(grey: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ``(rows, columns, 3)`` in 0..1: the slice in grey with the labels' colours over it."""
    inside = grey[grey != 0]
    low, high = np.percentile(inside, (1, 99.5)) if inside.size else (0.0, 1.0)
    scaled = np.where(grey == 0, 0.0, np.clip((grey - low) / max(high - low, 1e-6), 0, 1))
    picture = np.repeat(scaled[..., None], 3, axis=2)
    for name, values in zip(COLOURS, ((Label.NECROSIS,), (Label.OEDEMA,), ET_LABELS), strict=True):
        mask = np.isin(labels, [int(value) for value in values])
        picture[mask] = (1 - OPACITY) * picture[mask] + OPACITY * np.array(COLOURS[name])
    return picture
