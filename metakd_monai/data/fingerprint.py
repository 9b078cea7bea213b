"""Identify the code behind a result: a hash over the source files that the result depends on.

The version is too coarse: it stays the same between two releases and in a changed checkout. The modules and
sub-packages are listed here; ``tests/test_fingerprint.py`` follows the imports, so that none is forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Code that a mask of ``metakd predict`` depends on.
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
    "metrics/distances",
    "metrics/region_scores",
    "networks",
    "transforms",
    "vocabulary",
    "weights",
)
# Code that a record of ``metakd benchmark`` depends on.
SCORE_CODE = (*MASK_CODE, "apps/benchmark", "data/datalists", "data/stream", "metrics")
# Code that the next step of a resumed training depends on.
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
# Code that a case of ``metakd prepare`` depends on.
RAW_CODE = (
    "apps/predict/preview",
    "apps/raw",
    "data/boxes",
    "data/cases",
    "data/files",
    "data/memory_limit",
    "data/nifti",
    "inferers/precision",
    "metrics/distances",
    "metrics/region_scores",
    "vocabulary",
)
# Also imported by these, but cannot change a result: running, reporting and writing.
BESIDE = (
    "__init__",
    "bundle",
    "data/fingerprint",
    "data/markdown",
    "data/spreadsheets",
    "data/temporaries",
    "errors",
    "processes",
)


@cache
def code_fingerprint(parts: tuple[str, ...] = MASK_CODE) -> str:
    """Return the SHA-256 over the source files of some modules and sub-packages; it takes a few milliseconds.

    Line ends are normalised, because git may convert them.

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
