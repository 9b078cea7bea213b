"""Prepare raw cases in workers: each whole or not at all, resumable, with one line for each."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from metakd_monai.apps.raw.case_folder import Outcome, Plan, prepare_folder, version_of
from metakd_monai.apps.raw.raw_cases import RawCase
from metakd_monai.apps.raw.template import find_template, read_template
from metakd_monai.data.files import check_writable
from metakd_monai.data.temporaries import remove_temporaries
from metakd_monai.errors import UserError, explain
from metakd_monai.processes.workers import Dispatcher, Processes
from metakd_monai.vocabulary import Modality

logger = logging.getLogger(__name__)


class Preparer:
    """Prepares cases one after the other, in any process.

    Args:
        plan: how to prepare.
        threads: for computing; None for one for each core.
    """

    def __init__(self, plan: Plan, threads: int | None = None) -> None:
        self.plan, self.threads = plan, threads

    def start(self) -> int:
        """Read the template; raises UserError for an unusable one, or if elastix is not installed."""
        check_elastix()
        import itk

        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
            itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(self.threads)
        self.template = read_template(self.plan.template)
        return os.getpid()

    def do(self, case: RawCase, following: RawCase | None = None) -> Outcome:
        """Prepare a case; problems are returned, not raised."""
        try:
            return prepare_folder(case, self.plan, self.template)
        except Exception as error:  # whatever is wrong with one case, the others are done
            return Outcome(case.case_id, explain(error), failed=True, details=traceback.format_exc())


def check_elastix() -> None:
    """Raise UserError when elastix is not installed."""
    if version_of("itk-elastix") is None:
        raise UserError(
            "itk-elastix is not installed, which registers raw series; expected pip install 'metakd-monai[raw]'"
        )


def plan_preparation(
    output: Path,
    template: Path | None = None,
    strip: str = "auto",
    centre: Modality | None = None,
    overwrite: bool = False,
    memory_limit: float | None = None,
) -> Plan:
    """Return the plan of a preparation into a folder, see :class:`Plan`; looks for the template if none is given.

    Raises:
        UserError: when elastix is not installed, there is no template, or the folder cannot be written.
    """
    check_elastix()
    found = find_template(template).absolute()
    check_writable(output)
    return Plan(output.absolute(), found, strip, centre, overwrite, memory_limit)


def prepare_cases(
    cases: Sequence[RawCase],
    plan: Plan,
    jobs: int = 1,
    progress: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
) -> list[Outcome]:
    """Prepare all cases that are not prepared yet, in separate processes; one that fails does not stop the rest.

    If a process dies, its case is tried again. When they end, processes return their memory.

    Returns:
        The outcome of each, in the order of the cases; each is logged.

    Raises:
        UserError: when no case can be prepared, for example if the template cannot be read.
    """
    jobs = min(jobs, len(cases))
    threads = max(1, (os.cpu_count() or 1) // max(1, jobs))
    done: dict[str, Outcome] = {}

    def tidy(case: RawCase, pid: int | None) -> None:
        remove_temporaries(plan.output, [case.case_id], pid, folders=True)

    pool = Processes(partial(Preparer, plan, threads))
    with closing(Dispatcher(pool, cases, jobs, partial(Outcome, failed=True), tidy).run()) as outcomes:
        for outcome in progress(outcomes):
            tell(outcome)
            done[outcome.case_id] = outcome
    return [done[case.case_id] for case in cases]


def tell(outcome: Outcome) -> None:
    """Log the outcome of a case."""
    log = logger.error if outcome.failed else logger.info
    log("%s: %s%s", outcome.case_id, "failed: " if outcome.failed else "", outcome.line)
    for warning in outcome.warnings:
        logger.warning("%s: warning: %s", outcome.case_id, warning)
    if outcome.details:
        logger.debug("%s", outcome.details)
