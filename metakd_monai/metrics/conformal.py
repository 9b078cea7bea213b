"""Ranges for new cases, not among those measured: conformal prediction by order statistics.

Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; for several values of each case, which
are not independent, Dunn, Wasserman and Ramdas, Distribution-Free Prediction Sets for Two-Layer Hierarchical Models,
2023 (each case has the same weight, spread over its values).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHARE = 0.8  # share of new cases that lie in a range, at least


def predictive_range(
    values: ArrayLike, cases: Sequence[str] | NDArray[np.str_], share: float = SHARE
) -> tuple[float, float] | None:
    """Return the range in which the value of a new case lies with a probability of at least ``share``.

    On each side at most half of the rest lies outside, counting the new case itself as if it were beyond all others.

    Args:
        values: ``(V,)``.
        cases: the case of each value; several values may belong to one case.
        share: between 0 and 1.

    Returns:
        Lowest and highest; None if there are too few cases for such a range: fewer than 9 for a share of .8.
    """
    found = np.asarray(values, dtype=float)
    _, index, sizes = np.unique(cases, return_inverse=True, return_counts=True)
    weights = 1 / (sizes[index] * (len(sizes) + 1))
    ends = []
    for sign in (1, -1):
        order = np.argsort(sign * found)
        reached = np.cumsum(weights[order]) >= (1 + share) / 2 - 1e-9
        if not reached.any():
            return None
        ends.append(float(found[order[np.argmax(reached)]]))
    return ends[1], ends[0]


def summarise_range(values: Mapping[str, float]) -> dict[str, float]:
    """Return the number of values, one for each case, their median, and ``low`` to ``high`` if there is a range."""
    found = {"cases": len(values), "median": round(float(np.median(list(values.values()))), 4)}
    ends = predictive_range(list(values.values()), list(values))
    return found if ends is None else {**found, "low": round(ends[0], 4), "high": round(ends[1], 4)}
