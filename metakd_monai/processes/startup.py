"""Fast start of processes: MONAI without optional packages, and freed memory reused."""

from __future__ import annotations

import ctypes
import gc
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metakd_monai.processes.endings import end_with_parent

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
LARGEST_KEPT = 2**25  # bytes of one block; larger ones would leave holes that nothing else fits into
NEEDLESS = (
    "PIL",
    "ignite",
    "itk",
    "jsonschema",
    "matplotlib",
    "pandas",
    "requests",
    "scipy.signal",
    "sklearn",
    "tensorboard",
)
# Not for workers of any kind: those of raw scans and of scores need these themselves.
NEEDLESS_TO_PREDICT = (*NEEDLESS, "pydicom", "scipy.optimize", "scipy.sparse", "scipy.spatial")


@contextmanager
def lean_imports(wanted: bool = True, needless: Sequence[str] = NEEDLESS) -> Iterator[None]:
    """Import MONAI and nibabel as if some optional packages were not installed; they can be imported afterwards.

    MONAI imports all of its modules and, through them, every optional package that is installed. This is more than half
    of the start-up time of PyTorch and MONAI, and segmenting a case never uses these packages through MONAI. It is for
    processes that do nothing else: if MONAI is imported already, it stays as it is. It also stays complete where MONAI
    Deploy is installed, which is a part of MONAI and needs them.

    Args:
        wanted: whether to do so.
        needless: the packages.
    """
    if not wanted or "monai" in sys.modules or has_deploy():
        yield
        return
    hidden = [name for name in needless if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: Python treats it as not installed
    gc.disable()  # loading modules leaves no garbage, and looking for it takes a tenth of the time
    try:
        yield
    finally:
        gc.enable()
        for name in hidden:
            del sys.modules[name]


def has_deploy() -> bool:
    """Tell whether MONAI Deploy is installed, without importing MONAI."""
    found = find_spec("monai")
    places = (found.submodule_search_locations or []) if found else []
    return any((Path(place) / "deploy").is_dir() for place in places)


def call_lean(pickled: bytes, *arguments: Any) -> None:
    """Call a pickled function with its pickled first arguments and further ones: the start of a worker process.

    From here on the process ends when its parent does: the imports that follow take seconds.

    Args:
        pickled: ``(function, (argument, ...))``, whose modules are imported here, lean.
        arguments: the others, such as a pipe, that only a process object may carry.
    """
    end_with_parent()
    keep_memory()
    with lean_imports():
        function, first = pickle.loads(pickled)
    function(*first, *arguments)


def keep_memory() -> None:
    """Let this process reuse the memory of freed features, instead of asking Linux for new memory each time.

    Linux zeroes new pages, which takes about a quarter of the time of a whole volume on two cores.
    Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, -1)  # never
