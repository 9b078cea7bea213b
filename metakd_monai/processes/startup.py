"""Fast start of our own processes: MONAI without unneeded packages; memory kept."""

from __future__ import annotations

import ctypes
import gc
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metakd_monai.processes.endings import end_with_parent

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
LARGEST_KEPT = 2**30  # bytes of one block
NEEDLESS = (
    *("PIL", "ignite", "itk", "jsonschema", "matplotlib", "pandas", "pydicom", "requests", "sklearn", "tensorboard"),
    *("scipy.optimize", "scipy.signal", "scipy.sparse", "scipy.spatial"),
)


@contextmanager
def lean_imports(wanted: bool = True) -> Iterator[None]:
    """Import MONAI and nibabel as if some packages that they can do without were not there; later they are to be had.

    MONAI imports all of its modules and, through them, whatever of these is there: more than half of the time that
    PyTorch and MONAI take to start. Nothing that segments a case calls them through MONAI. It is for processes that do
    nothing else; whoever is there first keeps MONAI whole. So does MONAI Deploy, which installs itself as a part of
    MONAI and cannot do without them.

    Args:
        wanted: whether to do so.
    """
    if not wanted or "monai" in sys.modules or has_deploy():
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


def has_deploy() -> bool:
    """Tell whether MONAI Deploy is installed, without importing MONAI."""
    found = find_spec("monai")
    places = (found.submodule_search_locations or []) if found else []
    return any((Path(place) / "deploy").is_dir() for place in places)


def call_lean(pickled: bytes, *arguments: Any) -> None:
    """Call what was pickled, a function and its first arguments, with more: the start of a worker process.

    The process ends when its parent does, from here on: what it imports takes seconds.

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
    """Let this process use again the memory of features that it freed, instead of asking Linux for it each time.

    Linux clears the pages that it hands out, which takes about a quarter of the time of a whole volume on two cores.
    Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, -1)  # never
