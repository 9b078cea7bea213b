"""Before and after a network: examinations become cases, and masks are brought back onto the series."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metakd_monai.apps.examination.readiness import take_as_is
from metakd_monai.apps.raw.back_transform import labels_to_raw
from metakd_monai.apps.raw.carry import carry_case, prepared_case
from metakd_monai.apps.raw.case_folder import Outcome, Plan
from metakd_monai.apps.raw.dicom_headers import DicomSeries
from metakd_monai.apps.raw.dicom_values import dicom_silenced
from metakd_monai.apps.raw.preparation import prepare_cases, tell
from metakd_monai.apps.raw.prepare_case import CENTRES
from metakd_monai.apps.raw.raw_cases import RawCase, find_raw_cases
from metakd_monai.apps.raw.transforms_file import read_transforms
from metakd_monai.data.cases import NIFTI, Case, recognise, walk
from metakd_monai.data.files import read_record
from metakd_monai.errors import UserError, explain
from metakd_monai.vocabulary import Modality

logger = logging.getLogger(__name__)

PREPARED, AS_IS, NATIVE, DICOM = "prepared", "as_is", "_native", "_dicom"


@dataclass(frozen=True)
class Examination:
    """A patient's series, and the case that a network segments.

    Attributes:
        raw: the series as given, with what was chosen and why.
        case: what is segmented; its notes are copied into the report.
        prepared: the case's folder in SRI24; None if the series were used as they are.
    """

    raw: RawCase
    case: Case
    prepared: Path | None


def find_examinations(source: Path, patient_ids: bool = False) -> list[RawCase]:
    """Find the examinations in a folder, and log which series was taken for which sequence; a single 4-D file will do.

    Args:
        source: see :func:`~metakd_monai.apps.raw.raw_cases.find_raw_cases`.
        patient_ids: name them by PatientID.

    Raises:
        UserError: when nothing is found.
    """
    files = [file for folder in walk(source) for file in folder.iterdir() if file.is_file()] if source.is_dir() else []
    alone = len(files) == 1 and NIFTI.search(files[0].name) and recognise(files[0].name) is None
    cases = find_raw_cases(files[0] if alone else source, patient_ids=patient_ids)
    for case in cases:
        for note in case.notes:
            logger.info("%s: %s", case.case_id, note)
    return cases


def prepare_examinations(
    cases: Sequence[RawCase],
    output: Path,
    make_plan: Callable[[Path], Plan],
    jobs: int = 1,
    progress: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
    keep_ready: bool = False,
) -> list[Examination]:
    """Make cases from raw series; the outcome of each is logged, and those that cannot be prepared are left out.

    Args:
        cases: of one or several patients.
        output: the result folder, which gets ``prepared/<case>`` and ``as_is/<case>``.
        make_plan: returns the plan of preparation for a folder; called if there is something to prepare.
        jobs: processes that prepare.
        progress: wraps the outcomes, to show progress.
        keep_ready: use series without skull and on one grid as they are.

    Raises:
        UserError: when nothing can be prepared, for example without the extra ``raw`` or the template.
    """

    def prepare(rest: list[RawCase], plan: Plan) -> list[Outcome]:
        return prepare_cases(rest, plan, jobs, progress)

    found = examine(cases, output, make_plan, prepare, keep_ready)
    return [one for one in found if isinstance(one, Examination)]


def prepare_examination(raw: RawCase, output: Path, make_plan: Callable[[Path], Plan]) -> Examination:
    """Make a case of one patient's series, as they are where they are ready; see :func:`prepare_examinations`.

    Raises:
        UserError: when it cannot be made.
    """
    (made,) = examine([raw], output, make_plan, prepare_cases, keep_ready=True)
    if isinstance(made, Outcome):
        raise UserError(f"{made.case_id}: {made.line}")
    return made


def examine(
    cases: Sequence[RawCase],
    output: Path,
    make_plan: Callable[[Path], Plan],
    prepare: Callable[[list[RawCase], Plan], list[Outcome]],
    keep_ready: bool,
) -> list[Examination | Outcome]:
    """Return what :func:`prepare_examinations` makes of each case, or why there is nothing."""
    made: dict[str, Examination | Outcome] = {}
    rest: dict[str, RawCase] = {}
    reasons = []
    for raw in cases:
        if raw.problem is not None and not (keep_ready and raw.stacked):
            failure = made[raw.case_id] = Outcome(raw.case_id, raw.problem, failed=True)
            tell(failure)
            continue
        found = take_as_is(raw, output / AS_IS / raw.case_id) if keep_ready else None
        if isinstance(found, Case):
            made[raw.case_id] = Examination(raw, found, None)
            continue
        if found is not None:
            logger.info("%s: is prepared first (%s)", raw.case_id, found)
            reasons.append(f"{raw.case_id}: {found}; ")
        rest[raw.case_id] = raw
    folder = output / PREPARED
    try:
        plan = make_plan(folder) if rest else None
    except UserError as error:
        raise UserError(f"{reasons[0] if reasons else ''}{error}") from None
    for outcome in prepare(list(rest.values()), plan) if plan else []:
        raw, place = rest[outcome.case_id], folder / outcome.case_id
        if outcome.failed:
            made[outcome.case_id] = outcome
        else:
            made[outcome.case_id] = Examination(raw, prepared_case(place, raw.notes, outcome.warnings), place)
    return [made[raw.case_id] for raw in cases]


def finish_examinations(examinations: Iterable[Examination], results: Path, dicom: bool = False) -> list[str]:
    """Resample the results of ``metakd predict`` onto the series' own grids, into ``<results>/<case>_native``.

    The volumes there are logged. A mask that is already on the series' grid is not resampled.

    Args:
        examinations: those whose masks are in ``results``.
        results: the result folder.
        dicom: write ``<results>/<case>_dicom`` too, see :func:`write_dicom`.

    Returns:
        The ids of those that failed; each failure is logged as one line.
    """
    failed = []
    for examination in examinations:
        name = examination.case.case_id
        try:
            if examination.prepared is not None:
                volumes = carry_case(results, examination.prepared, results / f"{name}{NATIVE}", name)
                logger.info("%s: on the raw grids: %s", name, "; ".join(map(describe_volumes, volumes.items())))
            if dicom:
                write_dicom(examination, results)
        except Exception as error:  # whatever is wrong with one case, the others are done
            logger.error("%s: failed: %s", name, explain(error))
            logger.debug("traceback of %s", name, exc_info=True)
            failed.append(name)
    return failed


def lay_on_series(
    examination: Examination, labels: np.ndarray, affine: np.ndarray, modality: Modality | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a label map on the grid of one of the series that came, and that grid's affine.

    Args:
        examination: which was segmented.
        labels: ``(*S)`` uint8, of the case.
        affine: of ``labels``.
        modality: of the series; None for the first of :data:`~metakd_monai.apps.raw.prepare_case.CENTRES`.

    Raises:
        UserError: for a series that the preparation has left out.
    """
    if examination.prepared is None:
        return labels, affine
    grids = read_transforms(examination.prepared)
    grid = grids.get(modality or next(centre for centre in CENTRES if centre in grids))
    if grid is None:
        why = "; ".join(line for line in examination.case.warnings if line.startswith("left out"))
        raise UserError(f"{examination.case.case_id}: {why}; expected a series that fits the others, or it alone")
    return labels_to_raw(labels, grid), grid.affine


