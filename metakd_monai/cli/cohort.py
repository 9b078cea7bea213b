"""The options of ``metakd predict`` for many cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from metakd_monai.cohort import Engine


def cohort_options(command: Any) -> Any:
    """Add the options to a command."""
    options = [
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            metavar="N",
            help="Processes; with Ray actors, default one for each GPU.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="What runs the processes; ray needs metakd-monai[ray].",
        ),
        click.option(
            "--address", help="Of a running Ray cluster: auto, HOST:PORT; default a Ray of its own on this machine."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_engine(options: Mapping[str, Any]) -> Engine:
    """Return what does the cases; raises UserError when the options contradict each other or Ray is not installed."""
    from metakd_monai.cohort import Engine

    return Engine(options["engine"], options["jobs"], options["device"], options["address"])
