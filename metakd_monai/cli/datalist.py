"""``metakd datalist``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import SEED, names_option, print_notes
from metakd_monai.data.years import YEARS
from metakd_monai.vocabulary import Modality


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="JSON to write.")
@click.option("--year", type=click.Choice(["auto", *YEARS]), default="auto", show_default=True, help="Data set.")
@click.option("--folds", default=5, show_default=True, help="Folds of the training part.")
@click.option("--meta-cases", default=5, show_default=True, help="Patients for meta-validation, at most a third.")
@click.option("--test-fraction", default=0.2, show_default=True, help="Share of patients for testing.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the split.")
@click.option("--splits", type=click.Path(path_type=Path), help="Folder of published train/val/test lists to follow.")
@click.option(
    "--min-modalities",
    type=click.IntRange(1, len(Modality)),
    default=1,
    show_default=True,
    help="Leave out cases with fewer sequences than this.",
)
@click.option("--skip-damaged", is_flag=True, help="Leave out unreadable cases instead of failing.")
@names_option()
def datalist(
    root: Path, output: Path, year: str, min_modalities: int, skip_damaged: bool, names: Path | None, **split: Any
) -> None:
    """Write the splits of the data set in ROOT, a BraTS download of any year, as a MONAI datalist.

    The split is by patient, stratified by grade where known, and depends on the seed and the names only.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.data.cases import read_name_table
    from metakd_monai.data.datalists import make_datalist, read_layout, write_datalist

    table = None if names is None else read_name_table(names)
    with logging_redirect_tqdm():
        layout = read_layout(root, year, min_modalities, skip_damaged, names=table)
    print_notes(entry.case for entry in layout.entries)
    made = make_datalist(layout, **split)
    write_datalist(output, made)
    incomplete = [e for e in layout.entries if not isinstance(e.case.files, Path) and len(e.case.files) < len(Modality)]
    click.echo(f"{made['name']}: {len(layout.entries)} cases of {len({e.patient for e in layout.entries})} patients")
    sizes = [f"fold {n}: {sum(item['fold'] == n for item in made['training'])}" for n in range(made["metakd"]["folds"])]
    sizes += [f"{part}: {len(made[part])}" for part in ("meta", "test", "testing")]
    click.echo(f"{', '.join(sizes)}; {len(incomplete)} cases with sequences missing")
    click.echo(f"datalist: {output}")
