"""Walk folders and list their files; each folder is entered once, however many links lead to it."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from metakd_monai.data.cases.sequences import NIFTI
from metakd_monai.errors import UserError, in_one_line

logger = logging.getLogger(__name__)


def walk(folder: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it, sorted; targets of links last.

    Each folder is yielded once, so loops of links end. Hidden folders are left out; an unreadable one is named in a
    warning.

    Raises:
        UserError: when the first folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting, links = [folder], list[Path]()
    while waiting or links:
        place = waiting.pop() if waiting else links.pop(0)
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            below = [entry for entry in os.scandir(place) if entry.name[0] != "." and is_folder(entry)]
        except OSError as error:
            reason = error.strerror or in_one_line(error)
            if place == folder:
                raise UserError(f"{folder}: cannot be read ({reason}); expected a folder of cases") from None
            logger.warning("%s: cannot be read (%s), skipped", shorten(place), reason)
            continue
        seen.add((status.st_dev, status.st_ino))
        yield place
        paths = sorted((place / entry.name, entry.is_symlink()) for entry in below)
        waiting += [path for path, link in reversed(paths) if not link]
        links += [path for path, link in paths if link]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or leads to one; a link to itself does not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def nifti_names(folder: Path) -> list[str]:
    """Return the names of the NIfTI files in a folder, sorted.

    Hidden files are left out. Pipes and devices, which never end, are skipped with a warning; dead links are reported
    when they are read.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if NIFTI.search(name) and name[0] != ".")
    except OSError:  # walk has already warned
        return []
    return [name for name in names if is_file(folder / name)]


def is_file(path: Path) -> bool:
    """Tell whether a path may be read as a file; warns of a pipe, a socket or a device."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        logger.warning("%s: skipped, it is a pipe, a socket or a device; expected a file", printable(path))
    return stat.S_ISREG(mode)


def printable(text: object) -> str:
    """Return a text for a message, with non-printable characters (line ends, lone surrogates) escaped."""
    return "".join(letter if letter.isprintable() else f"{letter!a}"[1:-1] for letter in str(text))


def shorten(path: Path, longest: int = 200) -> str:
    """Return a path for a message; the middle of a long one is left out."""
    text = printable(path)
    return text if len(text) <= longest else f"{text[: longest // 2]}...{text[-longest // 2 :]}"
