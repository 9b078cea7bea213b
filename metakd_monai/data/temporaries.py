"""Hidden files during writing: temporary files of a process, marks of unfinished masks."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from metakd_monai.errors import UserError

TEMPORARY = re.compile(r"\.([1-9]\d{0,9})\.(.+)", re.DOTALL)  # process id, name


def temporary_of(path: Path) -> Path:
    """Return the temporary name, beside a file, under which this process writes it."""
    return path.with_name(f".{os.getpid()}.{path.name}")


def remove_temporaries(folder: Path, stems: Collection[str], pid: int | None = None, folders: bool = False) -> None:
    """Remove the temporary files that a killed process left behind.

    Args:
        folder: folder of the files.
        stems: beginnings of the file names.
        pid: of the process; None for all that no longer run on this machine.
        folders: also remove temporary folders.
    """
    try:
        names = os.listdir(folder)
    except OSError:  # no such folder
        return
    for name in names:
        match = TEMPORARY.fullmatch(name) if name.startswith(".") else None
        if match is None or not match[2].startswith(tuple(stems)):
            continue
        if int(match[1]) == pid or (pid is None and not is_alive(int(match[1]))):
            with contextlib.suppress(OSError):  # a folder of this name is not a temporary file
                (folder / name).unlink()
            if folders:
                shutil.rmtree(folder / name, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Tell whether a process with this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user, or not a valid id
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file if it exists; raises UserError if that fails, as for a folder."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        refuse_folders(path)
        raise UserError(f"{path}: cannot be removed ({error.strerror}); expected a writable folder") from None


def refuse_folders(*paths: Path) -> None:
    """Raise UserError if a folder has the name of a file to be written."""
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; expected a file to replace, or nothing")


def mark_of(mask: Path) -> Path:
    """Return the hidden file beside a mask that marks it as unfinished."""
    return mask.with_name(f".{mask.name}.unfinished")


def mark_finished(mask: Path) -> None:
    """Undo :func:`~metakd_monai.data.files.mark_unfinished`."""
    remove(mark_of(mask))


def is_unfinished(mask: Path) -> bool:
    """Tell whether :func:`~metakd_monai.data.files.mark_unfinished` still holds."""
    return mark_of(mask).exists()
