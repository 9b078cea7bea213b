"""What to expect of weights, measured by cross-validation: expected.json, and a report to choose defaults by.

Usage: measure_expectations.py --fold WEIGHTS CASES [--fold ...] --output DIR [--postprocessing RULE] [--device cpu]

CASES are labelled cases with four sequences that WEIGHTS were not trained on, such as OUT/folds/foldK of
``metakd study PLAN --output OUT`` with the weights OUT/METHOD/seed0/foldK/published/model.pt. Each case is segmented in
all 15 subsets, as metakd predict does it, and kept in DIR/cases: a run that was stopped goes on.

DIR gets expected.json, which scripts/weights/publish.py --expected takes: of several folds for the weights that the
same recipe makes, of one for WEIGHTS alone; report.md: Dice, how well masks predict theirs, what each rule of
post-processing would do, uncertainty, input checks; masks.csv, what each mask shows and its Dice; calibration.csv and
calibration.png, the calibration curve.
"""

import argparse
import csv
import io
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metakd_monai.apps.calibration.calibration_curve import CurvePoint, curve_points, draw_curves
from metakd_monai.apps.calibration.cross_validated import measure_once
from metakd_monai.apps.calibration.measured_expectations import expectations_of
from metakd_monai.apps.calibration.measurement_report import report_lines
from metakd_monai.apps.calibration.quality_fit import rows_of
from metakd_monai.apps.predict.mask_quality import FEATURES
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor
from metakd_monai.data.cases import find_labelled
from metakd_monai.data.files import check_writable, write_json, write_text
from metakd_monai.errors import UserError


def measure(folds: Sequence[tuple[Path, Path]], options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the record of each case, with its fold, and the SHA-256 of each fold's weights."""
    records: list[dict[str, Any]] = []
    checksums = []
    for number, (weights, folder) in enumerate(folds):
        predictor = Predictor(weights, options.device, postprocessing=options.postprocessing)
        engine = SubsetPredictor(predictor)
        checksums.append(predictor.settings.weights_sha256)
        for case in tqdm(find_labelled(folder), desc=f"fold {number}", unit="case", disable=None):
            if case.case_id in [record["case"] for record in records]:
                raise UserError(f"{folder}: {case.case_id} is in another fold too; expected each case once")
            path = options.output / "cases" / f"{case.case_id}.json"
            records.append({**measure_once(engine, case, path), "fold": number})
    return records, checksums


def write_rows(path: Path, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *rows])
    write_text(path, text.getvalue())


def write_results(output: Path, records: Sequence[Mapping[str, Any]], checksums: Sequence[str], rule: str) -> None:
    """Write what the records come to."""
    expected = expectations_of(records, checksums, rule)
    rows = [
        (*(row.case, row.subset, row.region, row.dice, row.reference_ml), *(row.features.get(n, "") for n in FEATURES))
        for row in rows_of(records)
    ]
    write_rows(output / "masks.csv", ("case", "subset", "region", "dice", "reference_ml", *FEATURES), rows)
    points = curve_points(records)
    write_rows(output / "calibration.csv", CurvePoint._fields, points)
    draw_curves(output / "calibration.png", points)
    write_text(output / "report.md", "\n".join(report_lines(records, expected)) + "\n")
    write_json(output / "expected.json", expected)
    print(f"{output / 'expected.json'}: {expected['measured']}; {output / 'report.md'} says more")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; 1 when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fold", type=Path, nargs=2, action="append", required=True, metavar=("WEIGHTS", "CASES"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--postprocessing", default="none", help="that users of the weights will have")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    try:
        check_writable(options.output / "cases")
        records, checksums = measure(options.fold, options)
        write_results(options.output, records, checksums, options.postprocessing)
    except UserError as error:
        print(f"measure_expectations: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
