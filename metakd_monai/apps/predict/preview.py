"""A picture of each result: slices through the tumour, each given sequence with the mask over it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import label as label_parts

from metakd_monai.data.boxes import bounding_box
from metakd_monai.data.files import write_safely
from metakd_monai.vocabulary import ET_LABELS, Label, Modality

# Colour-blind safe (Okabe and Ito): necrosis vermilion, oedema green, enhancing tumour yellow.
COLOURS = {"necrosis": (0.84, 0.37, 0.0), "oedema": (0.0, 0.62, 0.45), "enhancing": (0.94, 0.89, 0.26)}
PLANES = ("axial", "coronal", "sagittal")
OPACITY = 0.45
PANEL, GAP = 218, 6  # pixels of a panel's side, and between two panels
LEFT, TOP, BOTTOM = 28, 100, 36  # pixels around the panels
LETTERS = 125  # in a line of the title
WHITE, GREY = "white", "grey"


def draw_preview(
    path: Path, image: np.ndarray, available: Sequence[bool], labels: np.ndarray, spacing: Sequence[float], title: str
) -> None:
    """Write a PNG with a column for each sequence and a row for each plane, in radiological orientation.

    Args:
        path: of the PNG.
        image: ``(N, *S)``, axes towards left, posterior, superior; absent channels are not shown.
        available: whether each modality is present.
        labels: label map ``(*S)`` on the same grid.
        spacing: voxel size along each axis in mm.
        title: above the picture.
    """
    box = brain_box(image, available)
    everything = (slice(None), *box)
    image, labels = image[everything], labels[box]
    main = largest_tumour(labels)
    picture = Image.new("RGB", (LEFT + PANEL * len(Modality), TOP + PANEL * len(PLANES) + BOTTOM))
    for row, plane in enumerate(PLANES):
        axis = 2 - row  # axial cuts across superior, coronal across posterior, sagittal across left
        index = busiest_slice(main, axis)
        across, down = (s for n, s in enumerate(spacing) if n != axis)
        for column, modality in enumerate(Modality):
            corner = (LEFT + column * PANEL, TOP + row * PANEL)
            if available[column]:
                colours = blend(cut(image[column], axis, index), cut(labels, axis, index))
                paste(picture, colours, down / across, corner)
            else:
                write(picture, "absent", (corner[0] + PANEL // 2, corner[1] + PANEL // 2), GREY)
            if row == 0:
                write(picture, modality.value, (corner[0] + PANEL // 2, TOP - 12))
        write_upright(picture, plane, (LEFT // 2, TOP + row * PANEL + PANEL // 2))
    write(picture, wrapped(title), (picture.width // 2, (TOP - 24) // 2))
    write_legend(picture)
    write_safely(path, lambda temporary: picture.save(temporary, format="png"))


def paste(picture: Image.Image, colours: np.ndarray, stretch: float, corner: tuple[int, int]) -> None:
    """Paste a slice into the middle of its panel, as large as fits.

    Args:
        picture: to paste on.
        colours: ``(rows, columns, 3)`` in 0..1.
        stretch: height of a voxel over its width.
        corner: of the panel, across and down.
    """
    rows, columns = colours.shape[0] * stretch, colours.shape[1]
    scale = (PANEL - GAP) / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    panel = Image.fromarray(np.rint(colours * 255).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    picture.paste(panel, (corner[0] + (PANEL - size[0]) // 2, corner[1] + (PANEL - size[1]) // 2))


def write(picture: Image.Image, text: str, middle: tuple[int, int], colour: str = WHITE) -> None:
    """Write text around a point."""
    pen = ImageDraw.Draw(picture)
    pen.multiline_text(middle, printable(text), colour, font(), anchor="mm", align="center", spacing=5)


def write_upright(picture: Image.Image, text: str, middle: tuple[int, int]) -> None:
    """Write text around a point, from bottom to top."""
    strip = Image.new("RGB", (PANEL, LEFT))
    write(strip, text, (PANEL // 2, LEFT // 2))
    picture.paste(strip.rotate(90, expand=True), (middle[0] - LEFT // 2, middle[1] - PANEL // 2))


def write_legend(picture: Image.Image) -> None:
    """Write the legend of the colours along the lower edge."""
    pen = ImageDraw.Draw(picture)
    y = picture.height - BOTTOM // 2
    for number, (name, colour) in enumerate(COLOURS.items()):
        x = picture.width // 2 + 130 * (number - 1)
        box = (x - 58, y - 6, x - 38, y + 6)
        pen.rectangle(box, tuple(round(255 * part) for part in colour))
        pen.text((x - 30, y), name, WHITE, font(), anchor="lm")


def wrapped(text: str) -> str:
    """Return text wrapped to the width of a picture."""
    return "\n".join(part for line in text.splitlines() for part in wrap(line, LETTERS))


@cache
def font() -> ImageFont.FreeTypeFont:
    """Return the font of the texts: DejaVu Sans, which comes with Matplotlib and covers many alphabets."""
    spec = find_spec("matplotlib")  # found, not imported: that would take longer than the drawing
    folder = Path(next(iter(spec.submodule_search_locations or []))) if spec else Path()
    return ImageFont.truetype(folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", 13)


def printable(text: str) -> str:
    """Return lines with a replacement character for what is not printable, such as undecodable bytes of a name."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def brain_box(image: np.ndarray, available: Sequence[bool]) -> tuple[slice, ...]:
    """Return the bounding box of the foreground of all present modalities."""
    shown = np.logical_or.reduce([channel != 0 for channel, there in zip(image, available, strict=True) if there])
    return bounding_box(shown) if shown.any() else tuple(slice(0, length) for length in image.shape[1:])


def largest_tumour(labels: np.ndarray) -> np.ndarray:
    """Return the mask of the largest connected tumour; all voxels if there is none."""
    parts, number = label_parts(labels > 0)
    if number == 0:
        return np.ones_like(labels, dtype=bool)
    largest: np.ndarray = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return largest


def busiest_slice(mask: np.ndarray, axis: int) -> int:
    """Return the slice across an axis with the most mask voxels; on a tie, the middle one."""
    content = mask.sum(axis=tuple(n for n in range(3) if n != axis))
    best = np.flatnonzero(content == content.max())
    return int(best[len(best) // 2])


def cut(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Return one slice as rows and columns: anterior or superior on top, the patient's left on the right."""
    plane = np.moveaxis(volume, axis, 0)[index].T  # a view; take would copy the whole volume first
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
