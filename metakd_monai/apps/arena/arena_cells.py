"""From a plan to its trainings: which cases each is scored on, what it is trained on and begins with."""

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

Parts = Mapping[int, Items]  # by fold, what is scored


def choose_parts(plan: Plan) -> tuple[Parts, dict[str, Tumour]]:
    """Return the cases of each fold that is done, and how large each one's tumour is.

    Raises:
        UserError: for cases that cannot be used, too few of them, or one that two folds have.
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
    """Return the trainings of a plan, those of one seed and fold together; make what they train on.

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
    """Write what all trainings begin with, named after its checksum, and return where it is.

    Args:
        weights: of a network.
        input_stride: of the plan; where training coarsens images already, the network does not.
        output: folder of all results.
    """
    place = output / f"start_{checksum(weights)[:12]}.pt"
    if not place.is_file():
        publish(weights, place, None if input_stride is None else 1, largest=math.inf)
    return place


def data_of(plan: Plan, output: Path, parts: Parts, fold: int) -> dict[str, Any]:
    """Return the settings that say what the training of a fold sees: all cases of the others.

    The fold's own cases are linked beside them, for what measures the weights further.
    """
    if plan.datalist is not None:
        return {"datalist": str(plan.datalist.resolve()), "fold": fold}
    folder = output / "folds" / f"without{fold}"
    link_cases([item for other, items in parts.items() if other != fold for item in items], folder)
    link_cases(parts[fold], output / "folds" / f"fold{fold}")
    return {"dataset_dir": str(folder)}
