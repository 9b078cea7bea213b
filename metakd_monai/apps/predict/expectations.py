"""What to expect of a case before its mask is looked at: the Dice that was measured, and how usual the case is.

Both stand in ``expected.json`` beside the weights, and count for the weights whose SHA-256 the file names::

    {
      "weights_sha256": "...",
      "cases": ["name of each case that Dice was measured on", ...],
      "subsets": {"flair+t1ce": {"WT": {"mean": 0.8, "lowest": 0.6, "highest": 0.9, "cases": 7}, ...}, ...},
      "training": {"cases": 40, "ranges": {"brain_ml": [1080, 1700], ...}}
    }

Subsets are named in the vocabulary's order. Each part may be missing. Ranges are those of :func:`measure_appearance`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor

from metakd_monai.apps.predict.appearance import measure_appearance
from metakd_monai.apps.predict.input_checks import KINDS, Ranges, find_unusual
from metakd_monai.data.files import read_json
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Region

FILE = "expected.json"
NEEDED = ("shortest_edge", "longest_edge", "brain_ml", "brain_share")  # among the ranges
FEWEST_CASES = 3  # that a Dice is measured on, to be said


def show_dice(dice: Mapping[str, float]) -> str:
    """Write the Dice of a region, and on how many cases it was measured, for a user."""
    cases = dice["cases"]
    low, high = f"{dice['lowest']:.2f}", f"{dice['highest']:.2f}"
    return f"{low if low == high else f'{low}-{high}'} ({cases} cases)"


@dataclass(frozen=True)
class Expectations:
    """What ``expected.json`` says of the weights in use.

    Attributes:
        subsets: Dice by subset and region.
        measured_on: names of cases.
        ranges: of the training cases.
        note: why there is nothing, where there is a file.
    """

    subsets: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    measured_on: Sequence[str] = ()
    ranges: Ranges = field(default_factory=dict)
    note: str | None = None

    def dice(self, modalities: Sequence[str]) -> dict[str, Mapping[str, float]]:
        """Return the Dice of each region that was measured on enough cases, of sequences in the vocabulary's order."""
        regions = self.subsets.get("+".join(modalities), {})
        return {region: dice for region, dice in regions.items() if dice["cases"] >= FEWEST_CASES}

    def report(self, modalities: Sequence[str]) -> dict[str, Any] | None:
        """Return what a report says of the Dice to expect from sequences, named in the vocabulary's order."""
        if self.note is not None:
            return {"note": self.note}
        dice = self.dice(modalities)
        return {"dice": dice, "measured_on": list(self.measured_on)} if dice else None

    def describe(self, modalities: Sequence[str]) -> str:
        """Say in a few words which Dice to expect, or nothing.

        As ``expected Dice ET 0.41-0.83 (4 cases), WT 0.70-0.93 (5 cases)``.
        """
        dice = self.dice(modalities)
        ranges = [f"{region.value} {show_dice(dice[region])}" for region in Region if region.value in dice]
        return f"expected Dice {', '.join(ranges)}" if ranges else ""

    def find_unusual(self, image: Tensor, available: Tensor, affine: ArrayLike) -> list[str]:
        """Return what is unlike the training cases in a case, see :func:`find_unusual`."""
        return find_unusual(measure_appearance(image, available, affine), self.ranges) if self.ranges else []


def read_expectations(weights: str | Path, sha256: str) -> Expectations:
    """Read ``expected.json`` beside weights, which need not be there. All of it is checked before any of it is used.

    Args:
        weights: a file.
        sha256: its checksum.

    Returns:
        What it says; where it is unreadable or of other weights, nothing but a note.
    """
    path = Path(weights).with_name(FILE)
    if not path.exists():
        return Expectations()
    try:
        content = read_mapping(read_json(path, "what metakd_monai.apps.predict.expectations describes"))
        if content.get("weights_sha256") != sha256:
            return Expectations(note=f"{path.name} is about other weights, ignored")
        ranges = read_mapping(content["training"])["ranges"] if "training" in content else None
        return Expectations(
            {str(subset): read_dice(regions) for subset, regions in read_mapping(content.get("subsets", {})).items()},
            [str(case) for case in read_list(content.get("cases", []))],
            {} if ranges is None else read_ranges(ranges),
        )
    except (UserError, ValueError, KeyError, TypeError, OverflowError):
        return Expectations(note=f"{path.name} is unreadable, ignored")


def read_mapping(content: Any) -> Mapping[str, Any]:
    """Return an object of JSON; raises ValueError for anything else."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{content!r:.50} found; expected an object")
    return content


def read_list(content: Any) -> list[Any]:
    """Return a list of JSON; raises ValueError for anything else."""
    if not isinstance(content, list):
        raise ValueError(f"{content!r:.50} found; expected a list")
    return content


def read_dice(regions: Any) -> dict[str, dict[str, float]]:
    """Read the Dice of a subset by region; raises KeyError or ValueError for something else."""
    found = {}
    for region, dice in read_mapping(regions).items():
        values = {name: read_number(read_mapping(dice)[name]) for name in ("mean", "lowest", "highest")}
        cases = read_number(dice["cases"])
        if not all(0 <= value <= 1 for value in values.values()) or cases != int(cases) or cases < 1:
            raise ValueError(f"{dice} found; expected Dice from 0 to 1 of a number of cases")
        found[Region(region).value] = {**values, "cases": int(cases)}
    return found


def read_ranges(content: Any) -> Ranges:
    """Read the ranges of the training cases; raises KeyError or ValueError where one that is needed is not there."""
    ranges = {name: [read_number(end) for end in ends] for name, ends in read_mapping(content).items()}
    for name in (*NEEDED, *ranges):
        low, high = ranges[name]
        if low > high or (name not in NEEDED and name.rsplit("_", 1)[-1] not in KINDS):
            raise ValueError(f"{name} {ranges[name]} found; expected the range of a number of measure_appearance")
    return ranges


def read_number(value: Any) -> float:
    """Return a finite number of JSON; raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r:.50} found; expected a number")
    return value
