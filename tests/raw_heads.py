"""Heads to prepare: a simulated brain in SRI24's place with a skull, scanned in thick slices with moved headers."""

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform, binary_dilation

from metakd_monai.apps.raw.registration import rigid
from metakd_monai.apps.raw.template import AFFINE, SHAPE
from metakd_monai.apps.simulation.toy import CONTRAST, make_brain
from metakd_monai.data.nifti import write_volume
from metakd_monai.vocabulary import Modality

HALF = (120, 120, 78)  # voxels of 2 mm that hold SRI24's grid
SCANS = {  # shape, edges in mm, degrees about each axis, mm along each axis: of the header against SRI24
    Modality.T1CE: ((180, 210, 34), (1.0, 1.0, 5.0), (4.0, -3.0, 5.0), (6.0, -4.0, 8.0)),
    Modality.FLAIR: ((200, 200, 36), (0.9, 1.1, 4.8), (-9.0, 4.0, -6.0), (-15.0, 18.0, 10.0)),
}


def tissues(seed: int = 0) -> np.ndarray:
    """Return a tissue map on SRI24's grid, 0 outside the brain; made of cubes of 2 mm."""
    return enlarge(make_brain(np.random.default_rng(seed), HALF, 2.0)[0])


def enlarge(volume: np.ndarray) -> np.ndarray:
    """Return a volume of cubes of 2 mm on SRI24's grid."""
    for axis in range(3):
        volume = volume.repeat(2, axis)
    return volume[tuple(slice(0, length) for length in SHAPE)]


def write_template(path: Path, tissue: np.ndarray) -> None:
    """Write the T1 image of a tissue map, as SRI24's."""
    write_volume(path, image_of(tissue, Modality.T1), 1.0)


def image_of(tissue: np.ndarray, modality: Modality) -> np.ndarray:
    """Return the image of a tissue map, int16, 0 outside."""
    values = np.array(CONTRAST[modality])[tissue] * 500
    return np.where(tissue > 0, np.clip(values, 1, None), 0).astype(np.int16)


def with_skull(image: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """Return an image with dark bone and bright scalp around the brain, and noise in the air."""
    bone = binary_dilation(tissue[::2, ::2, ::2] > 0, iterations=3)
    bone, scalp = enlarge(bone), enlarge(binary_dilation(bone, iterations=3))
    noise = np.random.default_rng(1).uniform(0, 12, image.shape)
    whole = np.where(scalp & ~bone, 700.0, np.where(bone, 30.0, 0.0)) + noise
    return np.where(tissue > 0, image, whole).astype(np.float32)


def scan(head: np.ndarray, modality: Modality) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scan a head on SRI24's grid; return voxels, affine, and the motion from SRI24's world to the scan's."""
    shape, edges, degrees, shift = SCANS[modality]
    middle = np.array([-119.5, 119.5, 77.0])
    motion = rigid(degrees, shift, middle)
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = middle + np.array(shift) - np.array(edges) * (np.array(shape) - 1) / 2
    place = np.linalg.inv(AFFINE) @ np.linalg.inv(motion) @ affine
    total = np.zeros(shape, np.float32)
    for part in np.linspace(-0.4, 0.4, 5):  # through a thick slice
        offset = place[:3, :3] @ np.array([0, 0, part]) + place[:3, 3]
        total += affine_transform(head, place[:3, :3], offset, shape, np.float32, order=1)
    return total / 5, affine, motion


def write_scan(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write voxels as a converter does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels.astype(np.int16), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)
