"""Pictures of a benchmark: a heat map of the 15 subsets, and a curve over them for each region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES, ScoreTable, name_column
from metakd_monai.data.files import write_safely
from metakd_monai.vocabulary import REGION_NAMES

# Colour-blind safe (Okabe and Ito): ET vermilion, TC blue, WT green.
COLOURS = dict(zip(REGION_NAMES, ("#d55e00", "#0072b2", "#009e73"), strict=True))
STYLES = ("-", "--")  # unprocessed, post-processed
BRIGHT = 60.0  # % from which the map's colour needs dark text


def draw_heatmap(path: Path, table: ScoreTable, metric: str, title: str) -> None:
    """Write a PNG of the mean Dice in %, subsets down, regions (with and without post-processing) across."""
    columns = table.columns(metric)
    means = {rule: table.means(metric, rule) for rule in table.rules}
    values = np.array([[means[rule][name, region] for region, rule in columns] for name in SUBSET_NAMES])
    figure = new_figure((3.0 + 1.1 * len(columns), 6.4))
    panel = figure.subplots()
    picture = panel.imshow(values, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{value:.1f}"
        panel.text(column, row, text, ha="center", va="center", color="black" if value >= BRIGHT else "white")
    panel.set_xticks(range(len(columns)), [name_column(*column).replace(" ", "\n") for column in columns])
    panel.set_yticks(range(len(SUBSET_NAMES)), SUBSET_NAMES)
    panel.set_facecolor("grey")
    figure.colorbar(picture, ax=panel, label="%")
    save(figure, path, title)


def draw_curves(path: Path, table: ScoreTable, metric: str, title: str) -> None:
    """Write a PNG of the mean Dice in % over the subsets, a curve for each region; dashed: post-processed."""
    figure = new_figure((9, 4.8))
    panel = figure.subplots()
    for region, rule in table.columns(metric):
        means, style = table.means(metric, rule), STYLES[rule != table.rules[0]]
        values = [means[name, region] for name in SUBSET_NAMES]
        panel.plot(values, style, color=COLOURS[region], marker="o", markersize=4, label=name_column(region, rule))
    panel.set_xticks(range(len(SUBSET_NAMES)), SUBSET_NAMES, rotation=45, ha="right")
    panel.set(ylim=(-2, 102), ylabel="%")
    panel.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)  # must not hide a curve
    save(figure, path, title)


def draw_thresholds(path: Path, thresholds: list[int], dice: list[float], best: int) -> None:
    """Write a PNG of mean ET Dice in % over the small-ET threshold in voxels; a step at each threshold."""
    figure = new_figure((7, 4))
    panel = figure.subplots()
    panel.step([*thresholds, thresholds[-1] * 1.1 + 1], [*dice, dice[-1]], where="post", color=COLOURS["ET"])
    panel.axvline(best, color="grey", linestyle=":", label=f"chosen: {best} voxels")
    panel.set(xlabel="threshold in voxels of enhancing tumour", ylabel="mean ET Dice in %")
    panel.set_xscale("symlog", linthresh=100)
    panel.grid(alpha=0.3)
    panel.legend()
    save(figure, path, "Small enhancing tumour removed, on validation cases")


def new_figure(size: tuple[float, float]) -> Figure:
    """Make an empty figure of a size in inches."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, title: str) -> None:
    """Write a figure as PNG or SVG, by its file name; the same figure gives the same bytes."""
    figure.suptitle(title, fontsize=11, parse_math=False)
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else None
    with rc_context({"svg.hashsalt": "metakd"}):
        write_safely(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=110, metadata=metadata))


def save_both(figure: Figure, path: Path, title: str) -> list[Path]:
    """Write a figure as PNG and as SVG, named after a path without ending; return both."""
    paths = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
    for place in paths:
        save(figure, place, title)
    return paths
