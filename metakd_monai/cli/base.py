"""What the commands share: errors in one line, argument types, devices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from metakd_monai.errors import UserError, in_one_line, shorten
from metakd_monai.processes.endings import Stopped, report_end

OWN_PROCESS = "own process"  # the context's object when the command line is the program, not called by one


# Commands that continue where they stopped when they are started again.
RESUMED = ("prepare", "predict", "benchmark", "study", "train")


class Commands(click.Group):
    """A group that reports errors in one line, and suggests the closest command for an unknown name."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            vars(error)["message"] = shorten(error.message)  # final to type checkers
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except (Exception, KeyboardInterrupt, Stopped) as error:
            ctx.exit(report_end(error, ctx.invoked_subcommand in RESUMED))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the closest one."""
        close = get_close_matches(args[0], self.list_commands(ctx), n=1)
        if args[0] not in self.commands and close:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)


def add_options(*options: Any) -> Any:
    """Return a decorator that gives a command several options, in this order."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def choice_option(name: str, values: Sequence[str], default: str, text: str) -> Any:
    """Make an option that is one of several words, its default shown after the help text."""
    return click.option(name, type=click.Choice(values), default=default, show_default=True, help=text)


def names_option() -> Any:
    """Make the option that names a table of a site's own file names."""
    return click.option(
        "--names",
        type=click.Path(path_type=Path),
        metavar="TABLE",
        help='TOML or JSON that maps patterns of file names to sequences, such as "*_spc_*" = "flair"'
        " (docs/reference/file-names.md).",
    )


def print_notes(cases: Iterable[Any]) -> None:
    """Print what the user should know about each case's files, one line a note."""
    for case in cases:
        for note in case.notes:
            click.echo(f"{case.case_id}: {note}")


class Sizes(click.ParamType):
    """Three whole numbers, ``72,88,72``, or a word.

    Args:
        word: accepted instead of numbers, such as ``whole``; None for no such word.
    """

    name = "X,Y,Z"

    def __init__(self, word: str | None = None) -> None:
        self.word = word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...] | str:
        """Read the numbers."""
        if isinstance(value, tuple) or value == self.word:
            return value
        try:
            return tuple(int(part) for part in value.replace("x", ",").split(","))
        except ValueError:
            other = f", or {self.word}" if self.word else ""
            self.fail(f"{value!r} is not three whole numbers such as 72,88,72{other}", param, ctx)


window_option = click.option(
    "--window",
    type=Sizes("whole"),
    metavar="X,Y,Z|whole",
    help="Voxels of the windows that the network sees, left-right, front-back, bottom-top, or whole: the brain's box"
    " in one. Default: that of the weights. Others change the mask.",
)

MIRRORINGS = ("none", "lr", "all")
mirror_option = choice_option(
    "--mirror",
    MIRRORINGS,
    "none",
    "Mean over mirrored images: lr left and right (twice the time), all three axes (eight times).",
)


SEED = click.IntRange(0, 2**32 - 1)  # what NumPy takes


class Size(click.FloatRange):
    """A finite number above 0, or of at least ``least``; click's FloatRange accepts infinity."""

    def __init__(self, least: float = 0.0) -> None:
        super().__init__(min=least, min_open=least == 0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def choose_device(name: str) -> str:
    """Return an existing torch device; raises UserError otherwise."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=name).sum().item()  # the device meta has shapes but no numbers
    except Exception as error:  # unusable devices raise all kinds, also ImportError and AssertionError
        reason = in_one_line(error)
        raise UserError(f"device: {name!r} cannot be used ({reason}); expected auto, cpu, cuda or mps") from None
    return name
