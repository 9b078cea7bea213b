"""``metakd simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import Sizes


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--cases", default=12, show_default=True, help="Number of cases.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--shape", type=Sizes(), default="72,88,72", show_default=True, help="Voxels of each volume.")
@click.option("--spacing", default=2.0, show_default=True, help="Voxel size in mm.")
@click.option("--overwrite", is_flag=True, help="Replace case folders that are there.")
def simulate(**arguments: Any) -> None:
    """Write a simulated cohort as BraTS-style case folders below OUTPUT."""
    from metakd_monai.simulate import simulate_cohort

    folders = simulate_cohort(**arguments)
    click.echo(f"{len(folders)} simulated cases in {arguments['output']}")
