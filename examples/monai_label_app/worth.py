"""What labelling an image is worth: two numbers from its mask and its report. No MONAI Label is needed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from metakd_monai.vocabulary import Region

DOUBTFUL = 0.5  # bit, from which on a voxel outside the mask counts too


def expected_dice(report: Mapping[str, Any]) -> float | None:
    """Return the mean of the Dice that a mask predicts, over its regions; 0 where no tumour was found.

    Args:
        report: of ``metakd predict``.

    Returns:
        None where nothing is known of the weights, as after a training.
    """
    if not report["volumes_ml"][Region.WT.value]:
        return 0.0
    predicted = (report["expected"] or {}).get("predicted", {})
    values = [one["dice"] for one in predicted.values()]
    return sum(values) / len(values) if values else None


def mean_uncertainty(entropy: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean of an uncertainty map over the tumour and all other voxels in doubt.

    Args:
        entropy: ``(1, *S)`` in bits, see :mod:`metakd_monai.apps.predict.uncertainty`.
        labels: ``(1, *S)``.

    Returns:
        0 to 1 bit; 1 where there is neither tumour nor doubt, for nothing was found.
    """
    counted = (labels > 0) | (entropy >= DOUBTFUL)
    return float(entropy[counted].mean()) if counted.any() else 1.0
