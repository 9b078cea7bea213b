"""Label maps as clients save them, made such that training reads them. No MONAI Label is needed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import itk
import numpy as np

from metakd_monai.apps.examination import Examination
from metakd_monai.apps.raw.carry import carry_inverse
from metakd_monai.apps.raw.transforms_file import read_transforms
from metakd_monai.data.cases.sequences import NIFTI
from metakd_monai.errors import UserError


def readable_label(path: Path, segments: Sequence[str], values: Mapping[str, int], folder: Path) -> Path:
    """Return a label map that training reads: the file itself, or one made of it.

    3D Slicer saves the n-th segment as n, whichever segments there are, and NRRD where that is set; it sends the
    segments' names along.

    Args:
        path: of the label map.
        segments: names of its values 1, 2, ...; none where the client sent none, and values are taken as they are.
        values: of the names in training.
        folder: for what is made.

    Raises:
        UserError: for a segment of another name, and for layers of segments that overlap.
    """
    unknown = next((name for name in segments if name not in values), None)
    if unknown is not None:
        raise UserError(f"{path}: segment {unknown!r} found; expected some of {', '.join(values)}")
    table = np.arange(256, dtype=np.uint8)
    table[1 : len(segments) + 1] = [values[name] for name in segments]
    if NIFTI.search(path.name) and (table == np.arange(256)).all():
        return path
    image = itk.imread(str(path))
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise UserError(f"{path}: segments in several layers found; expected one label map, without overlaps")
    found = np.rint(itk.array_from_image(image))
    if found.min() < 0 or found.max() > table.max():
        raise UserError(f"{path}: values {found.min()} to {found.max()} found; expected labels")
    made = itk.image_from_array(table[found.astype(np.uint8)])
    made.CopyInformation(image)
    target = folder / f"{path.name.split('.')[0]}.nii.gz"
    itk.imwrite(made, str(target))
    return target


def lay_on_image(label: Path, image: Path) -> None:
    """Write a label map anew on its image's grid: a DICOM Segmentation often lacks the slices where nothing is."""
    found, whole = itk.imread(str(label), itk.UC), itk.imread(str(image), itk.F)
    nearest = itk.NearestNeighborInterpolateImageFunction[type(found), itk.D].New()
    laid = itk.resample_image_filter(found, interpolator=nearest, use_reference_image=True, reference_image=whole)
    itk.imwrite(laid, str(label))


def label_of_case(label: Path, examination: Examination, folder: Path) -> Path:
    """Return a label map on the grid of its case: of a prepared one, made of what was drawn on one of its series.

    Raises:
        UserError: for a label map that is on the grid of none.
    """
    if examination.prepared is None:
        return label
    carry_inverse(label, read_transforms(examination.prepared), folder)
    return folder / f"{NIFTI.sub('', label.name)}_in_case.nii.gz"
