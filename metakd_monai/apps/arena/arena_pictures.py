"""The pictures of a comparison: every method's mean with its seeds, and each subset against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metakd_monai.apps.arena.arena_report import method_means
from metakd_monai.apps.arena.dice_of_methods import COLUMNS, MethodDice
from metakd_monai.apps.benchmark.figures import COLOURS, new_figure, save_both
from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES
from metakd_monai.vocabulary import REGION_NAMES


def draw_means(folder: Path, methods: Sequence[MethodDice]) -> list[Path]:
    """Draw the mean of the subsets of each method and region, a point for each seed; return the files."""
    figure = new_figure((3 + 1.1 * len(methods), 4.2))
    panel = figure.subplots()
    width = 0.8 / len(COLUMNS)
    for column, region in enumerate(COLUMNS):
        colour = COLOURS.get(region, "0.6")
        for place, method in enumerate(methods):
            x, means = place + (column - (len(COLUMNS) - 1) / 2) * width, method.seed_means()[:, column]
            panel.bar(x, means.mean(), width * 0.9, color=colour, label=None if place else region)
            panel.plot([x] * len(means), means, "k.", markersize=4)
    panel.set_xticks(range(len(methods)), [method.name for method in methods], rotation=30, ha="right")
    panel.set(ylabel="Dice in %, mean of 15 subsets")
    panel.grid(axis="y", alpha=0.3)
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1))  # no bar is hidden
    return save_both(figure, folder / "means", f"{len(methods[0].cases)} cases; points: seeds")


def draw_gains(folder: Path, methods: Sequence[MethodDice], reference: str) -> list[Path]:
    """Draw the gain of each method over the reference in each subset; return the files."""
    table = method_means(methods)[: len(SUBSET_NAMES)]
    base = [method.name for method in methods].index(reference)
    others = [n for n in range(len(methods)) if n != base]
    gaps = table[..., others] - table[..., [base]]  # (15, R, others)
    largest = max(float(np.nanmax(np.abs(gaps))), 0.1) if np.isfinite(gaps).any() else 0.1
    figure = new_figure((3 + 0.9 * len(others) * len(REGION_NAMES), 6.4))
    panels = figure.subplots(1, len(REGION_NAMES), sharey=True, squeeze=False)[0]
    for column, (panel, region) in enumerate(zip(panels, REGION_NAMES, strict=True)):
        values = gaps[:, column]
        picture = panel.imshow(values, vmin=-largest, vmax=largest, cmap="RdBu", aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            text, colour = (
                "-" if np.isnan(value) else f"{value:+.1f}",
                "white" if abs(value) > 0.6 * largest else "black",
            )
            panel.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
        panel.set_xticks(range(len(others)), [methods[n].name for n in others], rotation=45, ha="right")
        panel.set_yticks(range(len(SUBSET_NAMES)), SUBSET_NAMES)
        panel.set_title(region, fontsize=10)
    figure.colorbar(picture, ax=list(panels), label="points of Dice")
    return save_both(figure, folder / "gains", f"Above {reference}")
