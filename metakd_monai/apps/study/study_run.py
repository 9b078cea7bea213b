"""Dice and HD95 on real cases for every subset of the sequences that each has, against the aims of the weights.

Each sequence is encoded once. The folder gets report.md, rows.csv, expected.json (what to expect of a subset), the
masks as masks/SUBSET/CASE.nii.gz and pictures. Finished cases are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metakd_monai import __version__
from metakd_monai.apps.benchmark import SubsetPredictor
from metakd_monai.apps.benchmark.benchmark_items import Items
from metakd_monai.apps.benchmark.benchmark_run import score_cases
from metakd_monai.apps.benchmark.case_record import Scoring, choose_scoring
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.study.case_pictures import GALLERY, draw_all
from metakd_monai.apps.study.evidence import Evidence, Row, Source, expectations, rows_of
from metakd_monai.apps.study.study_cases import MaskKeeper, describe_items, find_items
from metakd_monai.apps.study.study_report import Content, make_report
from metakd_monai.apps.study.uncertainty_cases import uncertainty_rows
from metakd_monai.apps.study.uncertainty_score import UncertaintyRow
from metakd_monai.apps.study.uncertainty_section import uncertainty_lines
from metakd_monai.apps.study.weights_compared import Runs
from metakd_monai.data.files import check_writable, checksum, write_json, write_text
from metakd_monai.data.spreadsheets import write_csv
from metakd_monai.errors import UserError

Compared = Mapping[str, Sequence[Sequence[Row]]]  # by name, the rows of each seed


@dataclass(frozen=True)
class Study:
    """The settings of a study.

    Attributes:
        weights: the main ones.
        output: folder of the results.
        cases: folders of labelled cases, ``DIR`` or ``DIR=LABELS``, where LABELS says who drew the labels.
        trained_on: names of cases used in training.
        compare: other weights, ``NAME=FILE``; several files of one name are its seeds.
        uncertainty: measure whether it is higher where the mask is wrong.
        device: to compute on.
        jobs: threads that score.
        overwrite: score again the cases that were scored with other weights.
    """

    weights: Path
    output: Path
    cases: Sequence[str]
    trained_on: Sequence[str] = ()
    compare: Sequence[str] = ()
    uncertainty: bool = False
    device: str = "cpu"
    jobs: int = 1
    overwrite: bool = False


class Cases:
    """The cases of a study, what is known about them, and how they are scored."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.items, labels = find_items(study.cases)
        self.scoring: Scoring = choose_scoring(self.items, None, None, "none", study.jobs)
        self.sources: dict[str, Source] = describe_items(self.items, labels, study.trained_on, self.scoring)

    def score(self, engine: SubsetPredictor, folder: Path) -> tuple[list[Row], dict[str, str]]:
        """Score all cases with some weights; return the rows, and why others failed by case."""
        records, failed, _ = score_cases(engine, self.items, self.scoring, folder, self.study.overwrite)
        return [row for record in records for row in rows_of(record, self.sources[record["case"]])], failed

    def score_file(self, file: Path) -> list[Row]:
        """Score all cases with other weights."""
        engine = SubsetPredictor(Predictor(file, self.study.device))
        folder = self.study.output / "compared" / engine.predictor.settings.weights_sha256[:12]
        return self.score(engine, folder)[0]


def run_study(study: Study) -> bool:
    """Score, compare, draw and write; return whether all cases could be scored.

    Raises:
        UserError: when an argument cannot be used, or no case could be scored.
    """
    files = read_compared(study.compare)
    cases = Cases(study)
    check_writable(study.output)
    predictor = Predictor(study.weights, study.device)
    sha256 = predictor.settings.weights_sha256
    rows, failed = cases.score(MaskKeeper(predictor, study.output / "masks"), study.output / "cases")
    if not rows:
        raise UserError(f"cases: none of {len(cases.items)} could be scored; {next(iter(failed.values()))}")
    compared = compare_weights(files, (sha256, rows), cases.score_file)
    evidence = Evidence(rows)
    write_tables(study.output, evidence, compared, sha256)
    pictures = draw_all(study.output, predictor, cases.items, evidence)
    content = Content(
        f"Every subset of the sequences of {len(evidence.cases)} cases",
        [
            f"Weights {study.weights.name}, SHA-256 {sha256}; metakd_monai {__version__}.",
            f"Label maps as `metakd predict` writes them, no post-processing; HD95 {cases.scoring.hd95}."
            " Dice from 0 to 1.",
        ],
        evidence,
        cases.sources,
        failed,
        unseen(compared),
        pictures,
        GALLERY,
        uncertainty_part(study, cases.items, evidence),
    )
    write_text(study.output / "report.md", make_report(content))
    return not failed


def read_compared(given: Sequence[str]) -> list[tuple[str, Path]]:
    """Return names and files of other weights from ``NAME=FILE``; raises UserError for something else."""
    found = []
    for text in given:
        name, _, file = text.partition("=")
        if not (name and file and Path(file).is_file()):
            raise UserError(f"--compare: {text!r} found; expected NAME=FILE with a file of weights")
        found.append((name, Path(file)))
    return found


def compare_weights(
    files: Sequence[tuple[str, Path]], main: tuple[str, list[Row]], score_file: Callable[[Path], list[Row]]
) -> Compared:
    """Return the rows of other weights by name, one list for each seed; those of the main file are reused.

    Args:
        files: names and weights; several files of one name are its seeds.
        main: checksum and rows of the main weights.
        score_file: makes the rows of a file.
    """
    found: dict[str, list[list[Row]]] = {}
    for name, file in files:
        found.setdefault(name, []).append(main[1] if checksum(file) == main[0] else score_file(file))
    return found


def unseen(compared: Compared) -> Runs:
    """Return the scores of other weights on the cases not used in training."""
    return {
        name: [Evidence([row for row in rows if not row.trained_on]) for rows in seeds]
        for name, seeds in compared.items()
    }


def write_tables(output: Path, evidence: Evidence, compared: Compared, sha256: str) -> None:
    """Write all rows, those of other weights with their name and the number of the seed, and what to expect."""
    write_csv(output / "rows.csv", [Row._fields, *evidence.rows])
    lines = [(name, n, *row) for name, seeds in compared.items() for n, rows in enumerate(seeds) for row in rows]
    if lines:
        write_csv(output / "compared.csv", [("weights", "seed", *Row._fields), *lines])
    write_json(output / "expected.json", expectations(evidence.only(lambda row: not row.trained_on), sha256))


def uncertainty_part(study: Study, items: Items, evidence: Evidence) -> list[str]:
    """Measure the uncertainty if requested, write its table and return its section of the report."""
    if not study.uncertainty:
        return []
    rows = uncertainty_rows(study.weights, study.device, items, evidence, study.output, study.overwrite)
    write_csv(study.output / "uncertainty.csv", [UncertaintyRow._fields, *rows])
    return uncertainty_lines(rows)
