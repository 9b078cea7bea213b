"""From a comparison (``metakd study PLAN.toml``): Fig. 3 over alpha, Table 6 over normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metakd_monai.apps.benchmark.figures import COLOURS, new_figure
from metakd_monai.apps.paper.captions import read_settings, save_figure
from metakd_monai.data.markdown import markdown_table
from metakd_monai.data.spreadsheets import read_csv
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import REGION_NAMES

FIG3_SUBSET, TABLE6_SUBSET = "t1", "flair+t1+t1ce"


def read_methods(study: Path, subset: str) -> list[dict[str, Any]]:
    """Return for each method of a comparison its settings, and Dice in % by region from one subset.

    Raises:
        UserError: for a folder that holds no comparison.
    """
    _, rows = read_csv(study / "table.csv")
    found = []
    for name in dict.fromkeys(row["method"] for row in rows):
        runs = sorted((study / name.replace(" ", "_")).glob("seed*/fold*/settings.json"))
        if not runs:
            raise UserError(f"{study}: no training of {name} found; expected a folder of metakd study PLAN.toml")
        mine = [row for row in rows if (row["method"], row["modalities"]) == (name, subset)]
        dice = {row["region"]: float(row["dice_percent"] or "nan") for row in mine}
        found.append({"method": name, "settings": read_settings(runs[0].parent), "dice": dice})
    return found


def draw_alpha(study: Path, path: Path) -> list[Path]:
    """Draw Dice given T1 alone over alpha, methods of p = 2 as stars (Fig. 3).

    Args:
        study: folder of a comparison whose methods differ in ``alpha`` and ``p_norm``; others are left out.
        path: of the files, without ending.

    Raises:
        UserError: for fewer than two alphas.
    """
    found = [one for one in read_methods(study, FIG3_SUBSET) if one["settings"]["normalization"] == "softmax"]
    plain = sorted((one for one in found if one["settings"]["p_norm"] == 1), key=lambda one: one["settings"]["alpha"])
    alphas = [one["settings"]["alpha"] for one in plain]
    if len(set(alphas)) < 2 or len(set(alphas)) < len(alphas):
        raise UserError(f"{study}: alphas {alphas} of p 1 found; expected two or more, each once")
    figure = new_figure((6, 4))
    panel = figure.subplots()
    for region in REGION_NAMES:
        dice = [one["dice"][region] for one in plain]
        panel.plot(range(len(alphas)), dice, "o-", color=COLOURS[region], label=region)
        for one in found:
            if one["settings"]["p_norm"] == 2 and one["settings"]["alpha"] in alphas:
                place = alphas.index(one["settings"]["alpha"])
                panel.plot(place, one["dice"][region], "*", color=COLOURS[region], markersize=13, label=f"{region} MSE")
    panel.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    panel.set(xlabel="alpha", ylabel="Dice in %")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8, ncols=2)
    told = [describe_study(found), "Lines: p = 1, stars: p = 2."]
    return save_figure(figure, path, "Dice given T1 alone, over alpha", told, [study / "table.csv"])


def normalization_lines(study: Path) -> list[str]:
    """Return Table 6: Dice given FLAIR, T1 and T1ce for each normalisation of the importance.

    Args:
        study: folder of a comparison; methods that differ from its first one in anything else are left out.
    """
    methods = read_methods(study, TABLE6_SUBSET)
    usual = {name: methods[0]["settings"][name] for name in ("method", "alpha", "p_norm")}
    found = [one for one in methods if usual.items() <= one["settings"].items()]
    rows = [
        [str(one["settings"]["normalization"]), *(f"{one['dice'][region]:.2f}" for region in REGION_NAMES)]
        for one in found
    ]
    return [describe_study(found), "", *markdown_table(["normalisation", *REGION_NAMES], rows)]


def describe_study(found: Sequence[dict[str, Any]]) -> str:
    """Describe in one line what was trained."""
    first = found[0]["settings"]
    names = ", ".join(one["method"] for one in found)
    return f"Methods: {names}. {first['max_iterations']} iterations each; details: report.md of the comparison."
