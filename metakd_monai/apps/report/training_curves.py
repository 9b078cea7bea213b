"""Curves of a training, from the tables that it writes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from metakd_monai.apps.report.page_parts import data_uri

ITERATION = "iteration"
COLUMNS = 3
SMOOTHED = 50  # length of the running mean, drawn if there are many more values


def draw_training(curves: Mapping[str, Sequence[float]]) -> str:
    """Return a picture, as a data URI, with a panel for each column over the column of iterations."""
    names = [name for name in curves if name != ITERATION]
    lines = max(1, -(-len(names) // COLUMNS))
    figure = Figure(figsize=(4 * COLUMNS, 2.6 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        draw_curve(panel, np.array(curves[ITERATION]), np.array(curves[name]))
        panel.set_title(name, fontsize=10)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    return data_uri("png", content.getvalue())


def draw_curve(panel: Any, iterations: np.ndarray, values: np.ndarray) -> None:
    """Draw values; if there are many, also their running mean."""
    panel.grid(alpha=0.3)
    many = len(values) > 2 * SMOOTHED
    panel.plot(iterations, values, color="#9ecae1" if many else "#0072b2")
    if many:
        means = np.convolve(values, np.ones(SMOOTHED) / SMOOTHED, "valid")
        panel.plot(iterations[SMOOTHED // 2 :][: len(means)], means, color="#0072b2")
