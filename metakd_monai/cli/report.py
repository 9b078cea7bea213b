"""``metakd report``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metakd_monai.errors import UserError

if TYPE_CHECKING:
    from metakd_monai.apps.report.case_result import CaseResult


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.pass_context
def report(ctx: click.Context, output: Path, jobs: int) -> None:
    """Write a page with a viewer for each case of OUTPUT, the folder of metakd predict, and index.html for all of them.

    Each page is one file that needs no network and no server. The images are read where metakd predict found them.
    Pages that are there from the same results stay as they are. Of a folder of metakd benchmark, study or train,
    index.html shows the tables, the pictures and the worst cases, with links to their pages if the folder has any.
    """
    ctx.exit(0 if report_folder(output, jobs) else 1)


def report_folder(folder: Path, jobs: int) -> bool:
    """Write all pages of a folder, and say where they are; return whether all were written.

    Raises:
        UserError: for a folder that is not there, or without results.
    """
    from metakd_monai.apps.report.case_result import find_results, list_results
    from metakd_monai.apps.report.results_page import has_results, write_results_page

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one that metakd predict, benchmark, study or train wrote")
    if not has_results(folder):
        return make_report(find_results(folder), jobs)
    results = list_results(folder)
    all_written = not results or make_report(results, jobs)
    click.echo(f"results in {write_results_page(folder)}")  # in place of the list of cases
    return all_written


def make_report(results: Sequence[CaseResult], jobs: int) -> bool:
    """Write the pages of one folder's cases and say where they are; return whether all were written."""
    from tqdm import tqdm

    from metakd_monai.apps.report.pages import write_pages

    progress = partial(tqdm, total=len(results), desc="pages", unit="case", disable=None)
    index, told = write_pages(results, jobs, progress)
    for page in told:
        click.echo(f"{page.case_id}: {'no page' if page.failed else 'page without viewer'}: {page.problem}", err=True)
    failed = sum(page.failed for page in told)
    click.echo(f"{len(results) - failed} of {len(results)} pages; open {index}")
    return not failed
