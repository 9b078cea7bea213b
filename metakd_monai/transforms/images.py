"""Sequences by name, absence as data, masks on the very grid of their image."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import SaveImaged, Transform

from metakd_monai.cases import check_case_id, find_cases, name_sequences
from metakd_monai.files import check_image, read_nifti, read_voxels, write_like
from metakd_monai.vocabulary import Modality, UserError, parse_modalities, parse_modality

REFERENCE = "reference"  # meta key: the file whose grid and header the image has
CASE_ID = "case_id"


class LoadImageModalitiesd(Transform):
    """Load the sequences of a case as one channel-first image, and say which of them are there.

    The item's ``image`` may be a mapping from modality to file, a list of files or a folder (recognised by name), one
    4-D file with a channel for each modality in channel order, or an array ``(N, *S)``. Adds ``available`` ``(N,)``
    bool. An absent modality's channel is zero, a placeholder that nothing reads; in a 4-D file or array, a channel
    that is 0 or NaN all over is absent.

    The class is no LoadImaged: MONAI Label would wrap that and refuse a folder. Its name holds ``LoadImage``: MONAI
    Deploy leaves such transforms out, since its operators hand over images.

    Args:
        key: of the image in the item.
        modalities: use only these; None for all that are there.

    Raises:
        UserError: (on call) for a missing, damaged, constant or non-finite file, for sequences on different grids, a
            4-D file or array with another number of channels, and when no modality is left.
    """

    def __init__(self, key: str = "image", modalities: str | Iterable[str] | None = None) -> None:
        self.key = key
        self.modalities = parse_modalities(modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with ``image`` ``(N, *S)`` float32 and ``available`` ``(N,)``."""
        channels, affine, meta = self.read(data[self.key])
        if not channels:
            expected = ", ".join(m.value for m in self.modalities)
            raise UserError(f"{meta[REFERENCE]}: no modality left; expected at least one of {expected}")
        shape = next(iter(channels.values())).shape
        stack = np.stack([channels.get(m, np.zeros(shape, np.float32)) for m in Modality])
        affine = torch.as_tensor(np.asarray(affine), dtype=torch.float64)
        meta |= {
            "original_affine": affine.clone(),
            "original_channel_dim": 0,
            "spatial_shape": np.asarray(shape),
            CASE_ID: data.get(CASE_ID),
        }
        image = MetaTensor(torch.from_numpy(stack), affine=affine, meta=meta)
        available = torch.tensor([m in channels for m in Modality])
        return {**data, self.key: image, "available": available}

    def read(self, source: Any) -> tuple[dict[Modality, np.ndarray], Any, dict[str, Any]]:
        """Return channels ``(*S)`` float32, their affine, and meta data that name where they come from."""
        if isinstance(source, (np.ndarray, torch.Tensor)):
            voxels = np.asarray(source, dtype=np.float32)
            affine = source.affine if isinstance(source, MetaTensor) else np.eye(voxels.ndim)
            return self.split(voxels, self.key), affine, {REFERENCE: self.key}
        if isinstance(source, (str, Path)) and not Path(source).is_dir():
            channels, reference = self.read_stack(Path(source))
        else:
            channels, reference = self.read_files(files_of(source))
        meta = {REFERENCE: str(reference), "filename_or_obj": str(reference)}
        return channels, read_nifti(reference).affine, meta

    def read_files(self, files: Mapping[Modality, Path]) -> tuple[dict[Modality, np.ndarray], Path]:
        """Read one file for each modality, at the same time; all must be on one grid."""
        first = next(iter(files.values()))
        wanted = {m: files[m] for m in self.modalities if m in files}
        grid = read_nifti(next(iter(wanted.values()), first))

        def read(modality: Modality) -> np.ndarray:
            image = read_nifti(wanted[modality])
            check_grid(wanted[modality], image.shape, image.affine, grid.shape, grid.affine)
            voxels = read_voxels(wanted[modality], image)
            check_image(wanted[modality], voxels, modality.value)
            return voxels

        with ThreadPoolExecutor(len(Modality)) as pool:  # unpacking lets other threads run
            channels = dict(zip(wanted, pool.map(read, wanted), strict=True))
        return channels, next(iter(wanted.values()), first)

    def read_stack(self, path: Path) -> tuple[dict[Modality, np.ndarray], Path]:
        """Read a 4-D file."""
        image = read_nifti(path)
        if len(image.shape) != 4 or image.shape[-1] != len(Modality):
            names = ", ".join(m.value for m in Modality)
            raise UserError(
                f"{path}: shape {image.shape}; expected a 4-D file with {len(Modality)} channels ({names}),"
                " or a folder with one file for each modality"
            )
        return self.split(np.moveaxis(read_voxels(path, image), -1, 0), path), path

    def split(self, voxels: np.ndarray, where: str | Path) -> dict[Modality, np.ndarray]:
        """Split ``(N, *S)`` into the channels that are there: those that are not 0 or NaN all over."""
        if len(voxels) != len(Modality):
            names = ", ".join(m.value for m in Modality)
            raise UserError(f"{where}: shape {voxels.shape}; expected {len(Modality)} channels first ({names})")
        channels = {}
        for number, modality in enumerate(Modality):
            channel = voxels[number]
            if modality in self.modalities and ((channel != 0) & ~np.isnan(channel)).any():
                channels[modality] = np.ascontiguousarray(channel)
                check_image(where, channels[modality], f"channel {number} ({modality.value})")
        return channels


