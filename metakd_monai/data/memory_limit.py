"""Compare free memory with what a volume needs: too large a volume is refused before it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from metakd_monai.errors import UserError

GIB = 2**30
BASE_BYTES = 0.6 * GIB  # of a process with PyTorch and MONAI, before any volume
VOLUME_BYTES = 44  # per voxel of the volume: sequences as read and stacked, labels, logits
CGROUP = Path("/sys/fs/cgroup")


def check_volume(where: str | Path, voxels: int, limit: float | None = None) -> None:
    """Refuse a case whose volume does not fit into memory.

    Args:
        where: for messages.
        voxels: of one sequence.
        limit: GiB for the process; None for the free memory.

    Raises:
        UserError: if more is needed.
    """
    check_memory(where, VOLUME_BYTES * voxels + (0 if limit is None else BASE_BYTES), limit)


def check_memory(where: str | Path, needed: float, limit: float | None = None) -> None:
    """Refuse data that do not fit into memory.

    Args:
        where: for messages.
        needed: bytes; with a limit, of the whole process.
        limit: GiB for the process; None for the free memory.

    Raises:
        UserError: if more is needed.
    """
    allowed = free_memory() if limit is None else limit * GIB
    if needed > allowed:
        found = f"{allowed / GIB:.1f} GiB are free" if limit is None else f"memory_limit is {limit:g} GiB"
        raise UserError(f"{where}: its header declares a volume that needs {needed / GIB:.1f} GiB of memory; {found}")


def free_memory() -> float:
    """Return how many bytes this process may still allocate, by the machine, its container and its own limit."""
    return min(free_by_rule(), default=float("inf"))


def free_by_rule() -> Iterator[float]:
    """Yield the free bytes under each limit that exists here and can be read."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        yield 1024 * float(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with suppress(OSError, ValueError):
        yield float((CGROUP / "memory.max").read_text()) - float((CGROUP / "memory.current").read_text())
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            yield float(limit - pages * os.sysconf("SC_PAGE_SIZE"))
