"""Sequences by name, absence as data, masks on the very grid of their image."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import SaveImaged, Transform

from metakd_monai.cases import check_case_id, find_cases, name_sequences
from metakd_monai.memory import check_volume
from metakd_monai.nifti import NiftiFile, check_grid, check_image, clear_background, read_nifti, read_voxels, write_like
from metakd_monai.vocabulary import Modality, UserError, parse_modalities, parse_modality

logger = logging.getLogger(__name__)

REFERENCE = "reference"  # meta key: the file whose grid and header the image has
NOTE = "note"  # meta key: a line on what was changed in the image, or nothing
CASE_ID = "case_id"


class LoadImageModalitiesd(Transform):
    """Load the sequences of a case as one channel-first image, and say which of them are there.

    The item's ``image`` may be a mapping from modality to file, a list of files or a folder (recognised by name), one
    4-D file with a channel for each modality in channel order, or an array ``(N, *S)``. Adds ``available`` ``(N,)``
    bool. An absent modality's channel is zero, a placeholder that nothing reads; in a 4-D file or array, a channel
    that is 0 or NaN all over is absent. A background other than 0 becomes 0, see
    :func:`~metakd_monai.nifti.clear_background`.

    The class is no LoadImaged: MONAI Label would wrap that and refuse a folder. Its name holds ``LoadImage``: MONAI
    Deploy leaves such transforms out, since its operators hand over images.

    Args:
        key: of the image in the item.
        modalities: use only these; None for all that are there.
        memory_limit: GiB of the process, which the case must fit into; None for what is free.
        log: whether to log a warning where a background was set to 0; its line is in the image's meta data anyway.

    Raises:
        UserError: (on call) for a missing, damaged, constant or non-finite file, for sequences on different grids, a
            4-D file or array with another number of channels, a volume that does not fit, and when no modality is left.
    """

    def __init__(
        self,
        key: str = "image",
        modalities: str | Iterable[str] | None = None,
        memory_limit: float | None = None,
        log: bool = True,
    ) -> None:
        self.key = key
        self.modalities = parse_modalities(modalities)
        self.memory_limit, self.log = memory_limit, log

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with ``image`` ``(N, *S)`` float32 and ``available`` ``(N,)``."""
        loaded = self.read(data[self.key])
        if not loaded.channels:
            expected = ", ".join(m.value for m in self.modalities)
            raise UserError(f"{loaded.reference}: no modality left; expected at least one of {expected}")
        found = ", ".join(f"{modality.value} {value}" for modality, value in loaded.backgrounds.items())
        note = f"background of {found} found; taken for the outside of the brain and set to 0" if found else ""
        if note and self.log:
            logger.warning("%s: %s", loaded.reference, note)
        shape = next(iter(loaded.channels.values())).shape
        stack = np.stack([loaded.channels.get(m, np.zeros(shape, np.float32)) for m in Modality])
        affine = torch.as_tensor(np.asarray(loaded.affine), dtype=torch.float64)
        meta = {
            REFERENCE: loaded.reference,
            "original_affine": affine.clone(),
            "original_channel_dim": 0,
            "spatial_shape": np.asarray(shape),
            CASE_ID: data.get(CASE_ID),
            NOTE: note,
        }
        if loaded.is_file:
            meta["filename_or_obj"] = loaded.reference
        image = MetaTensor(torch.from_numpy(stack), affine=affine, meta=meta)
        available = torch.tensor([m in loaded.channels for m in Modality])
        return {**data, self.key: image, "available": available}

    def read(self, source: Any) -> Loaded:
        """Read what an item may name as its image."""
        if isinstance(source, (np.ndarray, torch.Tensor)):
            voxels = np.asarray(source, dtype=np.float32)
            affine = source.affine if isinstance(source, MetaTensor) else np.eye(voxels.ndim)
            return self.split(voxels, affine, self.key)
        if isinstance(source, (str, Path)) and not Path(source).is_dir():
            return self.read_stack(read_nifti(source))
        return self.read_files(files_of(source))

    def read_files(self, files: Mapping[Modality, Path]) -> Loaded:
        """Read one file for each modality, at the same time; all must be on one grid."""
        wanted = {m: read_nifti(files[m]) for m in self.modalities if m in files}
        first = next(iter(wanted.values()), None)
        if first is None:
            return Loaded({}, {}, None, str(next(iter(files.values()))))
        for file in wanted.values():
            check_grid(file.path, file.shape, file.affine, first.shape, first.affine, "the case's other modalities")
        check_volume(first.path, math.prod(first.shape), self.memory_limit)

        def read(modality: Modality) -> tuple[np.ndarray, str | None]:
            file = wanted[modality]
            return prepare(file.path, read_voxels(file.path, file), modality.value)

        with ThreadPoolExecutor(len(Modality)) as pool:  # unpacking lets other threads run
            done = dict(zip(wanted, pool.map(read, wanted), strict=True))
        return Loaded(*split_pairs(done), first.affine, str(first.path), is_file=True)

    def read_stack(self, file: NiftiFile) -> Loaded:
        """Read a 4-D file."""
        if len(file.shape) != 4 or file.shape[-1] != len(Modality):
            names = ", ".join(m.value for m in Modality)
            raise UserError(
                f"{file.path}: shape {file.shape}; expected a 4-D file with {len(Modality)} channels ({names}),"
                " or a folder with one file for each modality"
            )
        check_volume(file.path, math.prod(file.shape[:-1]), self.memory_limit)
        voxels = np.moveaxis(read_voxels(file.path, file), -1, 0)
        return replace(self.split(voxels, file.affine, str(file.path)), is_file=True)

    def split(self, voxels: np.ndarray, affine: Any, where: str) -> Loaded:
        """Split ``(N, *S)`` into the channels that are there: those that are not 0 or NaN all over."""
        if len(voxels) != len(Modality):
            names = ", ".join(m.value for m in Modality)
            raise UserError(f"{where}: shape {voxels.shape}; expected {len(Modality)} channels first ({names})")
        done = {}
        for number, modality in enumerate(Modality):
            channel = voxels[number]
            if modality in self.modalities and ((channel != 0) & ~np.isnan(channel)).any():
                what = f"channel {number} ({modality.value})"
                done[modality] = prepare(where, np.ascontiguousarray(channel), what)
        return Loaded(*split_pairs(done), affine, where)


@dataclass(frozen=True)
class Loaded:
    """What was read of a case.

    Attributes:
        channels: ``(*S)`` float32 of each modality that is there.
        backgrounds: what was around the brain in those where it was not 0, for the user.
        affine: ``(4, 4)``.
        reference: the file whose grid it is, or the item's key.
        is_file: whether it is a file.
    """

    channels: Mapping[Modality, np.ndarray]
    backgrounds: Mapping[Modality, str]
    affine: Any
    reference: str
    is_file: bool = False


def prepare(where: str | Path, voxels: np.ndarray, what: str) -> tuple[np.ndarray, str | None]:
    """Check a sequence ``(*S)`` and set its background to 0; return it, and what that was if not 0."""
    voxels, background = clear_background(voxels)
    check_image(where, voxels, what)
    return voxels, background


def split_pairs(
    done: Mapping[Modality, tuple[np.ndarray, str | None]],
) -> tuple[dict[Modality, np.ndarray], dict[Modality, str]]:
    """Return the voxels by modality, and the backgrounds of those where it was not 0."""
    return {m: voxels for m, (voxels, _) in done.items()}, {m: value for m, (_, value) in done.items() if value}


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
