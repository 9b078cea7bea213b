"""Run all cases with one of the engines, and report each in one line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from metakd_monai.apps.cohort.local import do_in_processes, do_serially
from metakd_monai.apps.cohort.ray_engine import check_ray, do_in_ray
from metakd_monai.apps.cohort.worker import MakePredictor, Outcome
from metakd_monai.apps.predict.outputs import Outputs, mask_path
from metakd_monai.data.cases import Case
from metakd_monai.data.temporaries import mark_finished, remove_temporaries
from metakd_monai.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """How cases are run; raises UserError if that is impossible.

    Attributes:
        name: ``local``, or ``ray``.
        jobs: how many workers; None for one, or with Ray one for each GPU.
        device: with Ray, see :func:`~metakd_monai.apps.cohort.ray_engine.do_in_ray`.
        address: of a running Ray cluster; None to start Ray.
    """

    name: str = "local"
    jobs: int | None = None
    device: str = "auto"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.name == "ray":
            check_ray(self.device)
        elif self.address is not None:
            raise UserError(f"--address: {self.address} given with --engine {self.name}; expected --engine ray")

    def run(self, make: MakePredictor, cases: Sequence[Case], outputs: Outputs) -> Generator[Outcome, None, None]:
        """Yield the outcome of each case as soon as it is known."""
        if self.name == "ray":
            return do_in_ray(make, cases, outputs, self.device, self.jobs, self.address)
        if self.jobs is None or self.jobs == 1 or len(cases) < 2:
            return do_serially(make, cases, outputs)
        return do_in_processes(make, cases, outputs, self.jobs)


def predict_cases(
    make: MakePredictor,
    cases: Sequence[Case],
    outputs: Outputs,
    engine: Engine | None = None,
    progress: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
) -> list[str]:
    """Segment all cases that are not done yet; one that fails does not stop the rest.

    Args:
        make: returns the predictor; called in each worker, so it must be picklable (a ``functools.partial``).
        cases: what to segment.
        outputs: what to write.
        engine: how to run them; default: in this process.
        progress: wraps the outcomes, to show progress.

    Returns:
        The ids of the cases that failed; each failure is logged as one line.

    Raises:
        UserError: when no case can be done, such as for weights that do not fit.
    """
    tidy(cases, outputs)
    failed = []
    try:
        with closing((engine or Engine()).run(make, cases, outputs)) as outcomes:
            for outcome in progress(outcomes):
                tell(outcome)
                if outcome.failed:
                    failed.append(outcome.case_id)
    finally:
        tidy(cases, outputs)
    return failed


def tidy(cases: Sequence[Case], outputs: Outputs) -> None:
    """Remove what killed processes left behind for these cases, except marks of existing unfinished masks."""
    remove_temporaries(outputs.directory, [case.case_id for case in cases])
    for case in cases:
        if not (mask := mask_path(outputs, case)).is_file():
            with suppress(UserError):  # a folder of this name is reported when the case is done
                mark_finished(mask)


def tell(outcome: Outcome) -> None:
    """Log the outcome of a case."""
    if not outcome.failed:
        for line in outcome.line.splitlines():
            logger.info("%s: %s", outcome.case_id, line)
        return
    logger.error("%s: failed: %s", outcome.case_id, outcome.line)
    if outcome.details is not None:
        logger.debug("traceback of %s\n%s", outcome.case_id, outcome.details)
