"""The table of an evaluation as CSV, and a JSON file on how it was made and what went wrong."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from metakd_monai import __version__
from metakd_monai.apps.evaluate.evaluation import CaseResult, Evaluation, scores_by_column
from metakd_monai.data.files import check_writable, write_json
from metakd_monai.data.spreadsheets import write_csv
from metakd_monai.data.temporaries import refuse_folders
from metakd_monai.errors import UserError
from metakd_monai.metrics.case_scores import Measured, columns_of
from metakd_monai.metrics.means import mean
from metakd_monai.vocabulary import Region

logger = logging.getLogger(__name__)

LABEL = "Label"  # heading of the case names, and of the summary rows' names
STATUS = "Status"
SUMMARY = ("Mean", "StdDev", "Median", "25quantile", "75quantile")  # rows below the cases


@dataclass(frozen=True)
class DistanceMeans:
    """Mean HD95 in mm of a region: over all cases with the rule's penalties, and over those where it is a distance."""

    penalised: float
    cases: int
    scorable: float
    scorable_cases: int


def check_place(path: Path) -> Path:
    """Return where the JSON file beside a table goes.

    Raises:
        UserError: when it cannot be written, or both files would have the same name.
    """
    manifest = path.with_suffix(".json")
    if manifest == path:
        raise UserError(f"{path}: a JSON file of this name is written beside the table; expected a name ending in .csv")
    refuse_folders(path, manifest)
    check_writable(path.parent)
    return manifest


def write_report(path: Path, evaluation: Evaluation) -> Path:
    """Write the CSV, and a JSON file of the same stem; return the latter's path.

    The CSV has the columns of the convention, the cases sorted, then the rows ``Mean``, ``StdDev`` (of a sample:
    n - 1), ``Median``, ``25quantile`` and ``75quantile`` (interpolated linearly). If something is wrong,
    there is one more column, ``Status``, that tells what; cases left out have no scores and count in no summary.

    Raises:
        UserError: see :func:`check_place`.
    """
    manifest = check_place(path)
    columns = columns_of(evaluation.convention.name)
    lines: list[Sequence[str]] = [(LABEL, *columns)]
    lines += [(name_row(result.case_id), *spell_scores(result, columns)) for result in evaluation.results]
    lines += [(name, *(spell(row[column]) for column in columns)) for name, row in summarise(evaluation).items()]
    if evaluation.problems:
        statuses = [STATUS, *(result.status for result in evaluation.results)]
        lines = [(*line, status) for line, status in zip_longest(lines, statuses, fillvalue="")]
    write_csv(path, lines)
    write_json(manifest, describe(evaluation))
    return manifest


def name_row(case_id: str) -> str:
    """Name the row of a case; one with the name of a summary row is renamed."""
    if case_id not in SUMMARY:
        return case_id
    row = f"{case_id} (case)"
    logger.warning("%s: a case is named as a row of the summary; its own row is called %r", case_id, row)
    return row


def spell_scores(result: CaseResult, columns: Sequence[str]) -> list[str]:
    """Spell a case's scores; blanks for a case that is left out."""
    if result.measured is None:
        return [""] * len(columns)
    return [spell(result.measured.row[column]) for column in columns]


def spell(value: float) -> str:
    """Spell a score with ten digits at most."""
    return f"{value:.10g}"


def summarise(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Return the summary rows by name and column; ``nan`` where there are too few cases."""
    rows: dict[str, dict[str, float]] = {name: {} for name in SUMMARY}
    for column in columns_of(evaluation.convention.name):
        for name, value in zip(SUMMARY, statistics(scores_by_column(evaluation.rows, column)), strict=True):
            rows[name][column] = value
    return rows


def statistics(values: Sequence[float]) -> tuple[float, ...]:
    """Return mean, standard deviation (n - 1), median and quartiles."""
    if not values:
        return (math.nan,) * 5
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return (float(np.mean(values)), deviation, *(float(np.percentile(values, part)) for part in (50, 25, 75)))


def distance_means(rows: Mapping[str, Measured], region: Region) -> DistanceMeans:
    """Return both means of a region's HD95; ``nan`` if no case counts."""
    column = f"Hausdorff95_{region.value}"
    everything = scores_by_column(rows, column)
    kept = scores_by_column({name: scored for name, scored in rows.items() if scored.scorable[region]}, column)
    return DistanceMeans(mean(everything), len(everything), mean(kept), len(kept))


def describe(evaluation: Evaluation) -> dict[str, Any]:
    """Return how an evaluation was made, both means of HD95 and what went wrong, ready for JSON."""
    distances = {region.value: distance_means(evaluation.rows, region) for region in Region}
    return {
        "version": __version__,
        "convention": evaluation.convention.name,
        "hd95": evaluation.hd95,
        "predictions": str(evaluation.predictions),
        "references": str(evaluation.references),
        "cases": {
            "references": len(evaluation.results),
            "in_table": len(evaluation.rows),
            "with_problems": len(evaluation.problems),
        },
        "hausdorff95_mm": {
            name: {
                "penalised_mean": finite(means.penalised),
                "cases": means.cases,
                "scorable_mean": finite(means.scorable),
                "scorable_cases": means.scorable_cases,
            }
            for name, means in distances.items()
        },
        "problems": evaluation.problems,
        "warnings": {result.case_id: list(result.warnings) for result in evaluation.results if result.warnings},
        "surplus_predictions": evaluation.surplus,
    }


def finite(value: float) -> float | None:
    """Return a number, or None for ``nan``, which JSON does not have."""
    return value if math.isfinite(value) else None
