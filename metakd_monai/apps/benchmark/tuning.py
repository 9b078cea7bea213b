"""Find the threshold below which predicted enhancing tumour is better removed, on validation cases alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from metakd_monai import __version__
from metakd_monai.apps.benchmark.benchmark_items import Items, check_items
from metakd_monai.apps.benchmark.case_record import choose_scoring, read_reference
from metakd_monai.apps.benchmark.figures import draw_thresholds
from metakd_monai.apps.predict.outputs import to_native
from metakd_monai.apps.predict.postprocessing import PostProcessing
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import Subset, SubsetPredictor, case_of
from metakd_monai.data.files import check_writable, write_json
from metakd_monai.data.temporaries import refuse_folders
from metakd_monai.errors import UserError, explain
from metakd_monai.metrics.region_scores import count_overlap
from metakd_monai.transforms import REFERENCE
from metakd_monai.vocabulary import Region, name_subset

logger = logging.getLogger(__name__)

WRITTEN = ("postprocessing.json", "postprocessing.png")
SUBSETS = ("all", "complete")  # all 15, or all sequences together


@dataclass(frozen=True)
class Enhancing:
    """Enhancing tumour in one prediction: its voxels, its Dice, and its Dice if it were removed."""

    case: str
    subset: str
    voxels: int
    dice: float
    dice_removed: float


def tune_postprocessing(
    items: Items,
    weights: str | Path,
    output: str | Path,
    device: str | torch.device = "cpu",
    convention: str | None = None,
    subsets: str = "all",
    target: int = 1,
    source: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Find the small-ET threshold with the highest mean ET Dice; on a tie, the smallest.

    Only thresholds at which the result changes are tried: 0 (nothing is removed) and one above each predicted
    number of voxels. Dice is 1 if reference and prediction are both empty, 0 if only one is.

    Args:
        items: validation cases of a datalist; never those of a test.
        weights: see :func:`~metakd_monai.weights.load.load_network`.
        output: folder for ``postprocessing.json`` and ``postprocessing.png``.
        device: of the network.
        convention: as in :func:`~metakd_monai.apps.benchmark.benchmark_run.run_benchmark`.
        subsets: ``"all"``, where each of the 15 counts equally, or ``"complete"``, all sequences of a case.
        target: label that small enhancing tumour becomes; does not change the threshold.
        source: where the items come from, for the record.

    Returns:
        What is written to ``postprocessing.json``; ``postprocessing`` is what ``--postprocessing`` reads.

    Raises:
        UserError: when an argument or every case is unusable.
    """
    check_items(items)
    if subsets not in SUBSETS:
        raise UserError(f"subsets: {subsets!r} found; expected one of {', '.join(SUBSETS)}")
    folder = Path(output)
    check_writable(folder)
    refuse_folders(*(folder / name for name in WRITTEN))
    predictor = Predictor(weights, device)
    found, failed = measure_cases(predictor, items, convention, subsets)
    thresholds, dice = curve_of(found)
    best = thresholds[int(np.argmax(dice))]
    result = {
        "version": __version__,
        "weights_sha256": predictor.settings.weights_sha256,
        "source": dict(source or {}),
        "subsets": subsets,
        "cases": {"used": sorted({one.case for one in found}), "failed": failed},
        "postprocessing": str(PostProcessing("small_et", threshold=best, target=target)),
        "threshold": best,
        "mean_et_dice": {"without": dice[0], "with": max(dice)},
        "curve": [{"threshold": t, "mean_et_dice": d} for t, d in zip(thresholds, dice, strict=True)],
        "predictions": [one.__dict__ for one in found],
    }
    write_json(folder / "postprocessing.json", result)
    draw_thresholds(folder / "postprocessing.png", thresholds, [100 * value for value in dice], best)
    return result


def measure_cases(
    predictor: Predictor, items: Items, convention: str | None, subsets: str
) -> tuple[list[Enhancing], dict[str, str]]:
    """Measure enhancing tumour in case after case; return it, and the reasons of failed cases by name.

    Raises:
        UserError: when no case can be used.
    """
    rule = choose_scoring(items, convention, None, "none").convention
    engine = SubsetPredictor(predictor)
    found: list[Enhancing] = []
    failed: dict[str, str] = {}
    for item in tqdm(items, desc="tuning", unit="case", disable=None):
        name = str(item["case_id"])
        try:
            volume = predictor.read(case_of(item))
            reference = read_reference(item, volume["image"].meta[REFERENCE], rule)
            maps = engine.label_maps(volume, rule.labels.enhancing)
            truth = reference.masks[list(Region).index(Region.ET)]
            chosen = list(maps) if subsets == "all" else [max(maps, key=len)]
            found += [measure_et(name, s, maps[s] == rule.labels.enhancing, truth, reference.affine) for s in chosen]
        except Exception as error:  # a failing case must not stop the others
            failed[name] = explain(error)
            logger.error("%s: failed: %s", name, failed[name])
    if not found:
        raise UserError(f"cases: none of {len(items)} can be used; {next(iter(failed.values()))}")
    return found, failed


def measure_et(case: str, subset: Subset, mask: np.ndarray, truth: np.ndarray, affine: np.ndarray) -> Enhancing:
    """Measure predicted enhancing tumour against the reference, both ``(*S)`` bool in the working orientation."""
    native = to_native(torch.from_numpy(mask)[None].byte(), affine)[..., 0] > 0
    overlap = count_overlap(native, truth)
    return Enhancing(case, name_subset(subset), int(mask.sum()), overlap.dice, 0.0 if truth.any() else 1.0)


def curve_of(found: Sequence[Enhancing]) -> tuple[list[int], list[float]]:
    """Return thresholds in voxels, ascending from 0, and the mean ET Dice at each."""
    voxels = np.array([one.voxels for one in found])
    kept, removed = np.array([one.dice for one in found]), np.array([one.dice_removed for one in found])
    thresholds = sorted({0, *(int(count) + 1 for count in voxels if count > 0)})
    return thresholds, [
        float(np.where(voxels < t, np.where(voxels > 0, removed, kept), kept).mean()) for t in thresholds
    ]
