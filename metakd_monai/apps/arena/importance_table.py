"""The learned importance of each method: where it began, where it ended, beside each sequence's Dice alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metakd_monai.apps.arena.arena_report import method_means
from metakd_monai.apps.arena.cell import Cell
from metakd_monai.apps.arena.dice_of_methods import MethodDice
from metakd_monai.apps.paper.captions import read_settings
from metakd_monai.apps.paper.run_curves import IMPORTANCE, read_columns
from metakd_monai.data.markdown import markdown_table
from metakd_monai.metrics.means import show
from metakd_monai.vocabulary import MODALITY_NAMES


def importance_lines(methods: Sequence[MethodDice], cells: Sequence[Cell]) -> list[str]:
    """Return a section in Markdown on the methods that learn an importance and distil by it; empty if there is none.

    Args:
        methods: of the report, with their seeds.
        cells: their trainings.
    """
    rows = []
    for method in methods:
        found = []
        for seed in method.seeds:
            folders = [cell.folder for cell in cells if (cell.method, cell.seed) == (method.name, seed)]
            courses = [course for folder in folders if (course := read_course(folder)) is not None]
            for when, update in (("start", 0), ("end", -1)) if courses else ():
                values = np.stack([course[update] for course in courses])
                found.append([method.name, f"seed {seed}, {when}", *map(span, values.T)])
        if found:
            alone = method_means([method])[: len(MODALITY_NAMES), :, 0].mean(1)
            rows += [[method.name, "Dice alone", *map(show, alone)], *found]
    if not rows:
        return []
    text = "Lowest to highest over the folds. Dice in %, mean of the three regions, given that sequence alone."
    return ["", "## Learned importance", "", text, "", *markdown_table(["method", "", *MODALITY_NAMES], rows, "llr")]


def read_course(folder: Path) -> np.ndarray | None:
    """Return the importance at each meta update of a training ``(U, N)``; None if it is not learned or not used."""
    log = folder / "meta.csv"
    columns = read_columns(log) if read_settings(folder).get("alpha") and log.is_file() else {}
    names = [IMPORTANCE + name for name in MODALITY_NAMES]
    if not set(names) <= set(columns):
        return None
    course = np.stack([columns[name] for name in names], axis=1)
    return None if np.allclose(course, course[0], atol=1e-6) else course


def span(values: np.ndarray) -> str:
    """Return the range of values ``(F,)`` with two digits."""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"
