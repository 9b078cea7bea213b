"""The paper's Table 2: MetaKD beside other methods with every subset of ADNI's modalities, and tests of the gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metakd_monai.apps.adni import MODALITIES, SEPARATION
from metakd_monai.apps.benchmark.comparison import paired_p
from metakd_monai.apps.classification import SCORES
from metakd_monai.data.markdown import markdown_table
from metakd_monai.vocabulary import subsets_of

LETTERS = dict(zip(MODALITIES, "CGBI", strict=True))
OURS = "MetaKD"
COMPARED_SCORES = ("accuracy", "f1", "balanced_accuracy")  # micro-F1 is accuracy


def values(results: Sequence[Mapping[str, Any]], name: str, row: int, column: str) -> np.ndarray:
    """Return a score of each seed, ``(seeds,)``; the last row is the mean of the subsets."""
    return np.array([result[name][row][column] for result in results], dtype=float)


def table2_report(results: Sequence[Mapping[str, Any]], names: Sequence[str], cohort: str) -> str:
    """Write Table 2's form in Markdown: a row for each subset and score, then MetaKD minus the others.

    Args:
        results: for each seed the rows of :func:`~metakd_monai.apps.classification.score_subsets` by method.
        names: of the methods, MetaKD first.
        cohort: what was classified, in words.
    """
    rows = []
    subsets = ["+".join(LETTERS[name] for name in subset) for subset in subsets_of(MODALITIES)]
    for row, subset in enumerate([*subsets, "**mean of 15**"]):
        samples = f"{values(results, OURS, row, 'samples').mean():.0f}" if row < len(subsets) else ""
        for column in SCORES:
            cells = [mean_and_spread(values(results, name, row, column)) for name in names]
            rows.append([subset, samples, column, *cells])
    lines = [f"{cohort}, {len(results)} seeds. In %, mean ± standard deviation over seeds.", ""]
    lines += markdown_table(["modalities", "samples", "score", *names], rows, "l")
    return "\n".join([*lines, *gaps(results, names, len(subsets))]) + "\n"


def gaps(results: Sequence[Mapping[str, Any]], names: Sequence[str], subsets: int) -> list[str]:
    """Return a table of MetaKD minus the others, mean of the subsets."""
    rows = []
    lines = [
        "",
        "MetaKD minus the others, mean of 15, paired by seed, mean ± standard error. p: one-tailed paired t-tests that "
        "MetaKD is better, over seeds, and over the 15 subsets' means over seeds (which share subjects).",
        "",
    ]
    for name in names[1:]:
        for column in COMPARED_SCORES:
            mine, theirs = (values(results, one, -1, column) for one in (OURS, name))
            gap = mine - theirs
            error = f" ± {gap.std(ddof=1) / np.sqrt(len(gap)):.2f}" if len(gap) > 1 else ""
            means = [[values(results, one, row, column).mean() for row in range(subsets)] for one in (OURS, name)]
            told = [row for row in zip(*means, strict=True) if np.isfinite(row).all()]  # subsets that subjects have
            over_subsets = paired_p([a for a, _ in told], [b for _, b in told])
            chances = [show_p(p) for p in (paired_p(mine.tolist(), theirs.tolist()), over_subsets)]
            rows.append([name, column, f"{gap.mean():+.2f}{error}", *chances])
    return lines + markdown_table(["MetaKD minus", "score", "gap", "p, seeds", "p, subsets"], rows, "llr")


def importance_report(results: Sequence[Mapping[str, Any]]) -> str:
    """Write the learned importance beside the information that a simulated modality carries."""
    importance = np.array([result["importance"] for result in results])
    separation = np.array([SEPARATION[name] for name in MODALITIES])
    right = sum(bool((row.argsort() == separation.argsort()).all()) for row in importance)
    lines = ["", f"Importance; in {right} of {len(results)} seeds its order is that of the information:", ""]
    rows = [[name, str(separation[n]), mean_and_spread(importance[:, n], 3)] for n, name in enumerate(MODALITIES)]
    lines += markdown_table(["modality", "separation of neighbouring classes (sd)", "importance"], rows, "l")
    return "\n".join(lines) + "\n"


def mean_and_spread(numbers: np.ndarray, decimals: int = 2) -> str:
    """Write mean ± standard deviation, the mean alone of a single number."""
    spread = f" ± {numbers.std(ddof=1):.{decimals}f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.{decimals}f}{spread}"


def show_p(p: float) -> str:
    """Write a probability, nothing for NaN."""
    return "" if np.isnan(p) else f"{p:.3f}"
