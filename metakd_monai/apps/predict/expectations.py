"""What to expect of a case: the measured Dice, the Dice that its mask predicts, and whether the case is unusual.

``expected.json`` beside the weights holds all of it, for the weights whose SHA-256 it names::

    {
      "weights_sha256": "...",
      "measured": "cross-validation, 28 cases, 4 folds",
      "cases": ["name of each case that Dice was measured on", ...],
      "least_et_ml": 1.0,
      "subsets": {"flair+t1ce": {"WT": {"cases": 28, "median": 0.86, "low": 0.7, "high": 0.93}, ...}, ...},
      "masks": {"WT": {"weights": {...}, "highest": 0.96, "error": [-0.4, 0.3], "flag_below": 0.6}, ...},
      "postprocessing": "components:voxels=0,share=0.05",
      "training": {"cases": 40, "ranges": {"brain_ml": [1080, 1700], ...}}
    }

Subsets are named in the vocabulary's order. The Dice of a new case lies between ``low`` and ``high`` with a probability
of at least 80 % (:mod:`metakd_monai.metrics.conformal`); with fewer than 9 cases both are absent, and nothing is said
about the region. ET is measured on references with at least ``least_et_ml`` of it.
:mod:`metakd_monai.apps.predict.mask_quality` reads ``masks``; other keys in them are ignored. ``postprocessing`` is the
rule used in the measurement; ``metakd predict`` applies it unless told otherwise. Each part may be missing. The
``ranges`` are those of :func:`measure_appearance` over the training cases.
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
from metakd_monai.apps.predict.mask_quality import (
    FEATURES,
    INTERCEPT,
    PredictedDice,
    QualityModel,
    report_predicted,
)
from metakd_monai.apps.predict.postprocessing import PLAIN, PostProcessing
from metakd_monai.data.files import read_json
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Region

FILE = "expected.json"
NEEDED = ("shortest_edge", "longest_edge", "brain_ml", "brain_share")  # among the ranges
MEASURED = "measured on labelled cases"  # if a file does not say how


@dataclass(frozen=True)
class Expectations:
    """What ``expected.json`` says about the weights in use.

    Attributes:
        subsets: Dice by subset and region.
        measured: how this Dice was measured.
        measured_on: names of the cases.
        models: for each region, the model that predicts a mask's Dice.
        ranges: of the training cases.
        postprocessing: the rule that goes with the weights.
        note: why an existing file was ignored.
    """

    subsets: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    measured: str = MEASURED
    measured_on: Sequence[str] = ()
    models: Mapping[str, QualityModel] = field(default_factory=dict)
    ranges: Ranges = field(default_factory=dict)
    postprocessing: PostProcessing = field(default_factory=PostProcessing)
    note: str | None = None

    def dice(self, modalities: Sequence[str]) -> dict[str, Mapping[str, float]]:
        """Return the Dice of each region that has a range; modalities in the vocabulary's order."""
        regions = self.subsets.get("+".join(modalities), {})
        return {region: dice for region, dice in regions.items() if "low" in dice}

    def report(self, modalities: Sequence[str], predicted: Mapping[str, PredictedDice]) -> dict[str, Any] | None:
        """Return the part of a report on the expected Dice; None if nothing is known.

        Args:
            modalities: the given ones, in the vocabulary's order.
            predicted: Dice that the mask predicts, by region.
        """
        if self.note is not None:
            return {"note": self.note}
        dice = self.dice(modalities)
        if not dice and not predicted:
            return None
        found = {"predicted": report_predicted(predicted), "dice": dice}
        return {**found, "measured": self.measured, "measured_on": list(self.measured_on)}

    def describe(self, modalities: Sequence[str]) -> str:
        """Describe the expected Dice in a few words; empty if unknown.

        Such as ``expected Dice ET 0.41-0.83, WT 0.70-0.93 (cross-validation, 28 cases, 4 folds)``.
        """
        dice = {region.value: self.dice(modalities).get(region.value) for region in Region}
        ranges = [f"{region} {one['low']:.2f}-{one['high']:.2f}" for region, one in dice.items() if one]
        return f"expected Dice {', '.join(ranges)} ({self.measured})" if ranges else ""

    def find_unusual(self, image: Tensor, available: Tensor, affine: ArrayLike) -> list[str]:
        """Return how a case differs from the training cases, see :func:`find_unusual`."""
        return find_unusual(measure_appearance(image, available, affine), self.ranges) if self.ranges else []


def read_expectations(weights: str | Path, sha256: str) -> Expectations:
    """Read ``expected.json`` beside the weights, if it exists. The whole file is checked before any part is used.

    Args:
        weights: their file.
        sha256: its checksum.

    Returns:
        Its content; only a note if it is unreadable or about other weights.
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
            str(content.get("measured", MEASURED)),
            [str(case) for case in read_list(content.get("cases", []))],
            {Region(region).value: read_model(one) for region, one in read_mapping(content.get("masks", {})).items()},
            {} if ranges is None else read_ranges(ranges),
            PostProcessing.parse(str(content.get("postprocessing", PLAIN))),
        )
    except (UserError, ValueError, KeyError, TypeError, OverflowError):
        return Expectations(note=f"{path.name} is unreadable, ignored")


def read_mapping(content: Any) -> Mapping[str, Any]:
    """Return a JSON object; raises ValueError for anything else."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{content!r:.50} found; expected an object")
    return content


def read_list(content: Any) -> list[Any]:
    """Return a JSON list; raises ValueError for anything else."""
    if not isinstance(content, list):
        raise ValueError(f"{content!r:.50} found; expected a list")
    return content


def read_dice(regions: Any) -> dict[str, dict[str, float]]:
    """Read the Dice of a subset by region; raises KeyError or ValueError for anything else."""
    found = {}
    for region, dice in read_mapping(regions).items():
        names = ("low", "median", "high") if "low" in read_mapping(dice) else ("median",)
        values = [read_number(dice[name]) for name in names]
        cases = read_number(dice["cases"])
        if not 0 <= values[0] <= values[-1] <= 1 or sorted(values) != values or cases != int(cases) or cases < 1:
            raise ValueError(f"{dice} found; expected Dice from 0 to 1 and a number of cases")
        found[Region(region).value] = {"cases": int(cases), **dict(zip(names, values, strict=True))}
    return found


def read_model(content: Any) -> QualityModel:
    """Read the model of a region's Dice; raises KeyError or ValueError for anything else."""
    given = read_mapping(content)
    weights = {name: read_number(read_mapping(given["weights"])[name]) for name in (INTERCEPT, *FEATURES)}
    low, high = (read_number(end) for end in read_list(given["error"]))
    if low > high:
        raise ValueError(f"{given['error']} found; expected a range")
    return QualityModel(weights, read_number(given["highest"]), (low, high), read_number(given["flag_below"]))


def read_ranges(content: Any) -> Ranges:
    """Read the ranges of the training cases; raises KeyError or ValueError if a needed one is missing."""
    ranges = {name: [read_number(end) for end in ends] for name, ends in read_mapping(content).items()}
    for name in (*NEEDED, *ranges):
        low, high = ranges[name]
        if low > high or (name not in NEEDED and name.rsplit("_", 1)[-1] not in KINDS):
            raise ValueError(f"{name} {ranges[name]} found; expected a range of a number in measure_appearance")
    return ranges


def read_number(value: Any) -> float:
    """Return a finite number from JSON; raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r:.50} found; expected a number")
    return value
