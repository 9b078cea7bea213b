"""Words and figures of a page, from a case's report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metakd_monai.apps.predict.preview import printable
from metakd_monai.vocabulary import Region

NAMES = {"flair": "FLAIR", "t1": "T1", "t1ce": "T1ce", "t2": "T2"}
MEANINGS = {Region.ET: "enhancing tumour", Region.TC: "tumour core", Region.WT: "whole tumour"}
MEANING = (
    "The whole tumour contains the core, and the core contains the enhancing part. Dice is the overlap with an expert's"
    " mask: 1 where both are the same, 0 where they share nothing. The third column is an estimate from this very mask,"
    " with the range that holds the true Dice of four in five new cases. The last column is what masks from the same"
    " sequences reached in labelled cases: the median, and the range that holds at least four in five new cases."
)
UNKNOWN = "not known"


def list_names(modalities: Iterable[str]) -> str:
    """Return the usual spelling of sequences."""
    return ", ".join(NAMES.get(name, str(name)) for name in modalities)


def list_regions(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row for each region: volume, and the Dice to expect."""
    expected = report.get("expected") or {}
    rows = []
    for region, meaning in MEANINGS.items():
        predicted = expected.get("predicted", {}).get(region.value)
        subset = expected.get("dice", {}).get(region.value)
        rows.append(
            {
                "region": region.value,
                "meaning": meaning,
                "volume": show_volume(report, region.value),
                "predicted": show_range(predicted, "dice"),
                "subset": show_range(subset, "median"),
            }
        )
    return rows


def show_volume(report: Mapping[str, Any], region: str) -> str:
    """Return a region's volume in mL."""
    volume = report["volumes_ml"].get(region)
    return f"{volume:.1f} mL" if isinstance(volume, (int, float)) else UNKNOWN


def show_range(found: Mapping[str, Any] | None, middle: str) -> str:
    """Return a Dice with its range."""
    return f"{found[middle]:.2f} ({found['low']:.2f} to {found['high']:.2f})" if found else UNKNOWN


def list_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how a mask was made, as pairs of a name and a text; files appear without their folders."""
    settings = report["settings"]
    compute = settings.get("compute", {})
    expected = report.get("expected") or {}
    files = report["files"]
    given = {"4-D file": files} if isinstance(files, str) else files
    facts = {
        "Files": "; ".join(f"{NAMES.get(name, name)}: {Path(file).name}" for name, file in given.items()),
        "Notes on the files": "; ".join(report["notes"]),
        "metakd-monai": settings.get("version", UNKNOWN),
        "Code (SHA-256)": settings.get("code_sha256", UNKNOWN),
        "Weights": Path(report.get("weights", UNKNOWN)).name,
        "Weights (SHA-256)": settings.get("weights_sha256", UNKNOWN),
        "Expected Dice from": expected.get("measured", expected.get("note", UNKNOWN)),
        "Computed": "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in compute.items()),
        "Post-processing": settings.get("postprocessing", UNKNOWN),
        "Label of enhancing tumour in the file": settings.get("et_label", UNKNOWN),
        "Device": report.get("device", UNKNOWN),
        "Seconds": f"{sum(report.get('seconds', {}).values()):.1f}",
    }
    return [(name, printable(str(value))) for name, value in facts.items() if value != ""]
