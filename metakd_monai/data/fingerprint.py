"""Which code made a result: a hash over the source files that decide it.

The version is too coarse for this: it stays the same between two releases and in a changed checkout. The modules and
sub-packages are listed here; ``tests/test_fingerprint.py`` follows the imports, so that none is forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# What decides a mask of ``metakd predict``.
MASK_CODE = (
    "apps/predict",
    "data/boxes",
    "data/cases",
    "data/files",
    "data/memory_limit",
    "data/nifti",
    "data/years",
    "equations",
    "inferers",
    "networks",
    "transforms",
    "vocabulary",
    "weights",
)
# What decides a record of ``metakd benchmark``.
SCORE_CODE = (*MASK_CODE, "apps/benchmark", "data/datalists", "data/stream", "metrics")
# What decides the next step of a training that goes on from its checkpoint.
TRAINING_CODE = (
    "apps/adni",
    "apps/avmnist",
    "apps/classification",
    "apps/simulation",
    "bundle",
    "data/boxes",
    "data/cases",
    "data/datalists",
    "data/files",
    "data/memory_limit",
    "data/nifti",
    "data/stream",
    "data/years",
    "engines",
    "equations",
    "handlers",
    "losses",
    "networks",
    "transforms",
    "vocabulary",
    "weights",
)
# What decides a case of ``metakd prepare``.
RAW_CODE = (
    "apps/predict/preview",
    "apps/raw",
    "data/boxes",
    "data/cases",
    "data/files",
    "data/memory_limit",
    "data/nifti",
    "metrics/distances",
    "metrics/region_scores",
    "vocabulary",
)
# What these import too and what cannot change a result: running, reporting and writing.
BESIDE = ("__init__", "bundle", "data/fingerprint", "data/spreadsheets", "data/temporaries", "errors", "processes")


@cache
def code_fingerprint(parts: tuple[str, ...] = MASK_CODE) -> str:
    """Return the SHA-256 over the source files of some modules and sub-packages; it takes a few milliseconds.

    Line ends do not count, because git may convert them.

    Args:
        parts: their names.
    """
    digest = hashlib.sha256()
    for path in sources_of(parts):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def sources_of(parts: tuple[str, ...]) -> Iterator[Path]:
    """Yield the source files of modules and sub-packages, sorted."""
    for part in sorted(parts):
        folder = PACKAGE / part
        yield from sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
