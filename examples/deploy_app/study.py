"""What lies in an input folder: the sequences of one patient, as NIfTI files or as DICOM series."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from dicom import find_series, read_series
from grid import to_one_grid
from monai.data import MetaTensor

from metakd_monai.cases import NIFTI, find_cases, recognise, safe_case_id
from metakd_monai.nifti import check_image, read_sequences
from metakd_monai.transforms import REFERENCE, LoadImageModalitiesd
from metakd_monai.vocabulary import Modality, UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """One patient's sequences on one grid.

    Attributes:
        case_id: what results are named after.
        images: ``(1, *S)`` float32 with affine, of the sequences that are there.
        reference: the file whose grid it is; None for DICOM.
        series: the DICOM instances of the series whose grid it is, slice by slice as in the images' first axis.
    """

    case_id: str
    images: Mapping[Modality, MetaTensor]
    reference: Path | None = None
    series: Sequence[Any] = field(default=(), repr=False)

    @property
    def affine(self) -> torch.Tensor:
        """From voxels to millimetres towards right, anterior, superior."""
        affine: torch.Tensor = next(iter(self.images.values())).affine
        return affine

    def stack(self) -> torch.Tensor:
        """Return the sequences as ``(*S, N)``, channels last as Deploy wants them, zeros for those that are absent."""
        shape = next(iter(self.images.values())).shape
        channels = [self.images[m].as_tensor() if m in self.images else torch.zeros(shape) for m in Modality]
        return torch.cat(channels).movedim(0, -1)


def read_study(source: str | Path) -> Study:
    """Read a folder (or one 4-D NIfTI file); NIfTI files go before DICOM.

    Raises:
        UserError: when there is no sequence, more than one patient, or sequences are damaged or not aligned.
    """
    path = Path(source)
    if path.is_file() or any(NIFTI.search(file.name) for file in path.rglob("*")):
        return read_files(path)
    case_id, series = find_series(path)
    volumes = {modality: read_series(instances) for modality, instances in series.items()}
    images = {modality: volume.image for modality, volume in volumes.items()}
    for modality, image in images.items():
        check_image(path, image.numpy(), modality.value)
    reference, resampled = to_one_grid(images)
    logger.info("grid of %s, %s", reference.value, tuple(images[reference].shape[1:]))
    return Study(safe_case_id(case_id), resampled, series=volumes[reference].instances)


def read_files(path: Path) -> Study:
    """Read the NIfTI files of one case, or one 4-D file, also when it lies in a folder alone."""
    files = [file for file in path.rglob("*") if NIFTI.search(file.name)]
    alone = len(files) == 1 and recognise(files[0].name) is None
    cases = find_cases(files[0] if alone else path)
    if len(cases) > 1:
        raise UserError(f"{path}: {len(cases)} cases found; expected those of one patient")
    case = cases[0]
    if isinstance(case.files, Path):
        item = LoadImageModalitiesd()(case.as_item())
        stack, reference = item["image"], Path(item["image"].meta[REFERENCE])
        there = zip(Modality, stack.split(1), item["available"].tolist(), strict=True)
        return Study(case.case_id, {modality: image for modality, image, present in there if present}, reference)
    case.as_item()  # raises what is wrong with the case
    images = {modality: read_image(file, modality) for modality, file in case.files.items()}
    finest, resampled = to_one_grid(images)
    return Study(case.case_id, resampled, case.files[finest])


def read_image(path: Path, modality: Modality) -> MetaTensor:
    """Read one sequence as ``(1, *S)``."""
    read = read_sequences({modality: path})
    return MetaTensor(torch.from_numpy(read.channels[modality])[None], affine=torch.as_tensor(read.affine))
