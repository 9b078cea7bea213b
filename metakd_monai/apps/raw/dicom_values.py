"""Values in DICOM files, looked up in the same way in classic and enhanced ones, without pydicom's warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def dicom_silenced() -> Iterator[None]:
    """Silence pydicom's warnings of doubtful values, because they quote them, and so may quote a patient's name.

    Also silence highdicom's messages on what it copies.
    """
    logs = {log: log.level for log in map(logging.getLogger, ("pydicom", "highdicom"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for log in logs:
            log.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for log, level in logs.items():
                log.setLevel(level)


def group(groups: list[Any], name: str) -> Any:
    """Return the first item of a functional group, of the frame or shared; raises KeyError if there is none."""
    found = next((g[name].value[0] for g in groups if g.get(name)), None)
    if found is None:
        raise KeyError(name)
    return found


class Groups:
    """The values of a frame in an enhanced file, looked up as in a classic one.

    Args:
        groups: the functional groups, the frame's before the shared.
        data: the file.
    """

    PLACES = {  # noqa: RUF012  # never changed
        "RepetitionTime": ("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
        "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
        "InversionTime": ("MRModifierSequence", "InversionTimes"),
        "SliceThickness": ("PixelMeasuresSequence", "SliceThickness"),
        "ImageType": ("MRImageFrameTypeSequence", "FrameType"),
    }

    def __init__(self, groups: list[Any], data: Any) -> None:
        self.groups, self.data = groups, data

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value of the frame, or of the file."""
        place, inner = self.PLACES.get(name, ("", ""))
        items = next((g[place].value for g in self.groups if place and g.get(place)), None)
        return items[0].get(inner, default) if items else self.data.get(name, default)


def as_list(value: Any) -> list[Any]:
    """Return a value, single or multiple, as a list without empty entries."""
    if value is None or value == "":
        return []
    several = not isinstance(value, (str, bytes)) and hasattr(value, "__iter__")
    return [v for v in (value if several else [value]) if v is not None and v != ""]


def floats(values: Any) -> tuple[float, ...]:
    """Return numbers as floats; raises ValueError where one is not finite."""
    found = tuple(float(value) for value in values)
    if not np.isfinite(found).all():
        raise ValueError("a coordinate that is not finite")
    return found
