"""Captions: what a figure shows and what was run for it, as Markdown beside the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from metakd_monai import __version__
from metakd_monai.apps.benchmark.figures import save_both
from metakd_monai.data.files import checksum, read_json, write_text

TOLD = (
    "method",
    "seed",
    "max_iterations",
    "batch_size",
    "alpha",
    "p_norm",
    "normalization",
    "meta_interval",
    "version",
)


def read_settings(run: Path) -> dict[str, Any]:
    """Return the settings of a training; raises UserError for a folder that holds none."""
    found: dict[str, Any] = read_json(run / "settings.json", "settings.json of a training")
    return found


def describe_run(run: Path) -> str:
    """Describe in one line what was trained."""
    settings = read_settings(run)
    return "Training: " + ", ".join(f"{name} {settings[name]}" for name in TOLD if name in settings) + "."


def save_figure(figure: Figure, path: Path, title: str, told: Iterable[str], sources: Iterable[Path]) -> list[Path]:
    """Write a figure as PNG and SVG, and its caption.

    Args:
        figure: the figure.
        path: of the files, without ending.
        title: above the figure.
        told: sentences of the caption.
        sources: files with its data; the caption has their checksums.

    Returns:
        The pictures and the caption.
    """
    lines = [f"**{title}.**", *told, f"metakd_monai {__version__}. Drawn from:", ""]
    lines += [f"- {source.parent.name}/{source.name}, SHA-256 {checksum(source)}" for source in sources]
    caption = path.with_name(f"{path.name}.md")
    write_text(caption, "\n".join(lines) + "\n")
    return [*save_both(figure, path, title), caption]
