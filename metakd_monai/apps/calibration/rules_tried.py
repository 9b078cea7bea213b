"""The effect that post-processing would have on measured masks, without segmenting again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metakd_monai.apps.calibration.quality_fit import ALL_FOUR
from metakd_monai.apps.predict.postprocessing import PostProcessing
from metakd_monai.metrics.means import mean
from metakd_monai.metrics.region_scores import ratio
from metakd_monai.vocabulary import REGION_NAMES, Label, Region

NONE = PostProcessing()
TRIED = (
    NONE,
    *(PostProcessing("components", voxels=50, share=share) for share in (0.0, 0.05, 0.1, 0.2, 0.5)),
    *(PostProcessing("components", voxels=voxels) for voxels in (200, 500, 1000, 2000)),
    *(PostProcessing("small_et", threshold=voxels) for voxels in (50, 100, 200, 500, 1000, 2000)),
)
REGIONS = len(REGION_NAMES)
ET = REGION_NAMES.index(Region.ET.value)
Counts = NDArray[np.int64]


class Trial(NamedTuple):
    """A rule, and its effect on the masks.

    Attributes:
        rule: as ``metakd predict --postprocessing`` takes it.
        mean: Dice by region, mean over subsets of means over cases; for ET, references with enough of it.
        all_four: likewise, for all four sequences.
        invented: mL of ET from all four sequences in each case whose reference has none.
        lost: masks from any subset that lose all ET by the rule although the reference has enough of it.
    """

    rule: str
    mean: tuple[float, ...]
    all_four: tuple[float, ...]
    invented: tuple[float, ...]
    lost: int


def apply_rule(rule: PostProcessing, parts: Sequence[Sequence[int]]) -> tuple[Counts, Counts]:
    """Return the voxels of ET, TC and WT in a mask after a rule, and how many of them are correct, ``(R,)`` each.

    Args:
        rule: ``none``, ``components``, or ``small_et`` with a target of 1.
        parts: of the mask before it, see :func:`~metakd_monai.apps.calibration.cross_validated.measure_parts`.

    Raises:
        ValueError: for another rule, whose outcome does not follow from counts.
    """
    if rule.name not in ("none", "components", "small_et") or rule.target != int(Label.NECROSIS):
        raise ValueError(f"{rule} found; expected a rule that counts of voxels tell the outcome of")
    counts = np.array(parts, dtype=np.int64).reshape(-1, 1 + 2 * REGIONS)
    sizes = counts[:, 0]
    if rule.name == "components":
        counts = counts[(sizes >= rule.voxels) & (sizes >= rule.share * sizes.max(initial=0))]
    has, right = counts[:, 1 : 1 + REGIONS].sum(axis=0), counts[:, 1 + REGIONS :].sum(axis=0)
    if rule.name == "small_et" and has[ET] < rule.threshold:
        has[ET], right[ET] = 0, 0
    return has, right


def try_rule(rule: PostProcessing, records: Iterable[Mapping[str, Any]], least_et: float) -> Trial:
    """Return the effect of a rule on the masks of records; ``least_et`` in mL."""
    dice: dict[tuple[str, int], list[float]] = {}
    invented, lost = [], 0
    for record in records:
        wanted = [record["reference_ml"][region] / record["voxel_ml"] for region in REGION_NAMES]
        enough = record["reference_ml"][Region.ET.value] >= least_et
        for mask in record["masks"]:
            has, right = apply_rule(rule, mask["parts"])
            for region in range(REGIONS):
                if region != ET or enough:
                    found = ratio(2 * int(right[region]), has[region] + wanted[region], 1.0)
                    dice.setdefault((mask["subset"], region), []).append(found)
            lost += bool(enough and not has[ET] and apply_rule(NONE, mask["parts"])[0][ET])
            if mask["subset"] == ALL_FOUR and not wanted[ET]:
                invented.append(float(has[ET]) * record["voxel_ml"])
    subsets = dict.fromkeys(subset for subset, _ in dice)
    means = [mean([mean(dice.get((subset, r), [])) for subset in subsets]) for r in range(REGIONS)]
    four = [mean(dice.get((ALL_FOUR, r), [])) for r in range(REGIONS)]
    return Trial(str(rule), tuple(means), tuple(four), tuple(sorted(invented)), lost)
