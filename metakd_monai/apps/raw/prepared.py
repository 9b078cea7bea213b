"""The results of preparing a case, and the time of each step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metakd_monai.apps.raw.registration import Fit
from metakd_monai.apps.raw.volumes import Volume
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality


@dataclass
class Prepared:
    """The prepared series of one case.

    Attributes:
        centre: the sequence that the others were registered to.
        fits: of each other sequence to the centre; the centre's own is the identity.
        to_centre: ``(4, 4)``, from the world of SRI24 to the centre's, rigid.
        images: ``(240, 240, 155)`` int16 of each sequence that is not left out.
        brain: ``(240, 240, 155)`` bool.
        mask: the probability of brain in the centre's world.
        stripper: the source of the brain mask.
        warnings: what a person should know.
        figures: the figures that were checked.
        left_out: unusable sequences, with the reason.
        seconds: by step.
    """

    centre: Modality
    fits: dict[Modality, Fit]
    to_centre: np.ndarray
    images: dict[Modality, np.ndarray]
    brain: np.ndarray
    mask: Volume
    stripper: str
    warnings: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    left_out: dict[Modality, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class PreparationError(UserError):
    """A case that cannot be prepared; ``prepared`` holds what can be shown in a picture."""

    def __init__(self, reason: str, prepared: Prepared) -> None:
        super().__init__(reason)
        self.prepared = prepared


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the time since the last step."""
        now = time.perf_counter()
        self.seconds[name], self.last = round(now - self.last, 2), now
