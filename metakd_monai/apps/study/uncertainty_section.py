"""The section of a report on uncertainty: each case, and the means over cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from metakd_monai.apps.study.uncertainty_score import UncertaintyRow, picture_name
from metakd_monai.data.markdown import markdown_table
from metakd_monai.metrics.means import mean


def uncertainty_lines(rows: Sequence[UncertaintyRow]) -> list[str]:
    """Return the lines of the section: each case, and the mean over cases by method."""
    lines = ["", "## Uncertainty", "", "In the brain; a voxel is wrong where any region differs from the reference."]
    lines += [
        "AUROC for wrong voxels: of the map, of mirroring, of the mask's own probabilities. Mean of the map in bits."
    ]
    heads = [
        "case",
        "given",
        "opinions",
        "wrong voxels",
        "AUROC",
        "mirroring",
        "mask alone",
        "where wrong",
        "where right",
    ]
    cells = [[one.case, one.given, one.method, *show_row(one[3:])] for one in rows]
    lines += ["", *markdown_table(heads, cells, "lllr")]
    for method in dict.fromkeys(one.method for one in rows):
        same = [one for one in rows if one.method == method]
        means = [mean_known(column) for column in zip(*(one[3:] for one in same), strict=True)]
        lines.append(f"| **mean of {len(same)}** | | {method} | {' | '.join(show_row(means))} |")
    for one in rows:
        lines += ["", f"![{one.case} given {one.given}]({picture_name(one.case, one.given)})"]
    return lines


def mean_known(values: Iterable[float]) -> float:
    """Return the mean of what is a number, ``nan`` of nothing."""
    return mean([value for value in values if not np.isnan(value)])


def show_row(values: Sequence[float]) -> list[str]:
    """Show the share in % and the other numbers as cells."""
    share, *others = values
    return [f"{100 * share:.2f} %", *(f"{value:.3f}" for value in others)]
