"""``metakd back``."""

from __future__ import annotations

from pathlib import Path

import click

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import MODALITY_NAMES, Modality


@click.command()
@click.argument("mask", metavar="MASK", type=click.Path(path_type=Path))
@click.option(
    "--case",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The case's folder, as metakd prepare wrote it.",
)
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, file_okay=False), help="Result folder.")
@click.option("--to", type=click.Choice(MODALITY_NAMES), help="Only this series' grid. Default: all.")
@click.option("--inverse", is_flag=True, help="MASK was drawn on a raw series: resample it onto the case's grid.")
def back(mask: Path, folder: Path, output: Path, to: str | None, inverse: bool) -> None:
    """Resample MASK from a prepared case onto the grids of its raw series, or back.

    MASK is any label map on the case's grid, such as one corrected by hand. Volumes on each grid are printed.
    """
    from metakd_monai.apps.raw.carry import carry_inverse, carry_labels
    from metakd_monai.apps.raw.transforms_file import read_transforms
    from metakd_monai.data.cases import NIFTI
    from metakd_monai.data.files import check_writable

    grids = read_transforms(folder)
    if to is not None:
        if Modality(to) not in grids:
            raise UserError(f"--to: {to} given; {folder} has {', '.join(m.value for m in grids)}")
        grids = {Modality(to): grids[Modality(to)]}
    if not grids:
        raise UserError(f"{folder}: no series; expected a case that metakd prepare wrote")
    check_writable(output)
    if inverse:
        modality, volumes = carry_inverse(mask, grids, output)
        click.echo(f"from {modality.value}: {show_ml(volumes)}; in {output}")
        return
    for name, volumes in carry_labels(mask, grids, output, NIFTI.sub("", mask.name)).items():
        click.echo(f"{name}: {show_ml(volumes)}")


def show_ml(volumes: dict[str, float]) -> str:
    """Write volumes for a user."""
    return ", ".join(f"{region} {volume:.2f} mL" for region, volume in volumes.items())
