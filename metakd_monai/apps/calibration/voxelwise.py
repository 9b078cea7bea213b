"""Voxel-wise measures: calibration of the probabilities, and whether uncertainty is higher where a mask is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from metakd_monai.apps.study.uncertainty_score import auroc
from metakd_monai.data.boxes import bounding_box
from metakd_monai.vocabulary import REGION_NAMES

BINS = 20  # of probability, equally wide
NEAR = 5.0  # mm from a border of mask or reference
COLUMNS = ("voxels", "positive", "chance")


class Reliability:
    """Counts for a calibration curve: voxels by region and bin of probability, without the lowest bin (background).

    They are counted over all subsets of the sequences, and separately for all four.
    """

    def __init__(self) -> None:
        self.counts = {name: np.zeros((len(REGION_NAMES), len(COLUMNS), BINS)) for name in ("every subset", "all four")}

    def add(self, chance: Tensor, truth: Tensor, complete: bool) -> None:
        """Count the voxels of a mask.

        Args:
            chance: probabilities, ``(R, *S)``.
            truth: masks of the reference, ``(R, *S)`` bool.
            complete: whether the mask is from all four sequences.
        """
        for region, (one, right) in enumerate(zip(chance, truth, strict=True)):
            seen = one >= 1 / BINS
            one, right = one[seen].double(), right[seen].double()
            bins = (one * BINS).long().clamp(max=BINS - 1)
            weights = (None, right, one)
            found = [torch.bincount(bins, weight, BINS).numpy() for weight in weights]
            for name in ("every subset", "all four") if complete else ("every subset",):
                self.counts[name][region] += found

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by kind, region and column, ready for JSON."""
        return {
            name: {
                region: dict(zip(COLUMNS, rows.tolist(), strict=True))
                for region, rows in zip(REGION_NAMES, counts, strict=True)
            }
            for name, counts in self.counts.items()
        }


def score_voxels(
    logits: Tensor, unsure: Tensor, truth: Tensor, brain: Tensor, edges: Sequence[float]
) -> dict[str, float]:
    """Return the AUROC of an uncertainty for wrong voxels, in the brain and near borders.

    Args:
        logits: of the mask, ``(R, *S)``.
        unsure: its uncertainty, ``(*S)``.
        truth: masks of the reference, ``(R, *S)`` bool.
        brain: ``(*S)`` bool.
        edges: of a voxel in mm.
    """
    mask = logits > 0
    wrong = (mask != truth).any(dim=0)
    near = near_borders(torch.cat([mask, truth]).numpy(), edges) & brain.numpy()
    return {
        "brain": auroc(unsure[brain].numpy(), wrong[brain].numpy()),
        "border": auroc(unsure.numpy()[near], wrong.numpy()[near]),
    }


def near_borders(masks: NDArray[np.bool_], edges: Sequence[float]) -> NDArray[np.bool_]:
    """Return the voxels within :data:`NEAR` mm of a border of masks ``(K, *S)``, as ``(*S)``."""
    together: NDArray[np.bool_] = np.logical_or.reduce(masks)
    found = np.zeros_like(together)
    if not together.any():
        return found
    box = bounding_box(together, margin=int(np.ceil(NEAR / min(edges))) + 1)
    border = np.zeros_like(together[box])
    for mask in masks:
        border |= mask[box] & ~ndimage.binary_erosion(mask[box], border_value=1)
    found[box] = ndimage.distance_transform_edt(~border, sampling=edges) <= NEAR
    return found
