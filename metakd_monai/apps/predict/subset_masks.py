"""The mask that every subset of a case's sequences gives, beside the mask of all: what depends on which sequence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from metakd_monai.apps.predict.outputs import SUBSETS, to_native
from metakd_monai.apps.predict.predictor import Predictor, to_volume
from metakd_monai.data.files import write_json
from metakd_monai.data.nifti import at_once, read_nifti, region_ml, write_like
from metakd_monai.data.temporaries import remove
from metakd_monai.transforms import REFERENCE, regions_to_labels
from metakd_monai.vocabulary import REGION_NAMES, modality_subsets, name_subset, split_regions


def segment_subsets(predictor: Predictor, item: Mapping[str, Any], et_label: int) -> dict[str, torch.Tensor]:
    """Return the label map of each subset by name, ``(1, *box)`` uint8, not post-processed yet."""
    from metakd_monai.apps.predict.subset_predictor import SubsetPredictor

    subsets = SubsetPredictor(predictor).logits(item)
    return {name_subset(subset): regions_to_labels(logits > 0, et_label) for subset, logits in subsets}


def write_subsets(
    folder: Path,
    predictor: Predictor,
    item: Mapping[str, Any],
    found: Mapping[str, torch.Tensor],
    labels: torch.Tensor,
    et_label: int,
) -> None:
    """Write ``<subset>.nii.gz`` for each subset, post-processed, on the grid of the input; then ``subsets.json``.

    That has each subset's volumes in mL, and the Dice of ET, TC and WT with the mask of all sequences.

    Args:
        folder: made if it does not exist.
        predictor: which segmented the case.
        item: as read, see :meth:`Predictor.read`.
        found: see :func:`segment_subsets`.
        labels: of all sequences, ``(1, *box)``.
        et_label: value of enhancing tumour.
    """
    from metakd_monai.metrics.region_scores import count_overlap

    reference = item["image"].meta[REFERENCE]
    affine, whole = read_nifti(reference).affine, split_regions(labels.numpy())

    def write(name: str) -> dict[str, Any]:
        mask = predictor.clean(item, found[name], et_label)
        write_like(folder / f"{name}.nii.gz", to_native(to_volume(mask, item), affine)[..., 0], reference)
        dice = (count_overlap(*pair).dice for pair in zip(split_regions(mask.numpy()), whole, strict=True))
        agreement = {region: round(value, 4) for region, value in zip(REGION_NAMES, dice, strict=True)}
        return {"volumes_ml": region_ml(mask, item["image"].affine), "dice_with_all": agreement}

    remove(folder / SUBSETS)
    write_json(folder / SUBSETS, dict(zip(found, at_once(write, found), strict=True)))


def remove_subsets(folder: Path) -> None:
    """Remove the masks that :func:`write_subsets` wrote; other files stay."""
    for subset in modality_subsets():
        remove(folder / f"{name_subset(subset)}.nii.gz")
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
