"""Before and after a network: examinations made into cases, and masks brought onto the series that they came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metakd_monai.apps.examination.readiness import take_as_is
from metakd_monai.apps.raw.carry import carry_case, prepared_case
from metakd_monai.apps.raw.case_folder import Outcome, Plan
from metakd_monai.apps.raw.preparation import prepare_cases
from metakd_monai.apps.raw.raw_cases import RawCase
from metakd_monai.data.cases import Case

logger = logging.getLogger(__name__)

PREPARED, AS_IS, NATIVE = "prepared", "as_is", "_native"


@dataclass(frozen=True)
class Examination:
    """A patient's series, and the case that a network segments.

    Attributes:
        raw: as they came, with what was chosen and why.
        case: what is segmented; its notes stand in the report.
        prepared: the case's folder in SRI24; None where the series were taken as they are.
    """

    raw: RawCase
    case: Case
    prepared: Path | None


def prepare_examinations(
    cases: Sequence[RawCase],
    output: Path,
    make_plan: Callable[[Path], Plan],
    jobs: int = 1,
    progress: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
    keep_ready: bool = False,
) -> list[Examination]:
    """Make cases of raw series; what became of each is logged, and those that cannot be prepared are left out.

    Args:
        cases: of one or several patients.
        output: the result folder, which gets ``prepared/<case>`` and ``as_is/<case>``.
        make_plan: says how to prepare into a folder; called when there is something to prepare.
        jobs: processes that prepare.
        progress: wraps the outcomes, to show how far it is.
        keep_ready: take series without skull and on one grid as they are.

    Raises:
        UserError: when nothing can be prepared, such as for want of the extra ``raw`` or of the template.
    """
    made: dict[str, Examination] = {}
    rest: list[RawCase] = []
    for raw in cases:
        found = take_as_is(raw, output / AS_IS / raw.case_id) if keep_ready else "to be prepared"
        if isinstance(found, Case):
            made[raw.case_id] = Examination(raw, found, None)
            continue
        rest.append(raw)
        if keep_ready:
            logger.info("%s: is prepared first (%s)", raw.case_id, found)
    folder = output / PREPARED
    done = prepare_cases(rest, make_plan(folder), jobs, progress) if rest else []
    for raw, outcome in zip(rest, done, strict=True):
        if not outcome.failed:
            place = folder / raw.case_id
            made[raw.case_id] = Examination(raw, prepared_case(place, (*raw.notes, *outcome.warnings)), place)
    return [made[raw.case_id] for raw in cases if raw.case_id in made]


def finish_examination(examination: Examination, results: Path) -> dict[str, dict[str, float]]:
    """Bring what ``metakd predict`` wrote of a case onto its series' own grids, into ``<results>/<case>_native``.

    Args:
        examination: whose mask lies in ``results``.
        results: the result folder.

    Returns:
        The volumes of ET, TC and WT in mL on each raw grid; nothing where the mask is on the series' grid already.
    """
    if examination.prepared is None:
        return {}
    name = examination.case.case_id
    return carry_case(results, examination.prepared, results / f"{name}{NATIVE}", name)
