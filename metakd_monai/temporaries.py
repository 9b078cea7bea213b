"""What lies beside files while they are written: temporary files of a process, marks of unfinished masks."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from metakd_monai.vocabulary import UserError

TEMPORARY = re.compile(r"\.([1-9]\d{0,9})\.(.+)", re.DOTALL)  # process id, name


def temporary_of(path: Path) -> Path:
    """Return under which name this process writes a file, beside it."""
    return path.with_name(f".{os.getpid()}.{path.name}")


def remove_temporaries(folder: Path, stems: Collection[str], pid: int | None = None, folders: bool = False) -> None:
    """Remove what a process that was killed left of files that it was writing.

    Args:
        folder: where the files were written to.
        stems: what the names of the files begin with.
        pid: of the process; None for all that are no more on this machine.
        folders: remove folders that were being written, too.
    """
    try:
        names = os.listdir(folder)
    except OSError:  # nothing was written there
        return
    for name in names:
        match = TEMPORARY.fullmatch(name) if name.startswith(".") else None
        if match is None or not match[2].startswith(tuple(stems)):
            continue
        if int(match[1]) == pid or (pid is None and not is_alive(int(match[1]))):
            with contextlib.suppress(OSError):  # a folder of this name is none of ours
                (folder / name).unlink()
            if folders:
                shutil.rmtree(folder / name, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Tell whether a process of this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is someone else's, or no id at all
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file, if it is there; raises UserError when it cannot be, as of a folder."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        refuse_folders(path)
        raise UserError(f"{path}: cannot be removed ({error.strerror}); expected a writable folder") from None


def refuse_folders(*paths: Path) -> None:
    """Raise UserError when there is a folder where a file is to be written."""
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; expected a file to replace, or nothing")


def mark_of(mask: Path) -> Path:
    """Return the hidden file beside a mask that says that it is unfinished."""
    return mask.with_name(f".{mask.name}.unfinished")


def mark_finished(mask: Path) -> None:
    """Take back :func:`~metakd_monai.files.mark_unfinished`."""
    remove(mark_of(mask))


def is_unfinished(mask: Path) -> bool:
    """Tell whether :func:`~metakd_monai.files.mark_unfinished` still holds."""
    return mark_of(mask).exists()
