"""The note in an exported file about its origin."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from metakd_monai import __version__
from metakd_monai.networks.architecture import check_window

ORIGIN = "metakd_export"  # name of the note in a file
SHA256 = re.compile("[0-9a-f]{64}")
LARGEST_STRIDE = 4096  # voxels


@dataclass(frozen=True)
class Origin:
    """Where an exported network comes from, and what is needed to run it.

    Attributes:
        weights_sha256: of the exported weights.
        bytes_per_voxel: see :meth:`~metakd_monai.networks.MetaKDUNet.bytes_per_voxel`.
        stride: each axis of an image is a multiple of it, in graph formats.
        window: the one that goes with the weights, see :class:`~metakd_monai.networks.MetaKDUNet`.
        version: of this package.

    Raises:
        ValueError: for invalid values.
    """

    weights_sha256: str
    bytes_per_voxel: float
    stride: int
    window: tuple[int, int, int] | None = None
    version: str = __version__

    def __post_init__(self) -> None:
        if not isinstance(self.weights_sha256, str) or not SHA256.fullmatch(self.weights_sha256):
            raise ValueError("its weights_sha256 is not a SHA-256")
        if not is_number(self.bytes_per_voxel) or not 0 < self.bytes_per_voxel < math.inf:
            raise ValueError("its bytes_per_voxel is not a number above 0")
        if not is_number(self.stride) or self.stride != int(self.stride) or not 1 <= self.stride <= LARGEST_STRIDE:
            raise ValueError(f"its stride is not a whole number from 1 to {LARGEST_STRIDE}")
        if not isinstance(self.version, str):
            raise ValueError("its version is not text")
        if self.window is not None and not (
            isinstance(self.window, (list, tuple)) and all(map(is_number, self.window))
        ):
            raise ValueError("its window is not three lengths")
        object.__setattr__(self, "window", check_window(self.window))

    @classmethod
    def parse(cls, text: str | bytes) -> Origin:
        """Read a note as JSON; raises ValueError for anything else."""
        return cls.of(load_object(text))

    @classmethod
    def of(cls, noted: Any) -> Origin:
        """Make one from an untrusted JSON object; raises ValueError if it is not one."""
        if not isinstance(noted, Mapping):
            raise ValueError(f"its note {ORIGIN} is not an object")
        known = {field.name for field in fields(cls)}
        needed = known - {"window", "version"}
        odd = sorted(str(name) for name in {*noted} - known) or sorted(needed - {*noted})
        if odd:
            raise ValueError(f"its note {ORIGIN} has {'no' if odd[0] in known else 'an unknown'} {odd[0]}")
        return cls(**noted)


def is_number(value: Any) -> bool:
    """Tell whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)  # an int can be larger than any float


def load_object(text: str | bytes) -> dict[str, Any]:
    """Read a JSON object; raises ValueError for anything else, at any depth of nesting."""
    try:
        content = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its metadata is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError("its metadata is not a JSON object")
    return content
