"""The tables of a comparison: scores in the paper's form, tests of differences, costs; Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from metakd_monai.apps.arena.dice_of_methods import COLUMNS, Difference, MethodDice
from metakd_monai.apps.benchmark.comparison import show_p
from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES
from metakd_monai.apps.study.aims import WORSE, nested
from metakd_monai.data.markdown import markdown_table
from metakd_monai.metrics.means import DASH, show
from metakd_monai.vocabulary import REGION_NAMES, Modality, modality_subsets

Records = Mapping[str, Sequence[Mapping[str, Any]]]  # of the cells of each method
COSTS = ("parameters_M", "tflop_4", "tflop_1", "iterations", "seconds_per_iteration", "peak_gib")


def method_means(methods: Sequence[MethodDice]) -> np.ndarray:
    """Return Dice in %, means over cases and seeds, the last row that of the subsets ``(16, R, methods)``."""
    tables = np.stack([method.subset_means().mean(0) for method in methods], axis=-1)
    means = np.stack([method.seed_means()[:, : len(REGION_NAMES)].mean(0) for method in methods], axis=-1)
    return np.concatenate([tables, means[None]])


def ranks(values: np.ndarray) -> list[int]:
    """Return the rank of each value, 0 for the largest; values that look equal in the table share it."""
    shown = np.round(np.nan_to_num(values, nan=-1.0), 2)
    return [int((shown > value).sum()) for value in shown]


def mark(text: str, place: int, styles: tuple[str, str]) -> str:
    """Mark the best and the second best value, as the paper does."""
    return styles[place].format(text) if place < len(styles) and text != DASH else text


def table_rows(methods: Sequence[MethodDice], styles: tuple[str, str], dots: tuple[str, str]) -> Iterable[list[str]]:
    """Yield the cells of each row of the paper's table: four dots, then each region's methods."""
    table = method_means(methods)
    for row, subset in zip(table, [*modality_subsets(), None], strict=True):
        cells = [dots[m in subset] for m in Modality] if subset else ["mean of 15", *[""] * (len(Modality) - 1)]
        for values in row:
            places = ranks(values)
            cells += [mark(show(value), place, styles) for value, place in zip(values, places, strict=True)]
        yield cells


def spread_cells(methods: Sequence[MethodDice]) -> list[str]:
    """Return the standard deviation over seeds of the mean of the subsets, in the columns of the table."""
    found = [method.seed_means() for method in methods]
    return [
        show(float(means[:, column].std(ddof=1))) if len(means) > 1 else DASH
        for column in range(len(REGION_NAMES))
        for means in found
    ]


def heads_of(methods: Sequence[MethodDice]) -> list[str]:
    """Name the columns of values."""
    return [f"{region} {method.name}" for region in REGION_NAMES for method in methods]


def table_lines(methods: Sequence[MethodDice]) -> list[str]:
    """Return the paper's table in Markdown: best bold, second best italic."""
    heads = [*(m.value for m in Modality), *heads_of(methods)]
    rows = table_rows(methods, ("**{}**", "*{}*"), ("○", "●"))
    last = ["sd over seeds", *[""] * (len(Modality) - 1), *spread_cells(methods)]
    return markdown_table(heads, [*rows, last], "c" * len(Modality) + "r")


def table_csv(methods: Sequence[MethodDice]) -> list[Sequence[object]]:
    """Return the lines of the table as data: one for each subset, region and method."""
    lines: list[Sequence[object]] = [("modalities", "region", "method", "dice_percent", "sd_over_seeds", "seeds")]
    for method in methods:
        means = method.subset_means()
        values = np.concatenate([means, means.mean(1, keepdims=True)], axis=1)
        for row, name in enumerate((*SUBSET_NAMES, "mean")):
            for column, region in enumerate(REGION_NAMES):
                found = values[:, row, column]
                sd = float(found.std(ddof=1)) if len(found) > 1 else float("nan")
                lines.append((name, region, method.name, float(found.mean()), sd, len(found)))
    return lines


