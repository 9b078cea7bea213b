"""JSON in and out; every file is written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from metakd_monai.vocabulary import UserError, in_one_line

LONGEST_JSON = 256 << 20  # bytes
TEMPORARY = re.compile(r"\.(\d+)\.(.+)")  # of write_safely: process id, name


def read_json(path: str | Path, expected: str) -> Any:
    """Read JSON that somebody else may have written.

    Args:
        path: of the file.
        expected: what it should be, for messages.

    Raises:
        UserError: when it is missing, no file of at most :data:`LONGEST_JSON` bytes, no JSON, or nested too deeply.
    """
    try:
        if not Path(path).is_file():  # a pipe or a device would never end
            reason = "not a file" if Path(path).exists() else "no such file"
            raise UserError(f"{path}: {reason}; expected {expected}")
        if Path(path).stat().st_size > LONGEST_JSON:
            raise UserError(f"{path}: larger than {LONGEST_JSON >> 20} MiB; expected {expected}")
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: unreadable ({in_one_line(error)}); expected {expected}") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, under a temporary name first."""
    write_safely(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n"))


def check_writable(folder: Path) -> None:
    """Make a folder; raises UserError when it cannot be written to."""
    probe = folder / f".{os.getpid()}.writable"
    write_safely(probe, lambda temporary: temporary.touch())
    probe.unlink()


def write_safely(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then rename.

    Raises:
        UserError: when the place cannot be written to.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); expected a writable folder") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_temporaries(folder: Path, stems: Collection[str], pid: int | None = None) -> None:
    """Remove what :func:`write_safely` left of files in a process that was killed.

    Args:
        folder: where the files were written to.
        stems: what the names of the files begin with.
        pid: of the process; None for all that are no more on this machine.
    """
    for path in folder.glob(".[0-9]*"):
        match = TEMPORARY.fullmatch(path.name)
        if match is None or not match[2].startswith(tuple(stems)):
            continue
        if int(match[1]) == pid or (pid is None and not is_alive(int(match[1]))):
            path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Tell whether a process of this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is someone else's
        return True
    return True


def mark_unfinished(mask: Path, report: Path) -> None:
    """Say beside a mask that it is being written, so that a run killed at that can be resumed; its report is void."""
    write_safely(mark_of(mask), lambda temporary: temporary.touch())
    report.unlink(missing_ok=True)


def mark_finished(mask: Path) -> None:
    """Take back :func:`mark_unfinished`."""
    mark_of(mask).unlink(missing_ok=True)


def is_unfinished(mask: Path) -> bool:
    """Tell whether :func:`mark_unfinished` still holds."""
    return mark_of(mask).exists()


def mark_of(mask: Path) -> Path:
    """Return the hidden file beside a mask that says that it is unfinished."""
    return mask.with_name(f".{mask.name}.unfinished")
