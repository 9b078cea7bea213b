"""Score a folder of predictions against a folder of references; one bad case does not stop the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from metakd_monai.apps.evaluate.folders import LabelMap, find_foreign, find_predictions, find_references, read_label_map
from metakd_monai.data.nifti import check_grid
from metakd_monai.errors import UserError, explain
from metakd_monai.metrics.case_scores import Measured, fail_case, measure
from metakd_monai.metrics.conventions import Convention, choose_hd95, convention_of, find_convention, region_masks
from metakd_monai.processes.workers import Dispatcher, Processes

logger = logging.getLogger(__name__)

MOST_JOBS = 8  # each holds a few volumes
OK = "ok"


@dataclass(frozen=True)
class Task:
    """What a worker needs to score one case; ``prediction`` is None if it is missing."""

    case_id: str
    prediction: Path | None
    reference: Path
    convention: Convention
    hd95: str


@dataclass(frozen=True)
class CaseResult:
    """One case's row.

    Attributes:
        case_id: its name.
        measured: its scores; None when the reference cannot be used, so that the case is left out.
        status: ``"ok"``, or why the case failed or was left out.
        warnings: what is odd about it.
    """

    case_id: str
    measured: Measured | None
    status: str = OK
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """All cases' rows, sorted by case, and how they were made; ``surplus`` predictions have no reference."""

    predictions: Path
    references: Path
    convention: Convention
    hd95: str
    results: list[CaseResult]
    surplus: list[str] = field(default_factory=list)

    @property
    def rows(self) -> dict[str, Measured]:
        """The scores by case, without those left out."""
        return {result.case_id: result.measured for result in self.results if result.measured is not None}

    @property
    def problems(self) -> dict[str, str]:
        """Why cases failed or were left out, by case."""
        return {result.case_id: result.status for result in self.results if result.status != OK}


def evaluate_folders(
    predictions: str | Path,
    references: str | Path,
    convention: str | None = None,
    hd95: str | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Score every reference's prediction.

    Args:
        predictions: folder of ``<case>.nii.gz``.
        references: folder of label maps or of case folders; see
            :func:`~metakd_monai.apps.evaluate.folders.find_references`.
        convention: ``"brats2020"`` or ``"brats2023"``; None to decide by the names of the references.
        hd95: kind of HD95; None for the convention's own.
        jobs: processes; None for one for each core, at most 8.
        progress: show a bar on a terminal.

    Raises:
        UserError: when nothing can be matched, a case occurs twice, or an argument is unknown.
    """
    asked, known = find_predictions(Path(predictions)), find_references(Path(references))
    if not asked.keys() & known.keys():
        raise UserError(
            f"{predictions}: no file is named as a case of {references} ({next(iter(asked))} against"
            f" {next(iter(known))}); expected <case>.nii.gz"
        )
    if convention is None:
        convention = convention_of(((name, None) for name in known), "references")
    rule = find_convention(convention)
    kind = choose_hd95(hd95, rule)
    surplus = sorted(asked.keys() - known.keys())
    if surplus:
        logger.warning("%d predictions have no reference and are left out: %s", len(surplus), ", ".join(surplus))
    tasks = [Task(case_id, asked.get(case_id), path, rule, kind) for case_id, path in known.items()]
    with closing(run(tasks, count_jobs(jobs, len(tasks)))) as done:
        bar = tqdm(done, total=len(tasks), desc="scoring", unit="case", disable=None if progress else True)
        results = sorted(bar, key=lambda result: result.case_id)
    report_oddities(results)
    return Evaluation(Path(predictions), Path(references), rule, kind, results, surplus)


def count_jobs(jobs: int | None, tasks: int) -> int:
    """Return how many processes to use; raises UserError for fewer than one."""
    if jobs is not None and jobs < 1:
        raise UserError(f"jobs: {jobs} found; expected 1 or more")
    return min(jobs or min(os.cpu_count() or 1, MOST_JOBS), tasks)


def run(tasks: Sequence[Task], jobs: int) -> Generator[CaseResult, None, None]:
    """Score cases in so many processes, or in this one for a single job; yield each as it is done.

    Raises:
        UserError: when a case loses its process twice.
    """
    if jobs == 1:
        yield from map(score_task, tasks)
        return
    yield from Dispatcher(Processes(Scorer), tasks, jobs, give_up).run()


class Scorer:
    """Scores cases, in any process."""

    def start(self) -> None:
        """Nothing to get ready."""

    def do(self, task: Task, following: Task | None = None) -> CaseResult:
        """Score one case."""
        return score_task(task)


def give_up(case_id: str, reason: str) -> CaseResult:
    """Raise UserError for a case that no process could score: means without it would mislead."""
    raise UserError(f"{case_id}: {reason}; expected fewer --jobs or more memory")


def score_task(task: Task) -> CaseResult:
    """Score one case; problems with its files go into its status."""
    try:
        reference = read_label_map(task.reference, task.convention.reference_labels)
    except Exception as error:  # whatever is wrong with one case, the others are done
        return CaseResult(task.case_id, None, f"left out: {explain(error)}")
    masks = region_masks(reference.labels, task.convention)
    odd = find_foreign(reference.labels, task.convention, "reference")
    try:
        prediction = read_prediction(task, reference)
        odd += find_foreign(prediction.labels, task.convention, "prediction")
        asked = region_masks(prediction.labels, task.convention)
        measured = measure(asked, masks, reference.spacing, task.convention, task.hd95)
    except Exception as error:  # as above
        measured = fail_case(masks, reference.spacing, task.convention)
        return CaseResult(task.case_id, measured, f"failed: {explain(error)}", tuple(odd))
    return CaseResult(task.case_id, measured, warnings=tuple(odd))


def read_prediction(task: Task, reference: LabelMap) -> LabelMap:
    """Read a case's prediction; raises UserError when it is missing, unreadable or not on the reference's grid."""
    if task.prediction is None:
        raise UserError("no prediction")
    prediction = read_label_map(task.prediction)
    grid = reference.labels.shape, reference.affine
    check_grid("prediction", prediction.labels.shape, prediction.affine, *grid, "the reference")
    return prediction


def report_oddities(results: Iterable[CaseResult]) -> None:
    """Log a line for each case that failed, and one for each kind of warning."""
    odd: dict[str, list[str]] = {}
    for result in results:
        if result.status != OK:
            logger.error("%s: %s", result.case_id, result.status)
        for warning in result.warnings:
            odd.setdefault(warning.split(":")[0], []).append(f"{result.case_id} ({warning})")
    for which, found in odd.items():
        logger.warning("%ss of %d cases hold the label of other years: %s", which, len(found), first_few(found))


def first_few(found: list[str]) -> str:
    """Join the first few of a list of names."""
    return "; ".join(found[:3]) + ("; ..." if len(found) > 3 else "")


def scores_by_column(rows: Mapping[str, Measured], column: str) -> list[float]:
    """Return one column of the rows."""
    return [measured.row[column] for measured in rows.values()]
