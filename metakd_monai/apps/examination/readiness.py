"""Series without skull and on one grid need no preparation: they are segmented as they are, voxel for voxel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from metakd_monai.apps.raw.carry import write_on_grid
from metakd_monai.apps.raw.checks import is_stripped
from metakd_monai.apps.raw.raw_cases import RawCase
from metakd_monai.apps.raw.transforms_file import RawGrid
from metakd_monai.apps.raw.volumes import Volume
from metakd_monai.data.cases import Case
from metakd_monai.data.nifti import is_on_grid
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality


def take_as_is(raw: RawCase, folder: Path) -> Case | str:
    """Return a case for ``metakd predict`` whose series are ready; or why they are not, in a few words.

    Args:
        raw: of NIfTI files, which are used in place, or of DICOM series, which are written as NIfTI.
        folder: for the NIfTI files of DICOM series.
    """
    if raw.stacked is not None:
        return Case(raw.case_id, raw.stacked, notes=raw.notes)
    try:
        volumes = {modality: raw.read(modality) for modality in raw.series}
    except UserError as error:
        return str(error)
    reason = why_not_ready(volumes)
    if reason is not None:
        return reason
    files = {m: write_series(raw, m, volumes[m], folder) for m in volumes}
    return Case(raw.case_id, files, notes=(*raw.notes, "no skull and one grid: taken as it is"))


def why_not_ready(volumes: Mapping[Modality, Volume]) -> str | None:
    """Say why the series of a case must be prepared; None if they have no skull and are on one grid."""
    heads = [modality.value for modality, volume in volumes.items() if not is_stripped(volume)]
    if heads:
        return f"{', '.join(heads)}: with skull, or no whole brain"
    (first, reference), *others = volumes.items()
    for modality, volume in others:
        if not is_on_grid(volume.voxels.shape, volume.affine, reference.voxels.shape, reference.affine):
            return f"{first.value} and {modality.value}: not on one grid"
    return None


def write_series(raw: RawCase, modality: Modality, volume: Volume, folder: Path) -> Path:
    """Return the NIfTI file of a series; that of a DICOM series is written first."""
    source = raw.series[modality]
    if isinstance(source, Path):
        return source
    path = folder / f"{raw.case_id}_{modality.value}.nii.gz"
    folder.mkdir(parents=True, exist_ok=True)
    write_on_grid(path, volume.voxels, RawGrid(volume.voxels.shape, volume.affine, volume.affine, None))
    return path
