"""Carry out a plan: train and score what is missing, then tables, tests, pictures and a manifest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metakd_monai import __version__
from metakd_monai.apps.arena.arena_cells import Parts, choose_parts, make_cells
from metakd_monai.apps.arena.arena_pictures import draw_gains, draw_means
from metakd_monai.apps.arena.arena_report import (
    COSTS,
    cost_lines,
    cost_rows,
    difference_lines,
    order_lines,
    table_csv,
    table_lines,
    table_tex,
)
from metakd_monai.apps.arena.cell import Cell, Train
from metakd_monai.apps.arena.cell_processes import run_cells
from metakd_monai.apps.arena.dice_of_methods import Difference, MethodDice, compare_methods, gather
from metakd_monai.apps.arena.importance_table import importance_lines
from metakd_monai.apps.arena.plan import Plan
from metakd_monai.apps.benchmark import read_scores
from metakd_monai.data.files import check_writable, checksum, write_json, write_text
from metakd_monai.data.spreadsheets import write_csv
from metakd_monai.data.stream import files_in
from metakd_monai.weights.load import read_state

logger = logging.getLogger(__name__)

Records = dict[str, list[dict[str, Any]]]  # of the cells that are done, by method


def run_plan(plan: Plan, output: Path, train: Train, jobs: int = 1, device: str = "cpu") -> bool:
    """Carry out a plan, keeping earlier results. Return whether everything is done.

    Args:
        plan: what to compare.
        output: folder of the results.
        train: trains in a separate process; see :data:`~metakd_monai.apps.arena.cell.Train`.
        jobs: trainings at a time.
        device: see :func:`~metakd_monai.apps.arena.cell_processes.run_cells`.

    Raises:
        UserError: for unusable cases or weights, or a folder that is unusable or holds something else.
    """
    output = output.resolve()
    parts, sizes = choose_parts(plan)
    if plan.weights is not None:
        read_state(plan.weights)  # refused before a folder is made
    check_writable(output)
    cells = make_cells(plan, output, parts)
    waiting = [cell for cell in cells if cell.read() is None]
    failed = carry_out(waiting, len(cells), train, jobs, device)
    scored = [str(item["case_id"]) for fold in plan.chosen_folds for item in parts[fold]]
    too_small = frozenset(name for name in scored if sizes[name].enhancing_ml < plan.least_et)
    write_results(plan, output, cells, parts, too_small, failed)
    return not failed


def carry_out(waiting: Sequence[Cell], total: int, train: Train, jobs: int, device: str) -> dict[str, str]:
    """Run cells with a bar over all; return why some failed, by title."""
    failed = {}
    done = run_cells(waiting, train, jobs, device)
    for cell, reason in tqdm(done, "trainings", total, initial=total - len(waiting), unit="training", disable=None):
        if reason is not None:
            failed[cell.title] = reason
            logger.error("%s: failed: %s", cell.title, reason)
            continue
        logger.info("%s: done", cell.title)
    return failed


def complete_methods(
    plan: Plan, cells: Sequence[Cell], parts: Parts, too_small: frozenset[str]
) -> tuple[list[MethodDice], Records]:
    """Return the Dice of each method over the seeds whose folds are all done, and the records of these cells."""
    cases = sorted(str(item["case_id"]) for fold in plan.chosen_folds for item in parts[fold])
    methods, records = [], {}
    for name in dict.fromkeys(cell.method for cell in cells):
        scores, kept = {}, []
        for seed in plan.seeds:
            mine = [cell for cell in cells if (cell.method, cell.seed) == (name, seed)]
            found = [record for cell in mine if (record := cell.read()) is not None]
            if len(found) == len(mine):
                folders = [cell.folder / "benchmark" / "scores.csv" for cell in mine]
                scores[seed] = [score for path in folders for score in read_scores(path).scores]
                kept += found
        if scores:
            methods.append(gather(name, scores, cases, too_small))
            records[name] = kept
    return methods, records


def write_results(
    plan: Plan, output: Path, cells: Sequence[Cell], parts: Parts, too_small: frozenset[str], failed: Mapping[str, str]
) -> None:
    """Write tables and pictures of what is complete, and the manifest."""
    methods, records = complete_methods(plan, cells, parts, too_small)
    written: list[Path] = []
    if methods:
        reference = next((method for method in methods if method.name == plan.reference), methods[0])
        others = [method for method in methods if method is not reference]
        differences = {method.name: compare_methods(reference, method) for method in others}
        written += draw_means(output, methods)
        written += draw_gains(output, methods, reference.name) if others else []
        learned = importance_lines(methods, cells)
        text = make_report(plan, methods, records, (reference.name, differences), len(too_small), failed, learned)
        tables = {"report.md": text, "table.tex": table_tex(methods)}
        for name, content in tables.items():
            write_text(output / name, content)
        lists = {"table.csv": table_csv(methods), "costs.csv": [("method", *COSTS), *cost_rows(records)]}
        lists["differences.csv"] = difference_rows(differences)
        for name, lines in lists.items():
            write_csv(output / name, lines)
        written += [output / name for name in (*tables, *lists)]
    write_json(output / "manifest.json", make_manifest(plan, output, cells, parts, written, failed))


def difference_rows(differences: Mapping[str, Mapping[str, Difference]]) -> list[Sequence[object]]:
    """Return the differences as data."""
    lines: list[Sequence[object]] = [("other", "region", *Difference.__dataclass_fields__)]
    for other, regions in differences.items():
        lines += [(other, region, *asdict(found).values()) for region, found in regions.items()]
    return lines


def make_report(
    plan: Plan,
    methods: Sequence[MethodDice],
    records: Records,
    differences: tuple[str, Mapping[str, Mapping[str, Difference]]],
    too_small: int,
    failed: Mapping[str, str],
    learned: Sequence[str] = (),
) -> str:
    """Return ``report.md``; ``learned`` is its section on the importance."""
    steps = sorted({record["iterations"] for cells in records.values() for record in cells})
    codes = {record["code_sha256"] for cells in records.values() for record in cells}
    count = len(methods[0].cases)
    seeds = ", ".join(f"{method.name} {len(method.seeds)}" for method in methods)
    lines = [f"# {counted(len(methods), 'method')} on {count} cases", ""]
    lines.append(
        f"{counted(len(plan.chosen_folds), 'fold')}; {' or '.join(map(str, steps))} iterations; seeds: {seeds}."
        f" Dice in %, label maps as predicted, without post-processing; ET over the {count - too_small}"
        f" cases that have at least {plan.least_et:g} mL of it. metakd_monai {__version__}."
    )
    if len(steps) > 1 or len(codes) > 1:
        what = "numbers of iterations" if len(steps) > 1 else "versions of the code"
        lines += ["", f"**Not equal**: {what} differ, see manifest.json."]
    lines += ["", "## Every subset", "", *table_lines(methods), "", "![means](means.png)"]
    if differences[1]:
        lines += ["", "## Differences", "", *difference_lines(*differences), "", "![gains](gains.png)"]
    lines += ["", "## More sequences, worse masks", "", *order_lines(methods), *learned]
    lines += ["", "## Costs", "", *cost_lines(records)]
    absent = [method.name for method in plan.methods if method.name not in records]
    lines += [f"\nNot complete: {name}" for name in absent] + [f"\nFailed: {n}: {why}" for n, why in failed.items()]
    return "\n".join(lines) + "\n"


def counted(number: int, word: str) -> str:
    """Return a number with its word, in the plural where there are several."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def make_manifest(
    plan: Plan, output: Path, cells: Sequence[Cell], parts: Parts, written: Sequence[Path], failed: Mapping[str, str]
) -> dict[str, Any]:
    """Return all inputs and outputs, each file by its SHA-256."""
    places = [path for path in (plan.datalist, plan.weights) if path is not None]
    places += [Path(name) for name in {name for cell in cells for name in cell.overlays} if Path(name).is_file()]
    places += [path for items in parts.values() for item in items for path in files_in([item["image"], item["label"]])]
    return {
        "version": __version__,
        "plan": {name: value if isinstance(value, (int, float)) else str(value) for name, value in vars(plan).items()},
        "inputs": {str(path): checksum(path) for path in dict.fromkeys(places)},
        "cells": {cell.folder.relative_to(output).as_posix(): cell.read() for cell in cells},
        "results": {path.name: checksum(path) for path in written},
        "failed": dict(failed),
    }
