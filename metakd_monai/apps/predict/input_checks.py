"""How a case differs from the training cases: its grid, its brain, its intensities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from metakd_monai.apps.predict.appearance import Appearance
from metakd_monai.vocabulary import Modality

Ranges = Mapping[str, Sequence[float]]
USUAL = (0.005, 0.995)  # quantiles of the training cases that bound a range
# How far outside the range of the training cases is still usual: a factor, or a difference.
FACTORS = {"edge": 1.25, "ml": 1.15, "tails": 1.5}
DIFFERENCES = {"share": 0.15, "skew": 0.25, "cover": 0.1}
CONTRAST = "contrast"  # a number of the appearance that is judged by its sign alone
CLEARLY = 0.1  # how far below 0 a contrast must be to be more than noise; in 28 real brains it is 0.23 or more
KINDS = (*FACTORS, *DIFFERENCES)


def merge_appearances(appearances: Iterable[Appearance]) -> dict[str, Any]:
    """Return the part ``training`` of ``expected.json``: how many cases, and the range of each number."""
    every = list(appearances)
    names = sorted({name for appearance in every for name in appearance} - {CONTRAST})
    values = {name: [appearance[name] for appearance in every if name in appearance] for name in names}
    ranges = {name: [round(float(q), 4) for q in np.quantile(found, USUAL)] for name, found in values.items()}
    return {"cases": len(every), "ranges": ranges}


def find_unusual(appearance: Appearance, ranges: Ranges) -> list[str]:
    """Return a line for each property that is unlike the training cases.

    Intensities are not judged when the skull or nonzero air seems to be present.
    """
    sides = {name: side_of(name, value, ranges[name]) for name, value in appearance.items() if name in ranges}
    lines = []
    if sides.get("shortest_edge") or sides.get("longest_edge"):
        shortest, longest = appearance["shortest_edge"], appearance["longest_edge"]
        thick = "; thick slices, not interpolated" if longest > 2 * shortest else ""
        edges = show_range((shortest, longest), ".2g")
        lines.append(f"voxels of {edges} mm, in training {show_range(ranges['longest_edge'], '.2g')} mm{thick}")
    brain = [sides.get("brain_ml", 0), sides.get("brain_share", 0)]
    if any(brain):
        volume = f"{appearance['brain_ml']:.0f} mL (in training {show_range(ranges['brain_ml'], '.0f')})"
        share = f"{appearance['brain_share']:.0%} of their box (in training {show_range(ranges['brain_share'], '.0%')})"
        kind = "not skull-stripped?" if max(brain) > 0 else "small or incomplete brain?"
        hint = "; metakd predict --raw takes scans with skull" if max(brain) > 0 else ""
        lines.append(f"{kind} nonzero voxels: {volume}, {share}{hint}")
    return lines if max(brain) > 0 else lines + find_odd_values(appearance, ranges, sides)


def find_odd_values(appearance: Appearance, ranges: Ranges, sides: Mapping[str, int]) -> list[str]:
    """Return a line for each sequence that is partial or of unusual intensities, and one if T1 and T1ce seem exchanged.

    ``sides`` are those of :func:`side_of`, by name.
    """
    lines = []
    if is_exchanged(appearance):
        lines.append(
            "t1 and t1ce exchanged? bright voxels of t1 are brighter by"
            f" {-appearance[CONTRAST]:.2f} interquartile ranges"
        )
    for modality in Modality:
        cover = f"{modality.value}_cover"
        if sides.get(cover, 0) < 0:
            found = f"{appearance[cover]:.0%} of the brain (in training {show_range(ranges[cover], '.0%')})"
            lines.append(f"{modality.value} covers {found}, only a part was scanned?")
        odd = [name for name in (f"{modality.value}_skew", f"{modality.value}_tails") if sides.get(name)]
        numbers = [
            f"{name.split('_')[1]} {appearance[name]:.2f} (in training {show_range(ranges[name], '.2f')})"
            for name in odd
        ]
        if odd:
            lines.append(f"{modality.value} has unusual intensities: {', '.join(numbers)}")
    return lines


def is_exchanged(appearance: Appearance) -> bool:
    """Tell whether T1 and T1ce seem exchanged; False if one of them is missing."""
    return appearance.get(CONTRAST, 0.0) < -CLEARLY


def side_of(name: str, value: float, usual: Sequence[float]) -> int:
    """Return -1 for a number below the widened range of the training cases, 1 for one above it, else 0."""
    low, high = usual
    kind = name.rsplit("_", 1)[-1]
    if kind in FACTORS:
        low, high = low / FACTORS[kind], high * FACTORS[kind]
    else:
        low, high = low - DIFFERENCES[kind], high + DIFFERENCES[kind]
    return int(value > high) - int(value < low)


def show_range(usual: Sequence[float], form: str) -> str:
    """Write a range for a user."""
    low, high = (format(value, form) for value in usual)
    return low if low == high else f"{low} to {high}"
