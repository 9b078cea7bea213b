"""The volume of a DICOM series: slices are sorted, checked, and read by GDCM, whatever their compression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metakd_monai.apps.raw.dicom_headers import SAME_PLACE, TO_RAS, UNEVEN, DicomSeries, Frame
from metakd_monai.apps.raw.volumes import FEWEST_SLICES, Volume, check_geometry, check_values
from metakd_monai.data.nifti import AXES
from metakd_monai.errors import UserError, in_one_line


def load_series(series: DicomSeries) -> Volume:
    """Read the voxels of a series.

    Raises:
        UserError: for missing, repeated or unevenly spaced slices, unreadable ones, or an impossible image of a head.
    """
    ordered, step = order_slices(series)
    shape, affine = grid_of(series, ordered, step)
    check_geometry(series.name, shape, affine)
    files: dict[Path, np.ndarray] = {}
    voxels = np.empty(shape, np.float32)
    for number, frame in enumerate(ordered):
        if frame.file not in files:
            files = {frame.file: read_pixels(frame.file)}
        pixels = files[frame.file]
        if frame.index >= len(pixels) or pixels.shape[1:] != series.size:
            raise UserError(f"{frame.file.name}: {pixels.shape} voxels found; expected slices of {series.size}")
        voxels[:, :, number] = pixels[frame.index].T
    check_values(series.name, voxels)
    return Volume(voxels, affine)


def grid_of(series: DicomSeries, ordered: Sequence[Frame], step: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Return shape (columns, rows, slices) and affine ``(4, 4)`` of a series whose slices are in order."""
    affine = np.eye(AXES + 1)
    rows, columns = np.array(series.orientation[:AXES]), np.array(series.orientation[AXES:])
    affine[:AXES, :AXES] = TO_RAS @ np.stack([rows * series.spacing[1], columns * series.spacing[0], step], axis=1)
    affine[:AXES, AXES] = TO_RAS @ np.array(ordered[0].position)
    return (series.size[1], series.size[0], len(ordered)), affine


def order_slices(series: DicomSeries) -> tuple[list[Frame], np.ndarray]:
    """Return the slices in order, and the step from each to the next in mm, ``(3,)``, in DICOM's axes.

    Raises:
        UserError: for fewer than ten slices, two at the same place, missing ones and unequal distances.
    """
    name, count = series.name, len(series.frames)
    if count < FEWEST_SLICES:
        raise UserError(f"{name}: {count} slices found; expected at least {FEWEST_SLICES}")
    ordered = sorted(series.frames, key=lambda frame: float(np.dot(frame.position, series.normal)))
    places = np.array([frame.position for frame in ordered])
    gaps = np.diff(places @ series.normal)
    usual = float(np.median(gaps))
    if gaps.min() < SAME_PLACE:
        twice = int((gaps < SAME_PLACE).sum())
        raise UserError(f"{name}: {twice} slices at a place that has one; expected one volume (dynamic series?)")
    if gaps.max() - gaps.min() > UNEVEN * usual:
        missing = np.rint(gaps / usual) - 1
        even = np.abs(gaps / (missing + 1) - usual).max() <= UNEVEN * usual
        if even and missing.sum() > 0:
            raise UserError(f"{name}: {missing.sum():.0f} of {count + missing.sum():.0f} slices missing; expected all")
        raise UserError(f"{name}: slices {gaps.min():.3g} to {gaps.max():.3g} mm apart found; expected equal distances")
    return ordered, (places[-1] - places[0]) / (count - 1)


def read_pixels(path: Path) -> np.ndarray:
    """Return the frames of a DICOM file, ``(F, rows, columns)``; raises UserError when GDCM cannot unpack them."""
    import itk

    try:
        reader: Any = itk.ImageFileReader[itk.Image[itk.F, AXES]].New(FileName=str(path), ImageIO=itk.GDCMImageIO.New())
        reader.Update()
    except RuntimeError as error:
        reason = in_one_line(str(error).split("\n", 1)[-1], 100)
        raise UserError(f"{path.name}: cannot be unpacked ({reason}); expected a DICOM image") from None
    return np.array(itk.array_view_from_image(reader.GetOutput()))
