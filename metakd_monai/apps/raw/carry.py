"""Files of masks and maps: resampled from a case onto its raw series' grids, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from metakd_monai.apps.raw.back_transform import labels_to_case, labels_to_raw, map_to_raw
from metakd_monai.apps.raw.template import AFFINE, SHAPE
from metakd_monai.apps.raw.transforms_file import FILE, RawGrid, read_transforms
from metakd_monai.data.cases import NIFTI, OWN_SUFFIXES, Case
from metakd_monai.data.files import checksum, read_record, write_json, write_safely
from metakd_monai.data.nifti import (
    check_grid,
    is_on_grid,
    read_labels,
    read_nifti,
    read_voxels,
    region_ml,
    write_like,
    write_volume,
)
from metakd_monai.data.temporaries import remove
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

logger = logging.getLogger(__name__)

CASE = "the case (SRI24)"
VOLUMES = "volumes.json"


def write_on_grid(path: Path, voxels: np.ndarray, grid: RawGrid) -> None:
    """Write voxels ``(*S)`` or ``(*S, C)`` on a raw grid, with the raw file's header if the file still exists."""
    if grid.file is not None and grid.file.is_file():
        file = read_nifti(grid.file)
        if file.shape == grid.shape and np.allclose(file.affine, grid.affine, atol=1e-3):
            write_like(path, voxels, grid.file)
            return
    image = nib.Nifti1Image(voxels, grid.affine)
    image.set_qform(grid.affine, 1)
    image.set_sform(grid.affine, 1)
    image.header.set_xyzt_units("mm")
    write_safely(path, lambda temporary: nib.save(image, temporary))


def carry_labels(mask: Path, grids: Mapping[Modality, RawGrid], output: Path, stem: str) -> dict[str, dict[str, float]]:
    """Write a case's label map onto raw grids as ``<stem>_<sequence>.nii.gz``.

    Returns:
        The volumes of ET, TC and WT in mL on each grid.

    Raises:
        UserError: for a mask that is on another grid than the case's.
    """
    labels = read_case_labels(mask)
    volumes = {}
    for modality, grid in grids.items():
        found = labels_to_raw(labels, grid)
        write_on_grid(output / f"{stem}_{modality.value}.nii.gz", found, grid)
        volumes[modality.value] = region_ml(found, grid.affine)
    return volumes


def carry_maps(maps: Path, grids: Mapping[Modality, RawGrid], output: Path, stem: str) -> None:
    """Write a map of a case, 3-D or with channels last, onto raw grids as ``<stem>_<sequence>.nii.gz``."""
    file = read_nifti(maps)
    check_grid(maps, file.shape[:3], file.affine, SHAPE, AFFINE, CASE)
    values = read_voxels(maps, file)
    stack = values if values.ndim == 4 else values[..., None]
    for modality, grid in grids.items():
        found = np.stack([map_to_raw(stack[..., n], grid) for n in range(stack.shape[-1])], axis=-1)
        write_on_grid(output / f"{stem}_{modality.value}.nii.gz", found if values.ndim == 4 else found[..., 0], grid)


def read_case_labels(mask: Path) -> np.ndarray:
    """Read a label map on the grid of every prepared case; raises UserError for another one."""
    file = read_nifti(mask)
    check_grid(mask, file.shape, file.affine, SHAPE, AFFINE, CASE)
    return read_labels(mask, file)


def carry_inverse(mask: Path, grids: Mapping[Modality, RawGrid], output: Path) -> tuple[Modality, dict[str, float]]:
    """Resample labels drawn on a raw grid onto the case's grid; return the sequence of the raw grid, and the mL.

    Raises:
        UserError: for a mask that is on none of the raw grids.
    """
    file = read_nifti(mask)
    fitting = [m for m, grid in grids.items() if is_on_grid(file.shape, file.affine, grid.shape, grid.affine)]
    if not fitting:
        names = ", ".join(modality.value for modality in grids)
        raise UserError(f"{mask}: on the grid of none of {names}; expected a mask on the grid of a raw series")
    if len(fitting) > 1 and not all(same_place(grids[fitting[0]], grids[m]) for m in fitting[1:]):
        names = ", ".join(modality.value for modality in fitting)
        raise UserError(f"{mask}: on the grid of {names}, which lie apart; expected --to with one of them")
    found = labels_to_case(read_labels(mask, file), grids[fitting[0]], SHAPE)
    write_volume(output / f"{NIFTI.sub('', mask.name)}_in_case.nii.gz", found, 1.0)
    return fitting[0], region_ml(found, AFFINE)


def same_place(a: RawGrid, b: RawGrid) -> bool:
    """Tell whether two raw grids have the same position relative to the case, within a tenth of a millimetre."""
    return bool(
        np.allclose(a.from_case[:3, :3], b.from_case[:3, :3], atol=1e-3)
        and np.allclose(a.from_case, b.from_case, atol=0.1)
    )


def prepared_case(folder: Path, notes: Sequence[str], warnings: Sequence[str]) -> Case:
    """Return a prepared case with the files of its sequences, for ``metakd predict``, and its notes and warnings."""
    name = folder.name
    files = {m: folder / f"{name}_{m.value}.nii.gz" for m in read_transforms(folder)}
    return Case(name, files, notes=tuple(notes), warnings=tuple(warnings))


def carry_case(results: Path, prepared: Path, output: Path, case_id: str) -> dict[str, dict[str, float]]:
    """Resample the results of a case onto its raw grids, unless this has been done.

    Args:
        results: the folder with ``<case>.nii.gz`` and its maps.
        prepared: the case's folder, as it was prepared.
        output: where ``<case>_<sequence>.nii.gz``, ``<map>_<sequence>.nii.gz`` and ``volumes.json`` go.
        case_id: of the case.

    Returns:
        The volumes of ET, TC and WT in mL on each raw grid.
    """
    mask = results / f"{case_id}.nii.gz"
    maps = [path for end in OWN_SUFFIXES if (path := results / f"{case_id}{end}.nii.gz").is_file()]
    settings = {path.name: checksum(path) for path in (mask, *maps, prepared / FILE)}
    record = output / VOLUMES
    found = read_record(record)
    if found.get("settings") == settings and isinstance(found.get("volumes_ml"), dict):
        return dict(found["volumes_ml"])
    grids = read_transforms(prepared)
    output.mkdir(parents=True, exist_ok=True)
    remove(record)
    volumes = carry_labels(mask, grids, output, case_id)
    for path in maps:
        carry_maps(path, grids, output, NIFTI.sub("", path.name))
    write_json(record, {"case": case_id, "settings": settings, "volumes_ml": volumes})
    return volumes
