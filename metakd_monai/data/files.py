"""Read JSON and TOML, write files; every file is written completely or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from metakd_monai.data.temporaries import mark_of, remove, remove_temporaries, temporary_of
from metakd_monai.errors import UserError, in_one_line

LONGEST_TEXT = 256 << 20  # bytes
LONGEST_TOML = 1 << 20
FULL_DISK = ("PytorchStreamWriter", "file write failed", "unexpected pos")  # in the RuntimeError of torch.save


def read_text(
    path: str | Path, expected: str, encoding: str = "utf-8", errors: str = "strict", longest: int = LONGEST_TEXT
) -> str:
    """Read untrusted text.

    Args:
        path: of the file.
        expected: what it should be, for messages.
        encoding: of the text.
        errors: how to treat undecodable bytes, as in ``open``.
        longest: largest size in bytes.

    Raises:
        UserError: if it is missing, not a file, larger than ``longest`` bytes, or not text.
    """
    try:
        if not Path(path).is_file():  # a pipe or a device would never end
            reason = "not a file" if Path(path).exists() else "no such file"
            raise UserError(f"{path}: {reason}; expected {expected}")
        if Path(path).stat().st_size > longest:
            raise UserError(f"{path}: larger than {longest >> 20} MiB; expected {expected}")
        return Path(path).read_text(encoding=encoding, errors=errors)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: unreadable ({in_one_line(error)}); expected {expected}") from None


def read_json(path: str | Path, expected: str) -> Any:
    """Read untrusted JSON, see :func:`read_text`; raises UserError also for invalid JSON."""
    text = read_text(path, expected)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: unreadable ({in_one_line(error)}); expected {expected}") from None


def read_toml(path: str | Path, expected: str) -> Any:
    """Read untrusted TOML, see :func:`read_text`; raises UserError also for invalid TOML."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    text = read_text(path, expected, longest=LONGEST_TOML)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: unreadable ({in_one_line(error)}); expected {expected}") from None


def read_record(path: str | Path) -> dict[str, Any]:
    """Read an earlier run's record of a case, JSON with ``settings``; return ``{}`` for anything else or no file."""
    try:
        found = read_json(path, "a record of an earlier run")
    except UserError:
        return {}
    known = isinstance(found, dict) and isinstance(found.get("settings"), dict)
    return found if known else {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, under a temporary name first."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, under a temporary name first; undecodable bytes of file names are escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_stream(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Collect a function's output in memory, then write it with :func:`write_safely`.

    For writers in C++ (``torch.save``, ``torch.jit.save``), which abort the process when the disk is full.
    """
    stream = io.BytesIO()
    write(stream)
    write_bytes(path, stream.getbuffer())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes, under a temporary name first."""
    write_safely(path, lambda temporary: temporary.write_bytes(content))


def checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as content:
        for block in iter(lambda: content.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def check_writable(folder: Path) -> None:
    """Make a folder; raises UserError when it cannot be written to."""
    probe = folder / f".{os.getpid()}.writable"
    write_safely(probe, lambda temporary: temporary.touch())
    probe.unlink()


def write_safely(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file completely or not at all: under a temporary name beside it, then rename.

    Temporary files that killed processes left behind for the same file are removed.

    Raises:
        UserError: when it cannot be written.
    """
    temporary = temporary_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporaries(path.parent, [path.name])
        write(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError, ValueError) as error:
        reason = why_unwritable(path, error)
        if reason is None:
            raise
        raise UserError(f"{in_one_line(path, 300)}: cannot be written ({reason}); expected a writable folder") from None
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()


def why_unwritable(path: Path, error: Exception) -> str | None:
    """Return why a file cannot be written; None if the error has nothing to do with its path."""
    if isinstance(error, OSError):
        return "a folder has this name" if os.path.isdir(path) else in_one_line(error.strerror or error)
    if isinstance(error, RuntimeError):
        return "the disk seems to be full" if any(words in str(error) for words in FULL_DISK) else None
    odd = "\0" in str(path) or isinstance(error, UnicodeEncodeError)
    return "not a valid file name" if odd and not isinstance(error, UserError) else None


def mark_unfinished(mask: Path, report: Path) -> None:
    """Mark a mask as being written, so that a killed run can be resumed; until then its report is invalid."""
    write_safely(mark_of(mask), lambda temporary: temporary.touch())
    remove(report)
