"""``expected.json`` from the records of a cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES
from metakd_monai.apps.calibration.quality_fit import MaskRow, fit_region, rows_of
from metakd_monai.metrics.conformal import summarise_range
from metakd_monai.vocabulary import REGION_NAMES, Region

LEAST_ET_ML = 1.0  # mL of ET in a reference from which on its Dice counts: below, it depends on a few voxels
Records = Sequence[Mapping[str, Any]]


def expectations_of(records: Records, weights: Sequence[str], postprocessing: str) -> dict[str, Any]:
    """Return ``expected.json``, see :mod:`metakd_monai.apps.predict.expectations`.

    Args:
        records: of :mod:`metakd_monai.apps.calibration.cross_validated`.
        weights: SHA-256 of the weights of each fold. With one fold, the file is about exactly these weights; with
            several, about the weights that the same recipe makes from all cases.
        postprocessing: the default for users of the weights.
    """
    rows, cases = rows_of(records), [str(record["case"]) for record in records]
    models = {region: fit_region([row for row in rows if row.region == region]) for region in REGION_NAMES}
    several = len(weights) > 1
    how = f"cross-validation, {len(cases)} cases, {len(weights)} folds" if several else f"{len(cases)} labelled cases"
    about = {"folds": list(weights)} if several else {"weights_sha256": weights[0]}
    return {
        **about,
        "measured": how,
        "cases": sorted(cases),
        "least_et_ml": LEAST_ET_ML,
        "postprocessing": postprocessing,
        "subsets": summarise_subsets(rows),
        "masks": {region: model for region, model in models.items() if model is not None},
    }


def summarise_subsets(rows: Sequence[MaskRow]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the Dice to expect by subset and region; for ET, over the references with enough of it."""
    dice: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row.region != Region.ET.value or row.reference_ml >= LEAST_ET_ML:
            dice.setdefault((row.subset, row.region), {})[row.case] = row.dice
    return {
        name: {region: summarise_range(dice[name, region]) for region in REGION_NAMES if (name, region) in dice}
        for name in SUBSET_NAMES
        if any((name, region) in dice for region in REGION_NAMES)
    }
