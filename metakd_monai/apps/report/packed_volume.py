"""Volumes as text in a page: cropped to the brain, few grey levels, small enough to send, unpacked by any browser.

A packed volume is gzip in base64. Inside is a NIfTI-1 file of uint8. Its voxels, in the order of the file, are
differences modulo 256 from a prediction: the mean of the preceding neighbours along x, y and z, rounded down. Images
then take about two thirds of the size that gzip alone achieves.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from metakd_monai.data.boxes import bounding_box

MARGIN = 2  # voxels around the brain
MOST_VOXELS = 8_000_000  # of a box; of a larger one every second, third, ... voxel along each axis is shown
MOST_LEVELS, LEAST_LEVELS = 255, 8  # of grey, above 0
PERCENTILES = (0.5, 99.8)  # of the brain, that become the darkest and the brightest grey
BITS = 63  # levels of a map of uncertainty from 0 to 1 bit
LABEL_INTENT = 1002  # NIFTI_INTENT_LABEL: the viewer draws colours of a table, not greys
GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True)
class Cutout:
    """The part of a volume that is shown.

    Attributes:
        part: of the volume, with steps.
        affine: ``(4, 4)`` of the part.
    """

    part: tuple[slice, ...]
    affine: np.ndarray

    @property
    def step(self) -> int:
        """How many voxels lie between two that are shown, along each axis."""
        return int(self.part[0].step)


def choose_cutout(shown: np.ndarray, affine: np.ndarray) -> Cutout:
    """Return the box around the voxels to show, ``(*S)`` bool; the whole volume if there are none."""
    box = bounding_box(shown, MARGIN) if shown.any() else tuple(slice(0, length) for length in shown.shape)
    step = 1
    while np.prod([(s.stop - s.start) // step for s in box]) > MOST_VOXELS:
        step += 1
    origin = affine @ np.array([*(s.start for s in box), 1.0])
    scaled = affine @ np.diag([step, step, step, 1.0])
    scaled[:, 3] = origin
    return Cutout(tuple(slice(int(s.start), int(s.stop), step) for s in box), scaled)


def pack_images(images: Mapping[str, np.ndarray], cutout: Cutout, most_bytes: int) -> tuple[dict[str, str], int]:
    """Pack images with as many grey levels as fit.

    Args:
        images: ``(*S)`` each, 0 outside the brain.
        cutout: what is shown of them.
        most_bytes: limit for all of them together, unless even the fewest levels need more.

    Returns:
        The packed images, and the number of levels.
    """
    scaled = {name: scale_greys(image[cutout.part]) for name, image in images.items()}
    voxels = sum(np.count_nonzero(image) for image in scaled.values())
    levels = MOST_LEVELS
    while True:
        packed = {name: pack(np.rint(image * levels).astype(np.uint8), cutout) for name, image in scaled.items()}
        excess = sum(len(text) for text in packed.values()) - most_bytes
        if excess <= 0 or levels <= LEAST_LEVELS:
            return packed, levels
        bits = 8 * 3 / 4 * excess / max(voxels, 1)  # bits to save for each voxel; each halves the levels
        levels = max(LEAST_LEVELS, min(levels - 1, int(levels * 0.97 * 2**-bits)))


def scale_greys(image: np.ndarray) -> np.ndarray:
    """Return an image ``(*S)`` with its brain from just above 0 to 1; what is 0 stays 0."""
    inside = image != 0
    if not inside.any():
        return np.zeros(image.shape, np.float32)
    low, high = np.percentile(image[inside], PERCENTILES)
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return np.where(inside, (scaled * (MOST_LEVELS - 1) + 1) / MOST_LEVELS, 0).astype(np.float32)


def pack_labels(labels: np.ndarray, cutout: Cutout) -> str:
    """Pack a label map ``(*S)`` uint8."""
    return pack(labels[cutout.part], cutout, LABEL_INTENT)


def pack_bits(bits: np.ndarray, cutout: Cutout) -> str:
    """Pack a map of uncertainty ``(*S)``, 0 to 1 bit."""
    return pack(np.rint(bits[cutout.part].clip(0, 1) * BITS).astype(np.uint8), cutout)


def pack(voxels: np.ndarray, cutout: Cutout, intent: int = 0) -> str:
    """Pack voxels ``(*S)`` uint8 of a cutout; see above."""
    image = nib.Nifti1Image(voxels, cutout.affine)
    image.header.set_intent(intent)
    content = image.to_bytes()
    flat = voxels.ravel(order="F").astype(np.int16)
    rows = np.cumprod([1, *voxels.shape[:2]])
    differences = (flat - sum_before(flat, rows) // len(rows)).astype(np.uint8)
    packer = zlib.compressobj(6, zlib.DEFLATED, GZIP, 9, zlib.Z_RLE)  # differences have no longer repetitions
    packed = packer.compress(content[: len(content) - flat.size] + differences.tobytes()) + packer.flush()
    return base64.b64encode(packed).decode()


def sum_before(flat: np.ndarray, distances: Iterable[int]) -> np.ndarray:
    """Return for each value of a line the sum of those that lie some distances before it, 0 where the line begins."""
    total = np.zeros_like(flat)
    for distance in distances:
        total[distance:] += flat[:-distance]
    return total
