"""Sequences by name, absence as data, masks on the very grid of their image."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import SaveImaged, Transform

from metakd_monai.data.cases import check_case_id, find_cases, name_sequences
from metakd_monai.data.nifti import Sequences, read_sequences, split_channels, write_like
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality, parse_modalities, parse_modality

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
    :func:`~metakd_monai.data.nifti.clear_background`.

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
        source = data[self.key]
        is_array = isinstance(source, (np.ndarray, torch.Tensor))
        loaded = self.split(source) if is_array else self.read(source)
        if loaded.note and self.log:
            logger.warning("%s: %s", loaded.where, loaded.note)
        empty = np.zeros(loaded.shape, np.float32)
        stack = np.stack([loaded.channels.get(m, empty) for m in Modality])
        affine = torch.as_tensor(np.asarray(loaded.affine), dtype=torch.float64)
        meta = {
            REFERENCE: loaded.where,
            "original_affine": affine.clone(),
            "original_channel_dim": 0,
            "spatial_shape": np.asarray(loaded.shape),
            CASE_ID: data.get(CASE_ID),
            NOTE: loaded.note,
        }
        if not is_array:
            meta["filename_or_obj"] = loaded.where
        image = MetaTensor(torch.from_numpy(stack), affine=affine, meta=meta)
        available = torch.tensor([m in loaded.channels for m in Modality])
        return {**data, self.key: image, "available": available}

    def split(self, source: np.ndarray | torch.Tensor) -> Sequences:
        """Return what is in an array ``(N, *S)``."""
        voxels = np.asarray(source, dtype=np.float32)
        affine = source.affine if isinstance(source, MetaTensor) else np.eye(voxels.ndim)
        return split_channels(voxels, affine, self.key, self.modalities)

    def read(self, source: Any) -> Sequences:
        """Return what is in the files that an item may name as its image."""
        is_stack = isinstance(source, (str, Path)) and not Path(source).is_dir()
        return read_sequences(Path(source) if is_stack else files_of(source), self.modalities, self.memory_limit)


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
