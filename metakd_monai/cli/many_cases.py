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
        "--address", help="Of a running Ray cluster: auto, HOST:PORT; default a Ray of its own on this machine."
    ),
)


def read_engine(options: Mapping[str, Any]) -> Engine:
    """Return what does the cases; raises UserError when the options contradict each other or Ray is not installed."""
    from metakd_monai.apps.cohort import Engine

    return Engine(options["engine"], options["jobs"], options["device"], options["address"])
