"""From a plan to its trainings: the cases that each is scored and trained on, and its initial weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metakd_monai.apps.arena.cell import Cell
from metakd_monai.apps.arena.folds import Tumour, deal, link_cases, measure_tumour
from metakd_monai.apps.arena.plan import Plan
from metakd_monai.apps.benchmark import choose_items
from metakd_monai.apps.benchmark.benchmark_items import Items, check_items, labelled_items
from metakd_monai.data.files import checksum
from metakd_monai.errors import UserError
from metakd_monai.weights.publish import publish

Parts = Mapping[int, Items]  # by fold, the cases to score


def choose_parts(plan: Plan) -> tuple[Parts, dict[str, Tumour]]:
    """Return the cases of each chosen fold, and the size of each one's tumour.

    Raises:
        UserError: for unusable cases, too few of them, or one that is in two folds.
    """
    if plan.cases is None:
        parts = {fold: choose_items("", plan.datalist, None, fold)[0] for fold in plan.chosen_folds}
        check_items([item for items in parts.values() for item in items])
        return parts, {str(i["case_id"]): measure_tumour(i["label"]) for items in parts.values() for i in items}
    items = {str(item["case_id"]): item for item in labelled_items(plan.cases)}
    for item in items.values():
        if "problem" in item:
            raise UserError(str(item["problem"]))
    sizes = {name: measure_tumour(item["label"]) for name, item in items.items()}
    dealt = deal(sizes, plan.folds, plan.fold_seed)
    return {fold: [items[name] for name in sorted(dealt[fold])] for fold in range(plan.folds)}, sizes


def make_cells(plan: Plan, output: Path, parts: Parts) -> list[Cell]:
    """Return the trainings of a plan, grouped by seed and fold; write their training data.

    Args:
        plan: what to compare.
        output: folder of all results.
        parts: see :func:`choose_parts`.
    """
    begin = {} if plan.weights is None else {"init_weights": str(make_start(plan.weights, plan.input_stride, output))}
    data = {fold: data_of(plan, output, parts, fold) for fold in plan.chosen_folds}
    return [
        Cell(
            method.name,
            seed,
            fold,
            output / method.folder / f"seed{seed}" / f"fold{fold}",
            plan.overlays_of(method),
            {**plan.options_of(method), **begin, **data[fold], "seed": seed},
            parts[fold],
            plan.input_stride,
            plan.window,
        )
        for seed in plan.seeds
        for fold in plan.chosen_folds
        for method in plan.methods
    ]


def make_start(weights: Path, input_stride: int | None, output: Path) -> Path:
    """Write the initial weights of all trainings, named after their checksum, and return the file.

    Args:
        weights: the initial weights.
        input_stride: of the plan; if training coarsens the images, the network does not.
        output: folder of all results.
    """
    place = output / f"start_{checksum(weights)[:12]}.pt"
    if not place.is_file():
        publish(weights, place, None if input_stride is None else 1, largest=math.inf)
    return place


def data_of(plan: Plan, output: Path, parts: Parts, fold: int) -> dict[str, Any]:
    """Return the settings for the training data of a fold: all cases of the others.

    The fold's own cases are linked beside them, for further measurements of the weights.
    """
    if plan.datalist is not None:
        return {"datalist": str(plan.datalist.resolve()), "fold": fold}
    folder = output / "folds" / f"without{fold}"
    link_cases([item for other, items in parts.items() if other != fold for item in items], folder)
    link_cases(parts[fold], output / "folds" / f"fold{fold}")
    return {"dataset_dir": str(folder)}
