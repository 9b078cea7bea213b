"""Curves over the iterations of one training: importance (Fig. 5a, 5b, 9), losses (5c), how well Eq. (2) fills (6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metakd_monai.apps.benchmark.figures import new_figure
from metakd_monai.apps.paper.captions import describe_run, save_figure
from metakd_monai.data.spreadsheets import read_csv
from metakd_monai.errors import UserError

# Colour-blind safe (Okabe and Ito). T1ce, which the paper has red, vermilion.
COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#e69f00")
IMPORTANCE = "importance_"
MISSING = {"t1ce": "1 missing", "t1ce+t2": "2 missing", "t1+t1ce+t2": "3 missing"}  # of Fig. 6
DISTANCES = {"fill_l2_": "L2 distance", "fill_cosine_": "cosine similarity"}


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Read a log of a training: numbers by column, ``nan`` of blanks; raises UserError for one without rows."""
    header, rows = read_csv(path)
    if not rows:
        raise UserError(f"{path}: no rows found; expected a log of a training")
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in header}


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Return the running mean over the last ``window`` values, fewer at the start."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def draw_importance(run: Path, path: Path, window: int = 1) -> list[Path]:
    """Draw the importance of each modality over the iterations.

    Args:
        run: folder of a training with MetaKD, of any of the three tasks.
        path: of the files, without ending.
        window: updates of the importance to average over; the paper uses 50 in Fig. 9.

    Raises:
        UserError: for a folder without importance.
    """
    source = run / "meta.csv"
    columns = read_columns(source)
    curves = {n.removeprefix(IMPORTANCE): smooth(v, window) for n, v in columns.items() if n.startswith(IMPORTANCE)}
    if not curves:
        raise UserError(f"{source}: no importance found; expected the log of a training with MetaKD")
    figure = new_figure((6, 3.6))
    panel = figure.subplots()
    plot_curves(panel, columns["iteration"], curves, "importance")
    last = ", ".join(f"{name} {values[-1]:.3f}" for name, values in curves.items())
    told = [describe_run(run), f"Mean of the last {window} updates. At the end: {last}."]
    return save_figure(figure, path, "Importance over iterations", told, [source])


def draw_losses(run: Path, path: Path, window: int = 50) -> list[Path]:
    """Draw the task loss in training and the loss on held-out cases.

    Those are the validation cases, or without any, the meta-validation cases with features weighted by the importance.

    Args:
        run: folder of a training.
        path: of the files, without ending.
        window: iterations that the training loss is averaged over.
    """
    training, validation, meta = (run / f"{name}.csv" for name in ("training", "validation", "meta"))
    columns = read_columns(training)
    held_out, name = (validation, "val_loss") if validation.is_file() else (meta, "meta_loss")
    other = read_columns(held_out)
    if name not in other:
        raise UserError(f"{held_out}: no {name} found; expected the log of a training of this version")
    figure = new_figure((6, 3.6))
    panel = figure.subplots()
    label = "validation" if held_out == validation else "meta-validation"
    panel.plot(columns["iteration"], smooth(columns["task_loss"], window), color=COLOURS[0], label="training")
    panel.plot(other["iteration"], other[name], ".-", color=COLOURS[2], label=label)
    panel.set(xlabel="iteration", ylabel="cross-entropy + Dice")
    panel.grid(alpha=0.3)
    panel.legend()
    told = [
        describe_run(run),
        f"Training: mean of the last {window} iterations, with sequences dropped; {label}: cases with all they have.",
    ]
    return save_figure(figure, path, "Losses in training and validation", told, [training, held_out])


def draw_fill(run: Path, path: Path) -> list[Path]:
    """Draw the distance of filled features, Eq. (2), from the true ones, with one, two and three missing sequences.

    Raises:
        UserError: for a log without these distances.
    """
    source = run / "meta.csv"
    columns = read_columns(source)
    absent = [kind + names for kind in DISTANCES for names in MISSING if kind + names not in columns]
    if absent:
        raise UserError(f"{source}: no {absent[0]} found; expected the log of a segmentation of this version")
    figure = new_figure((9, 3.6))
    for panel, (kind, label) in zip(figure.subplots(1, len(DISTANCES)), DISTANCES.items(), strict=True):
        curves = {f"{title} ({names})": columns[kind + names] for names, title in MISSING.items()}
        plot_curves(panel, columns["iteration"], curves, label)
    told = [describe_run(run), "Of the deepest features of the meta-validation cases, which are not trained on."]
    return save_figure(figure, path, "Filled against true features", told, [source])


def plot_curves(
    panel: Any, iterations: np.ndarray, curves: Mapping[str, Sequence[float] | np.ndarray], label: str
) -> None:
    """Draw several curves over the iterations."""
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        panel.plot(iterations, values, color=colour, label=name)
    panel.set(xlabel="iteration", ylabel=label)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)