def table_tex(methods: Sequence[MethodDice]) -> str:
    """Return the paper's table in LaTeX; it needs the package booktabs."""
    count = len(methods)
    groups = " & ".join(rf"\multicolumn{{{count}}}{{c}}{{{region}}}" for region in REGION_NAMES)
    names = [tex(method.name) for method in methods] * len(REGION_NAMES)
    lines = [
        rf"\begin{{tabular}}{{{'c' * len(Modality)}{('r' * count) * len(REGION_NAMES)}}}",
        r"\toprule",
        rf"\multicolumn{{{len(Modality)}}}{{c}}{{}} & {groups} \\",
        " & ".join([*(tex(m.value) for m in Modality), *names]) + r" \\",
        r"\midrule",
    ]
    styles, dots = (r"\textbf{{{}}}", r"\textit{{{}}}"), (r"$\circ$", r"$\bullet$")
    rows = [" & ".join(cells) + r" \\" for cells in table_rows(methods, styles, dots)]
    last = " & ".join(["sd", *[""] * (len(Modality) - 1), *spread_cells(methods)]) + r" \\"
    return "\n".join([*lines, *rows[:-1], r"\midrule", rows[-1], last, r"\bottomrule", r"\end{tabular}"]) + "\n"


def tex(text: str) -> str:
    """Escape LaTeX's special characters in names of methods."""
    return text.replace("_", r"\_")


def difference_lines(reference: str, found: Mapping[str, Mapping[str, Difference]]) -> list[str]:
    """Return a table of the reference's gain over the others."""
    heads = ["other", "region", "points", "95 %", "Wilcoxon p", "cases", "t p", "t p16"]
    rows = []
    for other, regions in found.items():
        for region in COLUMNS:
            one = regions[region]
            ends = f"{show(one.low)} to {show(one.high)}"
            tests = [show_p(one.wilcoxon_p), str(one.cases), show_p(one.t_p), show_p(one.t_p_with_average)]
            rows.append([other, region, f"{one.mean:+.2f}", ends, *tests])
    return [
        f"{reference} minus the other method, points of Dice, mean of the 15 subsets and of the seeds. Interval:"
        " bootstrap over cases. Wilcoxon: signed ranks over cases, two-sided. t: one-tailed over the 15 subsets, as in"
        " the paper; p16 with their mean as one more pair. Subsets are no independent observations, so their p is too"
        " small; none is corrected for several comparisons.",
        "",
        *markdown_table(heads, rows, "llr"),
    ]


def cost_rows(records: Records) -> list[list[object]]:
    """Return the costs of each method: means over its cells, and the largest memory."""
    rows: list[list[object]] = []
    for name, cells in records.items():
        first = cells[0]
        seconds = [cell["seconds_per_iteration"] for cell in cells if cell["seconds_per_iteration"] is not None]
        peaks = [cell["peak_gib"] for cell in cells if cell["peak_gib"] is not None]
        rows.append(
            [
                name,
                first["parameters"] / 1e6,
                *(first["tflop"][number] for number in ("4", "1")),
                first["iterations"],
                float(np.mean(seconds)) if seconds else float("nan"),
                max(peaks, default=float("nan")),
            ]
        )
    return rows


def cost_lines(records: Records) -> list[str]:
    """Return the table of costs in Markdown."""
    heads = ["method", "parameters (M)", "TFLOP, 4 sequences", "1", "iterations", "s an iteration", "peak GiB"]
    rows = []
    for name, *values in cost_rows(records):
        rows.append([str(name), *(str(value) if isinstance(value, int) else f"{value:.3g}" for value in values)])
    devices = sorted({f"{cell['device']}, {cell['threads']} threads" for cells in records.values() for cell in cells})
    return [
        "TFLOP of one pass over 128x128x128 voxels. Memory of the training process, or of its GPU; time with all others"
        f" that ran beside it. On: {'; '.join(devices)}.",
        "",
        *markdown_table(heads, rows),
    ]


def order_lines(methods: Sequence[MethodDice]) -> list[str]:
    """Return for each method how often more sequences give lower scores, and its worst case."""
    heads = ["method", *(f"{region} worse with more" for region in REGION_NAMES), "worst WT of all four"]
    rows = []
    for method in methods:
        means = method.as_means()
        gaps = {r: [means[few, r] - means[many, r] for many, few in nested()] for r in REGION_NAMES}
        counts = [str(sum(gap > 100 * WORSE for gap in found)) for found in gaps.values()]
        whole = method.dice.mean(0)[:, -1, -1]
        worst = "-" if np.isnan(whole).all() else f"{np.nanmin(whole):.1f} ({method.cases[int(np.nanargmin(whole))]})"
        rows.append([method.name, *counts, worst])
    head = f"Of 50 nested pairs of subsets, those more than {100 * WORSE:.0f} points the wrong way."
    return [head, "", *markdown_table(heads, rows)]
