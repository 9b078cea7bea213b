"""Which code made a result: a hash over the source files that decide it, so that other code never passes for it.

The version tells users what changed; between two releases, or in a changed checkout, it stays the same. The parts are
named here one by one, modules and sub-packages; ``tests/test_fingerprint.py`` walks the imports, so that none is
forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
# What decides a mask of ``metakd predict``.
MASK_CODE = (
    "cases",
    "equations",
    "exports",
    "files",
    "inferers",
    "memory",
    "networks",
    "nifti",
    "postprocessing",
    "predict",
    "transforms",
    "vocabulary",
    "weights",
    "years",
)
# What a mask's code imports too, and what cannot change one voxel of it.
BESIDE_MASKS = ("__init__", "expectations", "fingerprint", "preview", "shipped", "temporaries", "uncertainty")
# What decides a record of ``metakd benchmark``.
SCORE_CODE = (*MASK_CODE, "benchmark", "data", "datalists", "scores")
# What decides the next step of a training that goes on from its checkpoint.
TRAINING_CODE = (
    "adni",
    "avmnist",
    "bundle",
    "cases",
    "classification",
    "data",
    "datalists",
    "equations",
    "files",
    "handlers",
    "losses",
    "memory",
    "networks",
    "nifti",
    "simulate",
    "simulation",
    "trainer",
    "transforms",
    "vocabulary",
    "weights",
    "years",
)


@cache
def code_fingerprint(parts: tuple[str, ...] = MASK_CODE) -> str:
    """Return the SHA-256 over the source files of some modules and sub-packages; it takes a few milliseconds.

    Ends of lines count as one, whatever git made of them.

    Args:
        parts: their names.
    """
    digest = hashlib.sha256()
    for path in sources_of(parts):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def sources_of(parts: tuple[str, ...]) -> Iterator[Path]:
    """Yield the source files of modules and sub-packages, in an order of their own."""
    for part in sorted(parts):
        folder = PACKAGE / part
        yield from sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