def files_of(source: Mapping[str, str] | Iterable[str] | str | Path) -> dict[Modality, Path]:
    """Say which file is which sequence, for the forms that a datalist may use."""
    if isinstance(source, (str, Path)):
        cases = find_cases(source)
        if len(cases) > 1 or isinstance(cases[0].files, Path):
            raise UserError(f"{source}: {len(cases)} cases found; expected the folder of one case")
        return dict(cases[0].files)
    if isinstance(source, Mapping):
        return {parse_modality(str(getattr(name, "value", name))): Path(path) for name, path in source.items()}
    return name_sequences([Path(path) for path in source])


def check_grid(path: Path, shape: tuple, affine: np.ndarray, want_shape: tuple, want_affine: np.ndarray) -> None:
    """Raise UserError unless a 3-D file is on the grid of the case's first one (affine to 1e-3 mm)."""
    if len(shape) != 3:
        raise UserError(f"{path}: shape {shape}; expected a 3-D volume")
    if shape != want_shape:
        raise UserError(f"{path}: shape {shape}; expected {want_shape} as in the case's other modalities")
    if not np.allclose(affine, want_affine, atol=1e-3):
        found, wanted = (np.round(a[:3], 3).tolist() for a in (affine, want_affine))
        raise UserError(f"{path}: affine {found}; expected {wanted} as in the case's other modalities")


class SaveImageMaskd(SaveImaged):
    """Write a label map ``(1, *S)`` as ``<case>.nii.gz``, uint8, with the grid and header of the image it is of.

    It is a SaveImaged, so that MONAI Label and MONAI Deploy, which write results themselves, leave it out.

    Args:
        keys: of the label maps; each must carry the meta data that :class:`LoadImageModalitiesd` gave the image.
        output_dir: where to.
        image_key: whose meta data says what the grid is.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys=allow_missing_keys, output_dir=output_dir)
        self.output_dir = Path(output_dir)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files and return the item as it is."""
        for key in self.key_iterator(dict(data)):
            meta = data[self.image_key].meta
            voxels = np.asarray(data[key][0].cpu(), dtype=np.uint8)
            case_id = check_case_id(meta[CASE_ID], "case_id")
            write_like(self.output_dir / f"{case_id}.nii.gz", voxels, meta[REFERENCE])
        return dict(data)
