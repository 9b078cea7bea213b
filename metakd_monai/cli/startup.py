"""Start fast: MONAI without what it takes along where it is installed and a command has no use for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

OWN_PROCESS = "own process"  # the context's object when the command line is the program, not called by one
NEEDLESS = ("PIL", "ignite", "itk", "matplotlib", "requests", "scipy.signal", "tensorboard")


@contextmanager
def lean_imports(ctx: click.Context) -> Iterator[None]:
    """Import MONAI as if some packages that are optional for it were not installed; they are to be had afterwards.

    MONAI imports all of its modules and, through them, whatever of these is there: more than half of the time that
    PyTorch and MONAI take to start. Nothing that segments a case calls them through MONAI. A process that is not the
    command's own keeps its MONAI whole.
    """
    if ctx.find_root().obj != OWN_PROCESS or "monai" in sys.modules:
        yield
        return
    hidden = [name for name in NEEDLESS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: Python takes it as not there
    gc.disable()  # nothing to collect while modules are loaded, but a tenth of the time
    try:
        yield
    finally:
        gc.enable()
        for name in hidden:
            del sys.modules[name]
