"""What to expect of a case before its mask is looked at: the Dice that was measured, and how usual the case is.

Both stand in ``expected.json`` beside the weights, and count for the weights whose SHA-256 the file names::

    {
      "weights_sha256": "...",
      "cases": ["name of each case that Dice was measured on", ...],
      "subsets": {"flair+t1ce": {"WT": {"mean": 0.8, "lowest": 0.6, "highest": 0.9, "cases": 7}, ...}, ...},
      "training": {"cases": 40, "ranges": {"brain_ml": [1080, 1700], ...}}
    }

Subsets are named in the vocabulary's order. Each part may be missing. Ranges are those of :func:`measure_look`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from metakd_monai.apps.predict.appearance import Look, measure_look
from metakd_monai.data.files import read_json
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality, Region

FILE = "expected.json"
Ranges = Mapping[str, Sequence[float]]
USUAL = (0.005, 0.995)  # of the training cases lie within a range
# How far outside the range of the training cases is still usual: a factor, or a difference.
FACTORS = {"edge": 1.25, "ml": 1.15, "tails": 1.5}
DIFFERENCES = {"share": 0.15, "skew": 0.25, "contrast": 0.5, "cover": 0.1}
KINDS = (*FACTORS, *DIFFERENCES)
NEEDED = ("shortest_edge", "longest_edge", "brain_ml", "brain_share")  # among the ranges
FEWEST_CASES = 3  # that a Dice is measured on, to be said


def merge_looks(looks: Iterable[Look]) -> dict[str, Any]:
    """Return the part ``training`` of ``expected.json``: how many cases, and the range of each number."""
    every = list(looks)
    names = sorted({name for look in every for name in look})
    values = {name: [look[name] for look in every if name in look] for name in names}
    ranges = {name: [round(float(q), 4) for q in np.quantile(found, USUAL)] for name, found in values.items()}
    return {"cases": len(every), "ranges": ranges}


def find_unusual(look: Look, ranges: Ranges) -> list[str]:
    """Return what is unlike the training cases, a line for each.

    A head with its skull, or with air that is not 0, is no brain: then nothing is said of volume and intensities.
    """
    sides = {name: side_of(name, value, ranges[name]) for name, value in look.items() if name in ranges}
    lines = []
    if sides.get("shortest_edge") or sides.get("longest_edge"):
        thick = "; thick slices, and nothing is filled in" if look["longest_edge"] > 2 * look["shortest_edge"] else ""
        edges = say((look["shortest_edge"], look["longest_edge"]), ".2g")
        lines.append(f"voxels of {edges} mm, in training {say(ranges['longest_edge'], '.2g')} mm{thick}")
    brain = [sides.get("brain_ml", 0), sides.get("brain_share", 0)]
    if any(brain):
        volume = f"{look['brain_ml']:.0f} mL (in training {say(ranges['brain_ml'], '.0f')})"
        share = f"{look['brain_share']:.0%} of its box (in training {say(ranges['brain_share'], '.0%')})"
        kind = "not skull-stripped?" if max(brain) > 0 else "small or incomplete brain?"
        lines.append(f"{kind} what is not 0 has {volume}, {share}")
    return lines if max(brain) > 0 else lines + find_odd_values(look, ranges, sides)


def find_odd_values(look: Look, ranges: Ranges, sides: Mapping[str, int]) -> list[str]:
    """Return a line for each sequence that is partial or of unusual intensities, and one for T1 and T1ce exchanged.

    ``sides`` are those of :func:`side_of`, by name.
    """
    lines = []
    if sides.get("contrast", 0) < 0:
        found = f"{look['contrast']:.2f} (in training {say(ranges['contrast'], '.2f')})"
        lines.append(f"t1 and t1ce exchanged? what t1ce adds to t1 has skewness {found}")
    for modality in Modality:
        cover = f"{modality.value}_cover"
        if sides.get(cover, 0) < 0:
            found = f"{look[cover]:.0%} of the brain (in training {say(ranges[cover], '.0%')})"
            lines.append(f"{modality.value} covers {found}, only a part was scanned?")
        odd = [name for name in (f"{modality.value}_skew", f"{modality.value}_tails") if sides.get(name)]
        numbers = [f"{name.split('_')[1]} {look[name]:.2f} (in training {say(ranges[name], '.2f')})" for name in odd]
        if odd:
            lines.append(f"{modality.value} has unusual intensities: {', '.join(numbers)}")
    return lines


def side_of(name: str, value: float, usual: Sequence[float]) -> int:
    """Return -1 for a number below the range of the training cases, widened, 1 for one above, else 0."""
    low, high = usual
    kind = name.rsplit("_", 1)[-1]
    if kind in FACTORS:
        low, high = low / FACTORS[kind], high * FACTORS[kind]
    else:
        low, high = low - DIFFERENCES[kind], high + DIFFERENCES[kind]
    return int(value > high) - int(value < low)


def say(usual: Sequence[float], form: str) -> str:
    """Write a range for a user."""
    low, high = (format(value, form) for value in usual)
    return low if low == high else f"{low} to {high}"


def say_measured(dice: Mapping[str, float]) -> str:
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
        ranges = [f"{region.value} {say_measured(dice[region])}" for region in Region if region.value in dice]
        return f"expected Dice {', '.join(ranges)}" if ranges else ""

    def find_unusual(self, image: Tensor, available: Tensor, affine: ArrayLike) -> list[str]:
        """Return what is unlike the training cases in a case; see :func:`measure_look` and :func:`find_unusual`."""
        return find_unusual(measure_look(image, available, affine), self.ranges) if self.ranges else []


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
            raise ValueError(f"{name} {ranges[name]} found; expected the range of a number of measure_look")
    return ranges


def read_number(value: Any) -> float:
    """Return a finite number of JSON; raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r:.50} found; expected a number")
    return value
