"""``metakd simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import SEED, Sizes
from metakd_monai.errors import UserError


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--cases", default=12, show_default=True, help="Number of cases.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--shape", type=Sizes(), default="72,88,72", show_default=True, help="Voxels of each volume.")
@click.option("--spacing", default=2.0, show_default=True, help="Voxel size in mm.")
@click.option(
    "--realistic", is_flag=True, help="Cases realistic enough to train on; see docs/results/weights-history.md."
)
@click.option("--atlas", type=click.Path(path_type=Path), help="Realistic: folder with tissue maps of SRI24 or others.")
@click.option(
    "--real", type=click.Path(path_type=Path), help="Realistic: a folder of labelled cases whose brains are used too."
)
@click.option("--overwrite", is_flag=True, help="Replace existing case folders.")
def simulate(realistic: bool, atlas: Path | None, real: Path | None, **arguments: Any) -> None:
    """Write a simulated cohort as BraTS-style case folders below OUTPUT.

    With --realistic, volumes have the size of the brains; --shape is ignored.
    """
    from metakd_monai.apps.simulation.toy import simulate_cohort

    if realistic:
        from metakd_monai.apps.simulation.training.case_maker import case_maker

        arguments["make_case"] = case_maker(arguments["seed"], arguments["spacing"], atlas, real)
    elif atlas or real:
        raise UserError("--atlas, --real: given without --realistic; expected both or none of them")
    folders = simulate_cohort(**arguments)
    click.echo(f"{len(folders)} simulated cases in {arguments['output']}")
