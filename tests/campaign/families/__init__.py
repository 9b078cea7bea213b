"""The families of inputs, by name, and how many of each are tried."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from importlib import import_module
from itertools import islice

import numpy as np

from campaign.trials import Family, Trial

MODULES = (
    "damage",
    "headers",
    "volumes",
    "names",
    "sequences",
    "labels",
    "records",
    "weights",
    "files",
    "options",
    "tables",
    "training",
    "raw",
    "processes",
)


def families() -> dict[str, tuple[Family, int]]:
    """Return each family's maker and how many of its inputs are tried."""
    found: dict[str, tuple[Family, int]] = {}
    for name in MODULES:
        found |= import_module(f"campaign.families.{name}").FAMILIES
    return found


def make_family(name: str, seed: int) -> list[Trial]:
    """Make a family's inputs; the same seed, the same inputs."""
    family, count = families()[name]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    inputs = islice(family(rng), count)
    return [Trial(name, number, recipe, prepare, seed) for number, (recipe, prepare) in enumerate(inputs)]


def choose(
    seed: int, only: str | None = None, sample: int | None = None, names: Sequence[str] | None = None
) -> list[Trial]:
    """Choose what is tried: one input, the families whose names begin so, a random sample, or all.

    A sample takes its inputs from the families in turn, so that many are there.
    """
    if only is not None:
        family, _, number = only.rpartition(":")
        return [make_family(family, seed)[int(number)]]
    wanted = [name for name in families() if names is None or name.startswith(tuple(names))]
    made = [make_family(name, seed) for name in wanted]
    if sample is None:
        return [trial for trials in made for trial in trials]
    rng = np.random.default_rng([seed, sample])
    shuffled = [[trials[n] for n in rng.permutation(len(trials))] for trials in made]
    order = rng.permutation(len(shuffled))
    turns = (shuffled[n][turn] for turn in range(max(map(len, shuffled))) for n in order if turn < len(shuffled[n]))
    return list(islice(turns, sample))
