"""``metakd bundle``."""

from __future__ import annotations

from pathlib import Path

import click

from metakd_monai.bundle.root import SEGMENTATION_BUNDLE, copy_bundle, shipped_bundle
from metakd_monai.errors import UserError


@click.command()
@click.argument("output", required=False, type=click.Path(path_type=Path))
@click.option("--name", default=SEGMENTATION_BUNDLE, show_default=True, help="Which bundle.")
@click.option("--path", is_flag=True, help="Print the folder of the installed bundle instead of copying.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT, if it contains only a bundle's files.")
def bundle(output: Path | None, name: str, path: bool, overwrite: bool) -> None:
    """Copy the MONAI bundle to OUTPUT, for MONAI Label, MONAI Deploy, a cluster or your own changes.

    It holds configurations, documentation, licences and, for segmentation, the weights. MONAI runs the installed one
    too: python -m monai.bundle run training --config_file "$(metakd bundle --path)/configs/train.json" ...
    """
    if (output is None) != path:
        raise UserError("bundle: expected either a folder to write, or --path")
    if output is None:
        click.echo(shipped_bundle(name))
    else:
        copy_bundle(output, name, overwrite)
        click.echo(f"{name}: {output}")
