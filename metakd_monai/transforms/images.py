"""Load sequences by name with their availability; save masks on the exact grid of their image."""

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

from metakd_monai.data.cases import check_case_id, files_of_image, find_cases, name_sequences
from metakd_monai.data.nifti import AXES, Sequences, read_nifti, read_sequences, split_channels, write_like
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality, parse_modalities, parse_modality

logger = logging.getLogger(__name__)

REFERENCE = "reference"  # meta key: the file whose grid and header the image has
NOTE = "note"  # meta key: a note on changes to the image, empty if none
CASE_ID = "case_id"
BY_NAME = "by name"  # no sequence was chosen
SEQUENCE, SIBLINGS = "sequence", "siblings"  # keys of an item: its only sequence; whether to use files beside it


class LoadImageModalitiesd(Transform):
    """Load the sequences of a case as one channel-first image, and record which are present.

    The item's ``image`` may be a mapping from modality to file, a list of files or a folder (recognised by name), one
    4-D file with a channel for each modality in channel order, or an array ``(N, *S)``. Adds ``available`` ``(N,)``
    bool. An absent modality's channel is zero, a placeholder that nothing reads; in a 4-D file or array, a channel
    that is 0 or NaN everywhere is absent. A background other than 0 becomes 0, see
    :func:`~metakd_monai.data.nifti.clear_background`.

    The class is not a LoadImaged, because MONAI Label would wrap a LoadImaged and refuse a folder. Its name contains
    ``LoadImage``, because MONAI Deploy skips transforms with such names: its operators pass images themselves.

    Args:
        key: of the image in the item.
        modalities: use only these; None for all present ones.
        memory_limit: GiB for the process, which must suffice for the case; None for the free memory.
        one_file: whether the image may also be a single 3-D file. Its name or the item's ``sequence`` tells its
            sequence; the case's other files beside it are used too, unless the item's ``siblings`` is false.
        log: whether to log a warning if a background was set to 0; the image's meta data always record it.

    Raises:
        UserError: (on call) for a missing, damaged, constant or non-finite file, for sequences on different grids, a
            4-D file or array with a wrong number of channels, too large a volume, and if no modality is left.
    """

    def __init__(
        self,
        key: str = "image",
        modalities: str | Iterable[str] | None = None,
        memory_limit: float | None = None,
        one_file: bool = False,
        log: bool = True,
    ) -> None:
        self.key = key
        self.modalities = parse_modalities(modalities)
        self.memory_limit, self.one_file, self.log = memory_limit, one_file, log

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with ``image`` ``(N, *S)`` float32 and ``available`` ``(N,)``."""
        source = data[self.key]
        is_array = isinstance(source, (np.ndarray, torch.Tensor))
        loaded = self.split(source) if is_array else self.read(source, data)
        if loaded.note and self.log:
            logger.warning("%s: %s", loaded.where, loaded.note)
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
        image = MetaTensor(torch.from_numpy(loaded.stack), affine=affine, meta=meta)
        available = torch.tensor([m in loaded.present for m in Modality])
        return {**data, self.key: image, "available": available}

    def split(self, source: np.ndarray | torch.Tensor) -> Sequences:
        """Read an array ``(N, *S)``."""
        voxels = np.asarray(source, dtype=np.float32)
        affine = source.affine if isinstance(source, MetaTensor) else np.eye(voxels.ndim)
        return split_channels(voxels, affine, self.key, self.modalities)

    def read(self, source: Any, data: Mapping[Hashable, Any]) -> Sequences:
        """Read the files that an item names as its image."""
        is_file = isinstance(source, (str, Path)) and not Path(source).is_dir()
        told, siblings = told_sequence(data.get(SEQUENCE)), bool(data.get(SIBLINGS, True))
        files = Path(source) if is_file and not self.one_file else files_of(source, told, siblings)
        return read_sequences(files, self.modalities, self.memory_limit)


def told_sequence(choice: Any) -> Modality | None:
    """Return the sequence that a client's user chose.

    Args:
        choice: a name; or, if nothing was chosen, MONAI Label's list of all choices, whose first entry means none.

    Raises:
        UserError: for an unknown name.
    """
    return parse_modality(choice) if isinstance(choice, str) and choice != BY_NAME else None


def files_of(
    source: Mapping[str, str] | Iterable[str] | str | Path, sequence: Modality | None = None, siblings: bool = True
) -> dict[Modality, Path] | Path:
    """Assign files to sequences, for all forms that a datalist may use.

    Args:
        source: see :class:`LoadImageModalitiesd`.
        sequence: of a single 3-D file; takes precedence over its name.
        siblings: whether to use the case's other files beside a single 3-D file.

    Returns:
        The file of each sequence, or the one 4-D file.
    """
    if isinstance(source, (str, Path)) and not Path(source).is_dir():
        one = len(read_nifti(source).shape) == AXES
        return files_of_image(Path(source), sequence, siblings) if one else Path(source)
    if isinstance(source, (str, Path)):
        cases = find_cases(source)
        if len(cases) > 1 or isinstance(cases[0].files, Path):
            raise UserError(f"{source}: {len(cases)} cases found; expected the folder of one case")
        return dict(cases[0].files)
    if isinstance(source, Mapping):
        return {parse_modality(str(getattr(name, "value", name))): Path(path) for name, path in source.items()}
    return name_sequences([Path(path) for path in source])


class SaveImageMaskd(SaveImaged):
    """Write a label map ``(1, *S)`` as ``<case>.nii.gz``, uint8, with the grid and header of its image.

    It is a SaveImaged, so that MONAI Label and MONAI Deploy skip it: they write results themselves.

    Args:
        keys: of the label maps; each must carry the meta data that :class:`LoadImageModalitiesd` gave the image.
        output_dir: folder for the files.
        image_key: of the image, whose meta data define the grid.
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
        """Write the files and return the item unchanged."""
        for key in self.key_iterator(dict(data)):
            meta = data[self.image_key].meta
            voxels = np.asarray(data[key][0].cpu(), dtype=np.uint8)
            case_id = check_case_id(meta[CASE_ID], "case_id")
            write_like(self.output_dir / f"{case_id}.nii.gz", voxels, meta[REFERENCE])
        return dict(data)
