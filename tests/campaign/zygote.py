"""One process imports the command line once; each command then runs in a fork of it, which starts in milliseconds."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

WARM = (
    "monai",
    "monai.bundle",
    "matplotlib.pyplot",
    "metakd_monai.__main__",
    "metakd_monai.apps.cohort",
    "metakd_monai.apps.predict.predictor",
    "metakd_monai.apps.predict.preview",
    "metakd_monai.apps.benchmark",
    "metakd_monai.apps.study",
    "metakd_monai.metrics",
    "metakd_monai.apps.submission",
    "metakd_monai.apps.simulation.toy",
    "metakd_monai.data.datalists",
    "metakd_monai.handlers",
    "metakd_monai.engines.trainer",
    "metakd_monai.weights.exports.write_export",
    "metakd_monai.apps.avmnist",
)


def warm_up() -> None:
    """Import what the commands need. No tensor is touched: a thread of PyTorch would be missing in the forks."""
    from importlib import import_module

    for name in WARM:
        import_module(name)
    import torch

    torch.set_num_threads(1)


def run_metakd(arguments: list[str]) -> None:
    """Be ``metakd`` with these arguments."""
    from metakd_monai.__main__ import start

    sys.argv = ["metakd", *arguments]
    start()


def has_train() -> bool:
    """Tell whether ``metakd train`` is there."""
    from metakd_monai.cli import main

    return "train" in main.commands


def run_bundle(arguments: list[str]) -> None:
    """Be ``python -m monai.bundle`` with these arguments."""
    import runpy

    sys.argv = ["monai.bundle", *arguments]
    sys.modules.pop("monai.bundle.__main__", None)
    runpy.run_module("monai.bundle", run_name="__main__")


PROGRAMS: dict[str, Callable[[list[str]], None]] = {"metakd": run_metakd, "bundle": run_bundle}


def end_as_python(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function as a whole program, with its status, its traceback and its handlers at exit. Never returns."""
    status = 0
    try:
        function(*arguments)
    except SystemExit as stop:
        status = status_of(stop)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 130 if isinstance(error, KeyboardInterrupt) else 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        status = status or 120  # as Python does where stdout cannot be flushed
    os._exit(status)


def status_of(stop: SystemExit) -> int:
    """Return the exit status that Python gives for a SystemExit, whose message it prints."""
    if stop.code is None or isinstance(stop.code, int):
        return (stop.code or 0) & 0xFF
    print(stop.code, file=sys.stderr)
    return 1


def redirect(folder: Path) -> None:
    """Send stdout and stderr of this process to files, and read nothing."""
    for number, path in ((0, "/dev/null"), (1, folder / "stdout"), (2, folder / "stderr")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout.flush()


def run_here(arguments: list[str], folder: Path) -> int:
    """Run a metakd command in a folder, in a fork, and wait for its status; what it says goes to the folder's log."""
    folder.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(folder)
            redirect(folder)
        except BaseException:
            os._exit(98)
        end_as_python(run_metakd, arguments)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def call_here(function: Callable[[], Any]) -> int:
    """Call a function in a fork and wait for its status."""
    pid = os.fork()
    if pid == 0:
        end_as_python(function)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def members_of(session: int) -> Iterable[int]:
    """Return the processes of a session that are still there; zombies do not count."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (state := read_state(entry)) and state.session == session and state.letter != "Z":
            yield int(entry.name)


def read_state(entry: Path) -> SimpleNamespace | None:
    """Return the state and the session of a process, None for one that has just gone."""
    try:
        fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return SimpleNamespace(letter=fields[0], session=int(fields[3]))
