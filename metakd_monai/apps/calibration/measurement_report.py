"""The results of a cross-validation as a report with tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from metakd_monai.apps.calibration.calibration_curve import curve_points, expected_error
from metakd_monai.apps.calibration.input_trials import try_checks
from metakd_monai.apps.calibration.measured_expectations import LEAST_ET_ML, Records
from metakd_monai.apps.calibration.rules_tried import TRIED, Trial, try_rule
from metakd_monai.data.markdown import markdown_table
from metakd_monai.metrics.means import show
from metakd_monai.vocabulary import REGION_NAMES

LEFT_OUT = {
    "spearman": "rank correlation",
    "spearman_all_four": "all four",
    "mean_error": "mean error",
    "covered": "in 80 % range",
    "failed": "Dice below .5",
    "failed_flagged": "of these flagged",
    "good_flagged": "others flagged",
}


def number(value: float | None) -> str:
    """Show a count or a Dice, or a dash."""
    return str(value) if isinstance(value, int) else show(float("nan") if value is None else value, 3)


def report_lines(records: Records, expected: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report on records and their ``expected.json``."""
    lines = [f"# What to expect: {expected['measured']}", ""]
    lines += [f"Dice, median and range of 80 %; ET over references of at least {LEAST_ET_ML:g} mL.", ""]
    lines += markdown_table(["given", *REGION_NAMES], subset_rows(expected["subsets"]))
    lines += ["", "## The Dice that a mask predicts, each case left out in turn", ""]
    lines += markdown_table(["region", *LEFT_OUT.values()], quality_rows(expected["masks"]))
    lines += [
        "",
        "## Post-processing",
        "",
        "Invented: mL of ET from all four in each case whose reference has none.",
        "",
    ]
    trials = [try_rule(rule, records, LEAST_ET_ML) for rule in TRIED]
    heads = [f"{kind} {region}" for kind in ("mean of subsets", "all four") for region in REGION_NAMES]
    lines += markdown_table(["rule", *heads, "invented", "ET lost"], [rule_row(trial) for trial in trials])
    lines += ["", "## Uncertainty", "", "AUROC for wrong voxels, mean over cases.", ""]
    lines += markdown_table(["map", "in the brain", "within 5 mm of a border"], voxel_rows(records))
    lines += ["", "Expected calibration error of probabilities of .05 and more:", ""]
    points = curve_points(records)
    kinds = dict.fromkeys(point.masks for point in points)
    errors = ([kind, *(show(expected_error(points, kind, region), 3) for region in REGION_NAMES)] for kind in kinds)
    lines += markdown_table(["masks", *REGION_NAMES], errors)
    lines += ["", "## Input checks, by the ranges of the other folds", ""]
    tried = try_checks(records).items()
    return lines + markdown_table(
        ["tried", "warned", "share"], [[what, f"{n} of {m}", f"{n / m:.1%}"] for what, (n, m) in tried]
    )


def subset_rows(subsets: Mapping[str, Any]) -> Iterable[list[str]]:
    """Yield the row of each subset."""
    for subset, regions in subsets.items():
        found = [regions.get(region, {}) for region in REGION_NAMES]
        ranges = [f" ({one['low']:.2f}-{one['high']:.2f})" if "low" in one else "" for one in found]
        yield [subset, *(number(one.get("median")) + end for one, end in zip(found, ranges, strict=True))]


def quality_rows(models: Mapping[str, Any]) -> Iterable[list[str]]:
    """Yield the row of each region."""
    for region, model in models.items():
        yield [f"{region}, flagged below {model['flag_below']:g}", *(number(model["left_out"][n]) for n in LEFT_OUT)]


def rule_row(trial: Trial) -> list[str]:
    """Return the row of a rule."""
    invented = ", ".join(f"{volume:.2f}" for volume in trial.invented)
    return [f"`{trial.rule}`", *(show(v, 4) for v in (*trial.mean, *trial.all_four)), invented or "-", str(trial.lost)]


def voxel_rows(records: Records) -> Iterable[list[str]]:
    """Yield the row of each map of uncertainty."""
    for name in records[0]["voxels"]:
        found = [record["voxels"][name] for record in records]
        yield [name, *(show(float(np.nanmean([one[where] for one in found])), 3) for where in ("brain", "border"))]
