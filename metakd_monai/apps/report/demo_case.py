"""The case that comes with the package, for ``metakd demo``: four sequences and the experts' labels in one megabyte.

Each sequence is a JPEG file in which the axial slices lie side by side, row after row, 8 bit. ``labels.png`` has for
each voxel 0 outside the brain, else the label of BraTS plus 1. Source and licence are in ``license.txt`` beside
them; ``scripts/reproduce/pack_demo_case.py`` packed it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from metakd_monai.data.files import write_text
from metakd_monai.data.nifti import write_volume
from metakd_monai.vocabulary import Modality

FOLDER = Path(__file__).with_name("demo_case")
SHAPE = (129, 156, 130)  # voxels of 1 mm, towards left, posterior, superior
COLUMNS = 12  # slices in a row
LABELS, LICENCE = "labels.png", "license.txt"


def write_demo_case(folder: Path) -> tuple[dict[Modality, Path], np.ndarray]:
    """Write the sequences as NIfTI files, and their licence.

    Args:
        folder: where to.

    Returns:
        The files, and the experts' label map ``(*S)`` on their grid.

    Raises:
        UserError: when the folder cannot be written to.
    """
    marked = read_slices(FOLDER / LABELS)
    files = {modality: folder / f"demo_{modality.value}.nii.gz" for modality in Modality}
    for modality, path in files.items():
        image = read_slices(FOLDER / f"{modality.value}.jpg")
        write_volume(path, np.where(marked > 0, np.maximum(image, 1), 0).astype(np.uint8), 1.0)
    write_text(folder / LICENCE, (FOLDER / LICENCE).read_text(encoding="utf-8"))
    return files, np.where(marked > 0, marked - 1, 0).astype(np.uint8)


def read_slices(path: Path) -> np.ndarray:
    """Return a volume from a picture of its slices."""
    with Image.open(path) as picture:
        return unfold(np.asarray(picture))


def unfold(picture: np.ndarray) -> np.ndarray:
    """Return the volume whose axial slices lie side by side in a picture."""
    width, height, depth = SHAPE
    rows = -(-depth // COLUMNS)
    slices = picture.reshape(rows, height, COLUMNS, width).transpose(3, 1, 0, 2).reshape(width, height, -1)
    return slices[..., :depth]


def fold(volume: np.ndarray) -> np.ndarray:
    """Return the picture of a volume; see :func:`unfold`."""
    width, height, depth = SHAPE
    rows = -(-depth // COLUMNS)
    padded = np.pad(volume, ((0, 0), (0, 0), (0, rows * COLUMNS - depth)))
    slices = padded.reshape(width, height, rows, COLUMNS).transpose(2, 1, 3, 0)
    return slices.reshape(rows * height, COLUMNS * width)
