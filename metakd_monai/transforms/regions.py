"""Convert between label maps and the overlapping regions that they encode."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from metakd_monai.data.nifti import check_labels
from metakd_monai.data.years import find_year
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import ET_LABELS, Label, LabelConvention, Region, split_regions


class LabelsToRegionsd(MapTransform):
    """Turn a BraTS label map ``(1, *S)`` into the masks of ET, TC and WT, ``(R, *S)`` float32.

    Args:
        keys: of the label maps.
        et_label: value of enhancing tumour, 3 or 4; None takes the one that occurs.
        year_key: key of the item's year (see :mod:`metakd_monai.data.years`); if present, the year's convention
            applies instead.
        allow_missing_keys: as in MONAI.

    Raises:
        UserError: (on call) for unknown label values.
    """

    def __init__(
        self,
        keys: KeysCollection,
        et_label: int | None = None,
        year_key: str = "year",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.et_label, self.year_key = et_label, year_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with region masks in the vocabulary's order."""
        item = dict(data)
        for key in self.key_iterator(item):
            labels = torch.as_tensor(item[key])
            where = str(getattr(item[key], "meta", {}).get("filename_or_obj", key))
            year = item.get(self.year_key)
            convention = find_year(str(year)).labels if year else None
            found = check_labels(np.asarray(labels), where, convention)
            if convention is None and self.et_label is not None and found not in (None, self.et_label):
                raise UserError(f"{where}: label {found} found; expected enhancing tumour to be {self.et_label}")
            item[key] = labels_to_regions(labels, convention)
        return item


def labels_to_regions(labels: torch.Tensor, convention: LabelConvention | None = None) -> torch.Tensor:
    """Return ET, TC and WT masks ``(R, *S)`` float32 of a label map ``(1, *S)``; see :func:`split_regions`."""
    return torch.cat(split_regions(labels, convention)).float()


class RegionsToLabelsd(MapTransform):
    """Compose region masks or logits ``(R, *S)``, thresholded at 0, into a label map ``(1, *S)`` uint8.

    WT, TC and ET are written in this order, each over the previous ones, without forcing them to nest, as in the
    official MetaKD code.

    Args:
        keys: of the region masks.
        et_label: 3 or 4.
        nested: clip TC to WT, and ET to TC.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        et_label: int = int(Label.ET),
        nested: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if et_label not in ET_LABELS:
            raise ValueError(f"et_label must be 3 or 4, got {et_label!r}.")
        self.et_label, self.nested = et_label, nested

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with label maps."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = regions_to_labels(item[key], self.et_label, self.nested)
        return item


def regions_to_labels(masks: torch.Tensor, et_label: int = int(Label.ET), nested: bool = False) -> torch.Tensor:
    """Compose region masks ``(R, *S)`` into a label map ``(1, *S)`` uint8; see :class:`RegionsToLabelsd`."""
    labels = torch.zeros_like(masks[:1], dtype=torch.uint8)
    values = {Region.WT: int(Label.OEDEMA), Region.TC: int(Label.NECROSIS), Region.ET: et_label}
    inside = torch.ones_like(labels, dtype=torch.bool)
    for number, region in reversed(list(enumerate(Region))):  # outermost first
        mask = masks[number : number + 1] > 0
        inside = mask & inside if nested else mask
        labels = torch.where(inside, torch.full_like(labels, values[region]), labels)
    return labels
