"""``metakd submission``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from metakd_monai.data.years import YEARS

if TYPE_CHECKING:
    from metakd_monai.apps.submission import Submission

SUBMITTED = [year.name for year in YEARS.values() if year.validation_cases is not None]


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--inputs", required=True, type=click.Path(path_type=Path), help="Folder of the cases segmented.")
@click.option("--year", required=True, type=click.Choice(SUBMITTED), help="Year of the challenge.")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="What to upload: a .zip file (Synapse: 2021 on), else a folder of copies (CBICA IPP: 2018 to 2020).",
)
@click.option("--force", is_flag=True, help="Write even what the server would refuse.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier upload.")
@click.pass_context
def submission(
    ctx: click.Context, predictions: Path, inputs: Path, year: str, output: Path, force: bool, overwrite: bool
) -> None:
    """Check the label maps in PREDICTIONS (<case>.nii.gz) as the BraTS server will, and pack them for upload.

    Checked are names, count, labels, data type, and through ITK that size, spacing, origin and direction equal those
    of the inputs exactly. All problems are reported, and nothing is written without --force. A JSON file
    beside the output records what is in it.
    """
    from metakd_monai.apps.submission import write_submission

    done = write_submission(predictions, inputs, year, output, force, overwrite)
    show(done)
    ctx.exit(1 if done.problems else 0)


def show(done: Submission) -> None:
    """Print what was found and what was written."""
    for line in done.problems:
        click.echo(f"problem: {line}")
    for line in done.notes:
        click.echo(f"note: {line}")
    click.echo(
        f"{len(done.files)} label maps for {done.expected} cases of {done.year.name}: {len(done.problems)} problems"
    )
    if done.written:
        upload, manifest = done.written
        click.echo(f"upload: {upload}{' (forced)' if done.problems else ''}\ncontents: {manifest}")
    else:
        click.echo("nothing written; --force overrides")
