"""Volumes in scanner space: voxels, and the affine that tells their position."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy.ndimage import affine_transform, gaussian_filter, label

from metakd_monai.data.nifti import AXES, read_nifti, read_voxels
from metakd_monai.errors import UserError

FEWEST_SLICES = 10
LONGEST_EDGE = 12.0  # mm of a voxel
FIELD_OF_VIEW = (60.0, 600.0)  # mm, limits of an image of a head along each axis
COARSE_MM = 2.0  # mm, voxels for registration


@dataclass(frozen=True)
class Volume:
    """An image with its position.

    Attributes:
        voxels: ``(*S)``, float32.
        affine: ``(4, 4)``, from voxels to mm towards right, anterior, superior.
    """

    voxels: np.ndarray
    affine: np.ndarray

    @property
    def edges(self) -> np.ndarray:
        """The lengths of a voxel's edges in mm, ``(3,)``."""
        return voxel_sizes(self.affine)

    @property
    def middle(self) -> np.ndarray:
        """The middle of the field of view in mm, ``(3,)``."""
        return apply_affine(self.affine, (np.array(self.voxels.shape) - 1) / 2)


def read_raw(path: Path) -> Volume:
    """Read a NIfTI file as written by a scanner or a converter.

    Raises:
        UserError: for what :func:`~metakd_monai.data.nifti.read_nifti` refuses; for other than three axes, fewer than
            ten slices, voxels or a field of view impossible for a head, a header without the position of the voxels,
            and values that are not finite or all the same.
    """
    file = read_nifti(path)
    if len(file.shape) != AXES:
        raise UserError(f"{path}: shape {file.shape} found; expected a 3-D series, one volume in each file")
    if not int(file.header["sform_code"]) and not int(file.header["qform_code"]):
        raise UserError(
            f"{path}: sform_code and qform_code are 0, so the header does not say which side is left; expected one of"
            " them (convert the DICOM series with dcm2niix, or give its folder)"
        )
    check_geometry(path, file.shape, file.affine)
    volume = Volume(read_voxels(path, file), np.asarray(file.affine, dtype=float))
    check_values(path, volume.voxels)
    return volume


def check_geometry(where: str | Path, shape: tuple[int, ...], affine: np.ndarray) -> None:
    """Raise UserError for a grid impossible for a whole head."""
    edges = voxel_sizes(affine)
    if min(shape) < FEWEST_SLICES:
        raise UserError(f"{where}: shape {shape} found; expected at least {FEWEST_SLICES} slices")
    if edges.max() > LONGEST_EDGE:
        raise UserError(f"{where}: voxels of {edges.max():.3g} mm found; expected at most {LONGEST_EDGE:g} mm")
    view = edges * shape
    if view.min() < FIELD_OF_VIEW[0] or view.max() > FIELD_OF_VIEW[1]:
        raise UserError(
            f"{where}: a field of view of {' x '.join(f'{length:.0f}' for length in view)} mm found; expected"
            f" {FIELD_OF_VIEW[0]:g} to {FIELD_OF_VIEW[1]:g} mm along each axis"
        )


def check_values(where: str | Path, voxels: np.ndarray) -> None:
    """Raise UserError for values that are not finite or all the same."""
    low, high = float(voxels.min()), float(voxels.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"{where}: voxels that are NaN or infinite found; expected finite intensities")
    if low == high:
        raise UserError(f"{where}: constant ({low:g} everywhere); expected an image of a head")


def upright_grid(volume: Volume, edge: float) -> tuple[tuple[int, ...], np.ndarray]:
    """Return shape and affine of a grid along the world's axes, cubes of ``edge`` mm, around a whole volume."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in volume.voxels.shape], indexing="ij")).reshape(AXES, -1).T
    placed = apply_affine(volume.affine, corners)
    low, high = placed.min(axis=0), placed.max(axis=0)
    shape = tuple(int(n) for n in np.maximum(1, np.ceil((high - low) / edge - 1e-6)))
    affine = np.diag([edge, edge, edge, 1.0])
    affine[:AXES, AXES] = (low + high) / 2 - edge * (np.array(shape) - 1) / 2
    return shape, affine


def resample(
    volume: Volume,
    shape: tuple[int, ...],
    affine: np.ndarray,
    to_volume: np.ndarray | None = None,
    outside: float | None = 0.0,
) -> np.ndarray:
    """Resample a volume linearly on another grid, smoothed first if the other voxels are longer.

    Args:
        volume: the volume to resample.
        shape: of the other grid.
        affine: of the other grid, ``(4, 4)``.
        to_volume: from the other grid's world to the volume's, ``(4, 4)``; None if they are the same.
        outside: value beyond the centres of the outermost voxels; None to extend their values.

    Returns:
        ``(*shape)``, float32.
    """
    place = np.linalg.inv(volume.affine) @ (np.eye(AXES + 1) if to_volume is None else to_volume) @ affine
    voxels = smooth_for(volume, float(voxel_sizes(affine).min()))
    beyond = {"mode": "nearest"} if outside is None else {"mode": "constant", "cval": outside}
    return np.asarray(
        affine_transform(voxels, place[:AXES, :AXES], place[:AXES, AXES], shape, np.float32, order=1, **beyond)
    )


def smooth_for(volume: Volume, edge: float) -> np.ndarray:
    """Return voxels smoothed along each axis on which they are shorter than ``edge`` mm by a quarter or more."""
    ratio = edge / volume.edges
    if (ratio < 4 / 3).all():
        return volume.voxels
    sigma = np.where(ratio < 4 / 3, 0.0, 0.4 * np.sqrt(np.maximum(ratio**2 - 1, 0)))
    return np.asarray(gaussian_filter(volume.voxels, sigma))


def coarse(volume: Volume, edge: float = COARSE_MM) -> Volume:
    """Return a volume for registration: along the world's axes, in cubes of ``edge`` mm."""
    shape, affine = upright_grid(volume, edge)
    return Volume(resample(volume, shape, affine, outside=float(volume.voxels.min())), affine)


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask ``(*S)`` that is not empty."""
    parts, _ = label(mask)
    return np.asarray(parts == 1 + np.bincount(parts.ravel())[1:].argmax())
