"""The pages of all cases of a folder, in one process or several, and the page of the cohort."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from metakd_monai.apps.report.case_result import CaseResult
from metakd_monai.errors import explain
from metakd_monai.processes.workers import Dispatcher, Processes


@dataclass(frozen=True)
class Written:
    """The outcome of a case's page: ``problem`` is a message for the user, ``failed`` tells that there is no page."""

    case_id: str
    problem: str | None = None
    failed: bool = False


class PageWriter:
    """Writes pages, in any process."""

    def start(self) -> None:
        """Nothing to get ready."""

    def do(self, task: CaseResult, following: CaseResult | None = None) -> Written:
        """Write a case's page; problems are returned, not raised."""
        from metakd_monai.apps.report.case_page import write_case_page  # a lean process starts without matplotlib

        try:
            return Written(task.case_id, write_case_page(task))
        except Exception as error:  # whatever is wrong with one case, the others are done
            return Written(task.case_id, explain(error), failed=True)


def write_pages(
    results: Sequence[CaseResult],
    jobs: int = 1,
    progress: Callable[[Iterable[Written]], Iterable[Written]] = iter,
) -> tuple[Path, list[Written]]:
    """Write the pages of cases and that of the cohort.

    Args:
        results: all cases of one folder.
        jobs: processes.
        progress: wraps the outcomes, to show progress.

    Returns:
        The cohort's page, and the cases with a problem.

    Raises:
        UserError: when the cohort's page cannot be written.
    """
    from metakd_monai.apps.report.cohort_page import write_cohort_page  # as above

    with closing(write_each(results, jobs)) as written:
        told = [page for page in progress(written) if page.problem]
    failed = {page.case_id for page in told if page.failed}
    return write_cohort_page(results[0].directory, [result for result in results if result.case_id not in failed]), told


def write_each(results: Sequence[CaseResult], jobs: int) -> Generator[Written, None, None]:
    """Yield the outcome of each case's page as it becomes known."""
    if jobs == 1 or len(results) < 2:
        yield from map(PageWriter().do, results)
        return
    yield from Dispatcher(Processes(PageWriter), results, jobs, partial(Written, failed=True)).run()
