"""Means, and numbers formatted for tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DASH = "-"


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Return the mean; ``nan`` if empty."""
    return float(np.mean(values)) if len(values) else math.nan


def show(value: float, digits: int = 2) -> str:
    """Show a number, or a dash for ``nan``."""
    return DASH if math.isnan(value) else f"{value:.{digits}f}"
