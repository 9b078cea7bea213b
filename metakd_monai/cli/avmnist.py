"""``metakd avmnist``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import choice_option


@click.command()
@click.option("--mnist", required=True, type=click.Path(path_type=Path), help="Folder of MNIST's four idx files.")
@click.option(
    "--fsdd", required=True, type=click.Path(path_type=Path), help="Free Spoken Digit Dataset, folder or zip file."
)
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@choice_option("--mfcc", ("paper", "proper"), "paper", "Front end that turns sounds into 20x20 features.")
@click.option("--unchecked", is_flag=True, help="Accept sources with unknown checksums.")
def avmnist(mnist: Path, fsdd: Path, output: Path, mfcc: str, unchecked: bool) -> None:
    """Build AV-MNIST: 1,500 pairs of a written and a spoken digit, as SMIL's scripts do."""
    from metakd_monai.apps.avmnist import make_avmnist

    manifest: dict[str, Any] = make_avmnist(mnist, fsdd, output, mfcc, unchecked)
    counts = ", ".join(f"{number} for {part}" for part, number in manifest["pairs"].items())
    click.echo(f"{counts}; SHA-256 {manifest['sha256'][:16]}...")
    click.echo(f"pairs: {output}")
