"""A disk with little room: a tmpfs in a mount namespace of this process, or a limit of file sizes."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

NEW_NAMESPACE, PRIVATE, RECURSIVE, REMOUNT = 0x20000, 1 << 18, 1 << 14, 1 << 5  # Linux: CLONE_NEWNS, MS_*


@contextmanager
def small_disk(folder: Path, room: int) -> Iterator[Callable[[], object]]:
    """Put a disk with ``room`` kB at a folder; yield what gives it 64 MB more. It is gone with this process."""
    if mount_tmpfs(folder, room):
        yield partial(mount, folder, REMOUNT, "size=64m")
        return
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room * 1024, most))
    yield partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))


def mount_tmpfs(folder: Path, room: int) -> bool:
    """Mount a tmpfs in a namespace of its own; tell whether that is allowed here."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(NEW_NAMESPACE) or library.mount(b"none", b"/", None, PRIVATE | RECURSIVE, None):
        return False
    return mount(folder, 0, f"size={max(4, room)}k")


def mount(folder: Path, flags: int, options: str) -> bool:
    """Mount or remount a tmpfs."""
    library = ctypes.CDLL(None, use_errno=True)
    return not library.mount(b"none", os.fsencode(folder), b"tmpfs", flags, options.encode())
