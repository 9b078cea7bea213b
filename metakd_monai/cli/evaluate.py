"""``metakd evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from metakd_monai.apps.evaluate import Evaluation

# Repeated here: the module that defines them imports SciPy, and --help has to be fast.
CONVENTIONS = ("brats2020", "brats2023")
HD95_KINDS = ("pooled", "directed", "surface")


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("references", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Table to write.")
@click.option(
    "--convention",
    type=click.Choice(CONVENTIONS),
    help="Scoring rule, also for the label of enhancing tumour; default by case names: brats2023 (lesion-wise, 3) for"
    " BraTS-GLI-... and the like, else brats2020 (2018 to 2022, 4).",
)
@click.option(
    "--hd95",
    type=click.Choice(HD95_KINDS),
    help="Kind of HD95; default that of the rule: pooled (brats2020), surface (brats2023). directed is MONAI's.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; default one for each core, at most 8.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    predictions: Path,
    references: Path,
    output: Path,
    convention: str | None,
    hd95: str | None,
    jobs: int | None,
) -> None:
    """Score the label maps in PREDICTIONS (<case>.nii.gz) against REFERENCES.

    REFERENCES holds <case>_seg.nii.gz, <case>-seg.nii.gz or <case>.nii.gz, or case folders. Writes a row for each case
    and summary rows. A JSON file beside the table records settings, failed cases and reasons.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.apps.evaluate import check_place, evaluate_folders, write_report

    check_place(output)
    with logging_redirect_tqdm():
        evaluation = evaluate_folders(predictions, references, convention, hd95, jobs)
    manifest = write_report(output, evaluation)
    show_means(evaluation)
    click.echo(f"{len(evaluation.results) - len(evaluation.problems)} of {len(evaluation.results)} cases scored")
    click.echo(f"table: {output}\nrecord: {manifest}")
    ctx.exit(1 if evaluation.problems else 0)


def show_means(evaluation: Evaluation) -> None:
    """Print the means of each region; HD95 with penalties, and over the cases where it is a distance."""
    from metakd_monai.apps.evaluate import distance_means, summarise
    from metakd_monai.vocabulary import Region

    means = summarise(evaluation)["Mean"]
    shown = [name for name in ("LesionWise_Dice", "LesionWise_Hausdorff95", "Dice") if f"{name}_ET" in means]
    click.echo(f"{evaluation.convention.name}, HD95 {evaluation.hd95} in mm, means over {len(evaluation.rows)} cases")
    heads = (*shown, "Hausdorff95", "Hausdorff95 of scorable cases")
    click.echo("  ".join(["region", *heads]))
    for region in Region:
        both = distance_means(evaluation.rows, region)
        cells = [f"{means[f'{name}_{region.value}']:.4f}" for name in shown]
        cells += [f"{both.penalised:.4f}", f"{both.scorable:.4f} (n={both.scorable_cases})"]
        click.echo(
            f"{region.value:<6}  " + "  ".join(f"{cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True))
        )
