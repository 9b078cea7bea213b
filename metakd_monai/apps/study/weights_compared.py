"""Several weights compared: each name's mean over its seeds, and the gain from dropping sequences in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metakd_monai.apps.study.aims import BETTER, ROUNDING
from metakd_monai.apps.study.evidence import Evidence, summarise
from metakd_monai.data.markdown import markdown_table
from metakd_monai.vocabulary import REGION_NAMES

WITHOUT = "no dropping"
OURS = "MetaKD"
MEAN_OF_REGIONS = "mean of regions"
Runs = Mapping[str, Sequence[Evidence]]  # by name, one of each seed


def dice_of(evidence: Evidence, subsets: Sequence[str]) -> np.ndarray:
    """Return mean Dice over cases ``(subsets, R + 1)``, the last column the mean of the regions."""
    values = [[summarise(evidence.of(subset, region).values()).mean for region in REGION_NAMES] for subset in subsets]
    return np.array([[*row, np.mean([value for value in row if not np.isnan(value)])] for row in values])


def compare_lines(runs: Runs) -> list[str]:
    """Return a Markdown table of Dice by subset, region and name."""
    subsets = list(next(iter(runs.values()))[0].subsets)
    dice = {name: np.stack([dice_of(seed, subsets) for seed in seeds]) for name, seeds in runs.items()}
    heads = ["given", *(f"{region}: {name}" for region in REGION_NAMES for name in runs)]
    parts = [(slice(n, n + 1), subset) for n, subset in enumerate(subsets)]
    parts.append((slice(None), f"**mean of {len(subsets)}**"))
    rows = [
        [title, *(spread(dice[name][:, part, column]) for column in range(len(REGION_NAMES)) for name in runs)]
        for part, title in parts
    ]
    seeds = ", ".join(f"{name} ({len(found)})" for name, found in runs.items())
    head = f"Mean over cases, ± standard deviation over seeds where there are several. Seeds: {seeds}."
    return [f"{head} (n): the mean of the n subsets in which a case has the region.", "", *markdown_table(heads, rows)]


def spread(values: np.ndarray) -> str:
    """Show the mean of values ``(seeds, subsets)`` where they are measured, and the standard deviation over seeds."""
    measured = values[:, ~np.isnan(values).any(axis=0)]
    if not measured.size:
        return "-"
    means = measured.mean(axis=1)
    shown = f"{means.mean():.3f}" + (f" ± {means.std(ddof=1):.3f}" if len(means) > 1 else "")
    return shown if measured.shape == values.shape else f"{shown} ({measured.shape[1]})"


def gain(ours: np.ndarray, without: np.ndarray) -> str:
    """Show how much the mean of ``(seeds,)`` values is above that of others, and its standard error over the seeds."""
    shown = f"{ours.mean() - without.mean():+.3f}"
    if min(len(ours), len(without)) < 2:
        return shown
    error = np.sqrt(sum(values.var(ddof=1) / len(values) for values in (ours, without)))
    return f"{shown} ± {error:.3f}"


def dropping_lines(ours: Sequence[Evidence], without: Sequence[Evidence]) -> list[str]:
    """Return a Markdown table of what training with dropping gains over training without, means over seeds."""
    subsets = list(ours[0].subsets)
    mine, other = (np.stack([dice_of(seed, subsets) for seed in seeds]) for seeds in (ours, without))
    gains = mine.mean(axis=0) - other.mean(axis=0)
    lines = ["| region | subsets worse | lowest gain | mean gain | |", "|---|--:|--:|--:|---|"]
    for column, region in enumerate([*REGION_NAMES, MEAN_OF_REGIONS]):
        measured = np.flatnonzero(~np.isnan(gains[:, column]))
        if not measured.size:
            lines.append(f"| {region} | - | - | - | not measured |")
            continue
        named = {n: f"{subsets[n]} {gain(mine[:, n, column], other[:, n, column])}" for n in measured}
        worse = [named[n] for n in measured if gains[n, column] < -ROUNDING]
        met = not worse and gains[measured, column].mean() >= BETTER - ROUNDING
        shown = f"{len(worse)} of {len(measured)}" + (f": {', '.join(worse)}" if worse else "")
        lowest = named[measured[gains[measured, column].argmin()]]
        mean = gain(*(values[:, measured, column].mean(axis=1) for values in (mine, other)))
        lines.append(f"| {region} | {shown} | {lowest} | {mean} | {'met' if met else '**not met**'} |")
    return [
        f"Aim: no subset worse, and the mean of the subsets better by {BETTER:.2f} at least. ±: standard error over"
        " seeds, where there are several.",
        "",
        *lines,
    ]
