"""The row of a case as the servers of BraTS 2018 to 2022 print it: CBICA's IPP, later Synapse."""

from __future__ import annotations

from collections.abc import Mapping

from metakd_monai.metrics.region_scores import RegionScores
from metakd_monai.vocabulary import Region

SERVER_ORDER = (Region.ET, Region.WT, Region.TC)  # of the columns; not the vocabulary's
ATTRIBUTES = {
    "Dice": "dice",
    "Sensitivity": "sensitivity",
    "Specificity": "specificity",
    "Hausdorff95": "hausdorff95",
}
COLUMNS = tuple(f"{metric}_{region.value}" for metric in ATTRIBUTES for region in SERVER_ORDER)


def make_row(scores: Mapping[Region, RegionScores]) -> dict[str, float]:
    """Return the whole-region scores of a case by column, in the server's order."""
    return {
        f"{metric}_{region.value}": float(getattr(scores[region], attribute))
        for metric, attribute in ATTRIBUTES.items()
        for region in SERVER_ORDER
    }


def failed_row(penalty: float) -> dict[str, float]:
    """Return the row of a case without a usable prediction: 0, and the penalty in mm as HD95."""
    return {column: penalty if column.startswith("Hausdorff95") else 0.0 for column in COLUMNS}
