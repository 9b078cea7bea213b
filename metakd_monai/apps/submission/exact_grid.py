"""Grids as ITK reads them from a header: what the BraTS servers compare, without tolerance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import itk

from metakd_monai.data.nifti import read_nifti
from metakd_monai.errors import UserError, in_one_line


@dataclass(frozen=True)
class Grid:
    """The grid of a volume in ITK's terms.

    Attributes:
        size: voxels along each axis.
        spacing: in mm.
        origin: of the first voxel's centre, in mm towards left, posterior and superior.
        direction: cosines, row after row.
    """

    size: tuple[float, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]


def read_grid(path: Path) -> Grid:
    """Read the grid of a NIfTI file's first three axes through ITK; no voxels are read.

    Raises:
        UserError: when the file is missing, or ITK cannot read its header.
    """
    read_nifti(path)  # its message on a damaged file is clearer
    reader = itk.ImageFileReader[itk.Image[itk.F, 3]].New(FileName=str(path))
    try:
        reader.UpdateOutputInformation()
    except RuntimeError as error:
        reason = in_one_line(str(error).split("\n", 1)[-1])
        raise UserError(f"{path}: ITK cannot read it ({reason}); expected a NIfTI file") from None
    image = reader.GetOutput()
    return Grid(
        size=tuple(map(int, itk.size(image))),
        spacing=to_floats(image.GetSpacing()),
        origin=to_floats(image.GetOrigin()),
        direction=to_floats(itk.array_from_matrix(image.GetDirection()).ravel()),
    )


def to_floats(values: itk.Vector) -> tuple[float, ...]:
    """Return the numbers as floats, with 0 for -0, which is equal to it."""
    return tuple(float(value) + 0.0 for value in values)


def compare_grids(path: Path, found: Grid, reference: Path, expected: Grid) -> list[str]:
    """Return one line with all differences between two grids, to the last digit; none if they are equal."""
    wanted = asdict(expected)
    differ = {name: value for name, value in asdict(found).items() if value != wanted[name]}
    if not differ:
        return []
    have = ", ".join(f"{name} {value}" for name, value in differ.items())
    want = ", ".join(f"{name} {wanted[name]}" for name in differ)
    return [f"{path}: {have} found; expected exactly {want} of {reference.name}"]


def compare_qforms(path: Path, reference: Path) -> list[str]:
    """Return a line if the qform matrix differs from the input's: the server of 2023 compares it, whatever its code."""
    found, expected = (read_nifti(file).header.get_qform() for file in (path, reference))
    if (found == expected).all():
        return []
    have, want = (", ".join(str(float(value)) for value in matrix[:3].ravel()) for matrix in (found, expected))
    return [f"{path}: qform ({have}) found; expected exactly ({want}) of {reference.name}"]
