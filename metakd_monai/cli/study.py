"""``metakd study``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import choose_device


@click.command()
@click.option(
    "--cases",
    required=True,
    multiple=True,
    metavar="DIR[=LABELS]",
    help="A folder of labelled cases, and who drew the labels; may be given again.",
)
@click.option("--weights", type=click.Path(path_type=Path), help="Weights (model.pt); default the bundle's.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, file_okay=False), help="Result folder.")
@click.option("--trained-on", multiple=True, metavar="NAME", help="A case that training saw; may be given again.")
@click.option(
    "--compare",
    multiple=True,
    metavar="NAME=FILE",
    help="Other weights; may be given again. Files of one name are its seeds.",
)
@click.option("--uncertainty", is_flag=True, help="Is it higher where the mask is wrong?")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Threads that score.")
@click.option("--overwrite", is_flag=True, help="Do cases again that other weights were tried on.")
@click.pass_context
def study(ctx: click.Context, **options: Any) -> None:
    """Score weights on real cases in every subset of their sequences, with a report and pictures.

    Finished cases are kept: start it again after an interruption.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.apps.study import Study, run_study
    from metakd_monai.weights.locate import find_weights

    weights, device = find_weights(options.pop("weights")), choose_device(options.pop("device"))
    with logging_redirect_tqdm():
        all_scored = run_study(Study(weights=weights, device=device, **options))
    click.echo(f"report.md, rows.csv, expected.json, masks and pictures are in {options['output']}")
    ctx.exit(0 if all_scored else 1)
