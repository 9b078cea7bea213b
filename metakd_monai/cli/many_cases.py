"""The options of ``metakd predict`` for many cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from metakd_monai.cli.base import add_options, choice_option

if TYPE_CHECKING:
    from metakd_monai.apps.cohort import Engine


cohort_options = add_options(
    click.option(
        "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes; with Ray actors, default one for each GPU."
    ),
    choice_option("--engine", ("local", "ray"), "local", "What runs the processes; ray needs metakd-monai[ray]."),
    click.option(
        "--address", help="Address of a running Ray cluster: auto or HOST:PORT; default: start Ray on this machine."
    ),
)


def read_engine(options: Mapping[str, Any]) -> Engine:
    """Return the engine that runs the cases; raises UserError for contradictory options, or if Ray is not installed."""
    from metakd_monai.apps.cohort import Engine

    return Engine(options["engine"], options["jobs"], options["device"], options["address"])
