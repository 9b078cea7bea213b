"""Load label maps of a data set, on the grid of their image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from metakd_monai.data.nifti import read_label_of, read_nifti


class LoadLabeld(MapTransform):
    """Load label maps as ``(1, *S)`` uint8; values within 0.001 of an integer are rounded.

    Args:
        keys: of the label maps, each a file.
        image_key: of the loaded image whose grid they must have; without it the grid is not checked.
        allow_missing_keys: as in MONAI.

    Raises:
        UserError: (on call) for a missing or damaged file, values other than whole numbers from 0 to 255, and a map
            without three axes or on another grid than the image.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with label maps."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.read(str(item[key]), item.get(self.image_key))
        return item

    def read(self, path: str, image: Any) -> MetaTensor:
        """Read one label map; it must have the grid of ``image``."""
        file = read_nifti(path)
        grid = (image.shape[1:], image.affine.numpy()) if isinstance(image, MetaTensor) else (file.shape, file.affine)
        labels = np.ascontiguousarray(read_label_of(path, *grid))
        affine = torch.as_tensor(file.affine, dtype=torch.float64)
        meta = {
            "filename_or_obj": path,
            "original_affine": affine.clone(),
            "original_channel_dim": 0,
            "spatial_shape": np.asarray(file.shape),
        }
        return MetaTensor(torch.from_numpy(labels)[None], affine=affine, meta=meta)