def describe_volumes(grid: tuple[str, Mapping[str, float]]) -> str:
    """Return the volumes on one grid for a user."""
    return f"{grid[0]} {', '.join(f'{region} {volume:.1f}' for region, volume in grid[1].items())} mL"


def write_dicom(examination: Examination, results: Path) -> None:
    """Write a case's mask, report and picture as DICOM of its study, into ``<results>/<case>_dicom``.

    The mask is on the grid of the first series of :data:`~metakd_monai.apps.raw.prepare_case.CENTRES` that was used.
    For NIfTI files, which belong to no study, nothing is written, and that is logged.
    """
    from metakd_monai.apps.dicom_results.write_objects import write_results

    name = examination.case.case_id
    report = read_record(results / f"{name}.json")
    used = {Modality(m): examination.raw.series.get(Modality(m)) for m in report["modalities"]["used"]}
    sources = {modality: source for modality, source in used.items() if isinstance(source, DicomSeries)}
    if not sources:
        logger.info("%s: no DICOM series, so no DICOM results", name)
        return
    grid = next(modality for modality in CENTRES if modality in sources)
    folder, mask = results / f"{name}{DICOM}", results / f"{name}.nii.gz"
    if examination.prepared is not None:
        mask = results / f"{name}{NATIVE}" / f"{name}_{grid.value}.nii.gz"
    picture = results / f"{name}.png"
    folder.mkdir(exist_ok=True)
    with dicom_silenced():
        write_results(folder, mask, sources, report, grid, picture if picture.is_file() else None)
