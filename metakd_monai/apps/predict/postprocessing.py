"""Named post-processing rules for label maps; every result records its rule and parameters.

``auto``        the rule in ``expected.json`` beside the weights, see :mod:`metakd_monai.apps.predict.expectations`.
``none``        no post-processing.
``small_et``    if there are fewer than ``threshold`` voxels of enhancing tumour, all become ``target``, necrosis (1) or
                background (0). Strictly fewer, as in the official MetaKD code and nnU-Net's code for BraTS 2020.
``components``  drops connected components (26 neighbours) of tumour of fewer than ``voxels`` voxels, or smaller than
                ``share`` of the largest.
``metakd``      the rule of the official MetaKD code without its k-means step, which is random and reads T1ce even where
                that is absent: drops connected components (6 neighbours) of tumour smaller than 2000 voxels or
                a tenth of the largest, whichever is less, and those whose top is among the lowest 26 slices; then
                ``small_et`` with 500 voxels and target 1. Its numbers are for the 1 mm grid of BraTS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from scipy import ndimage

from metakd_monai.data.boxes import bounding_box
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Label

AUTO, PLAIN, METAKD = "auto", "none", "metakd"
PARAMETERS: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    "small_et": ("threshold", "target"),
    "components": ("voxels", "share"),
    METAKD: (),
}
TARGETS = (int(Label.BACKGROUND), int(Label.NECROSIS))
FACES, CORNERS = (ndimage.generate_binary_structure(3, rank) for rank in (1, 3))
METAKD_VOXELS, METAKD_SHARE, METAKD_ET_VOXELS = 2000, 0.1, 500
METAKD_LOWEST = 25  # a tumour that does not reach above this slice is dropped


@dataclass(frozen=True)
class PostProcessing:
    """One rule with its parameters; call it with a label map to process it.

    Args:
        name: ``"none"``, ``"small_et"``, ``"components"`` or ``"metakd"``.
        threshold: of ``small_et``, in voxels.
        target: of ``small_et``: the label that small enhancing tumour becomes, 1 or 0.
        voxels: of ``components``: size of the smallest tumour that is kept.
        share: of ``components``: smallest kept share of the largest tumour, 0 to 1.

    Raises:
        UserError: for an unknown name or a parameter out of range.
    """

    name: str = PLAIN
    threshold: int = 500
    target: int = int(Label.NECROSIS)
    voxels: int = 50
    share: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in PARAMETERS:
            close = get_close_matches(self.name, PARAMETERS, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UserError(f"postprocessing: {self.name!r} found; {hint}expected one of {', '.join(PARAMETERS)}")
        if self.threshold < 0 or self.voxels < 0:
            raise UserError(f"postprocessing: {min(self.threshold, self.voxels)} voxels found; expected 0 or more")
        if self.target not in TARGETS:
            raise UserError(f"postprocessing: target {self.target} found; expected 1 (necrosis) or 0 (background)")
        if not 0 <= self.share <= 1:
            raise UserError(f"postprocessing: share {self.share:g} found; expected 0 to 1")

    @classmethod
    def parse(cls, text: str) -> PostProcessing:
        """Read ``"small_et:threshold=500,target=1"``; missing parameters have their defaults.

        Raises:
            UserError: for an unknown rule or parameter, or an unreadable number.
        """
        name, _, rest = text.partition(":")
        rule = cls(name.strip())
        found = [part.partition("=") for part in rest.split(",") if part.strip()]
        numbers: dict[str, Any] = {key.strip(): rule.read_number(key.strip(), value) for key, _, value in found}
        return replace(rule, **numbers)

    @classmethod
    def asked(cls, text: str) -> PostProcessing | None:
        """Read a rule as :meth:`parse` does; None for ``"auto"``, which leaves it to the weights."""
        return None if text == AUTO else cls.parse(text)

    def read_number(self, key: str, value: str) -> float:
        """Read one of the rule's parameters; raises UserError if it is unknown or unreadable."""
        allowed = PARAMETERS[self.name]
        if key not in allowed:
            raise UserError(
                f"postprocessing: {key!r} found for {self.name}; expected {', '.join(allowed) or 'no parameters'}"
            )
        try:
            return float(value) if key == "share" else int(value)
        except ValueError:
            raise UserError(f"postprocessing: {key}={value} found; expected a number") from None

    def __str__(self) -> str:
        """Return the rule as :meth:`parse` reads it."""
        numbers = ",".join(f"{key}={getattr(self, key)}" for key in PARAMETERS[self.name])
        return f"{self.name}:{numbers}" if numbers else self.name

    def as_dict(self) -> dict[str, str | float]:
        """Return the rule's name and parameters, for JSON."""
        return {"name": self.name, **{key: getattr(self, key) for key in PARAMETERS[self.name]}}

    def __call__(self, labels: np.ndarray, et_label: int) -> np.ndarray:
        """Return the processed label map.

        Args:
            labels: ``(X, Y, Z)`` uint8, the last axis towards superior; not changed.
            et_label: value of enhancing tumour, 3 or 4.
        """
        if self.name == "small_et":
            return relabel_small_et(labels, et_label, self.threshold, self.target)
        if self.name == "components":
            return drop_components(labels, self.voxels, self.share)
        return metakd_rule(labels, et_label) if self.name == METAKD else labels


def relabel_small_et(labels: np.ndarray, et_label: int, threshold: int, target: int) -> np.ndarray:
    """Give enhancing tumour of fewer than ``threshold`` voxels the label ``target``, in a label map ``(X, Y, Z)``."""
    enhancing = labels == et_label
    if np.count_nonzero(enhancing) >= threshold:
        return labels
    return np.where(enhancing, labels.dtype.type(target), labels)


def drop_components(labels: np.ndarray, voxels: int, share: float) -> np.ndarray:
    """Drop tumours of fewer voxels, or smaller than a share of the largest, from a label map ``(X, Y, Z)``."""
    return keep_tumours(labels, CORNERS, lambda sizes, _: (sizes >= voxels) & (sizes >= share * sizes.max()))


def metakd_rule(labels: np.ndarray, et_label: int) -> np.ndarray:
    """Apply the official MetaKD rule without k-means to a label map ``(X, Y, Z)``."""

    def is_kept(sizes: np.ndarray, tops: np.ndarray) -> np.ndarray:
        smallest = min(METAKD_VOXELS, METAKD_SHARE * sizes.max())
        return np.asarray((sizes >= smallest) & (tops > METAKD_LOWEST))

    return relabel_small_et(keep_tumours(labels, FACES, is_kept), et_label, METAKD_ET_VOXELS, int(Label.NECROSIS))


def find_tumours(labels: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label connected tumours from 1; return the component map ``(X, Y, Z)`` and the sizes in voxels ``(T,)``."""
    parts, _ = ndimage.label(labels > 0, neighbours)
    return parts, np.bincount(parts.ravel())[1:]


def keep_tumours(
    labels: np.ndarray, neighbours: np.ndarray, is_kept: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return a label map ``(X, Y, Z)`` with only some of its connected components, found in their bounding box.

    Args:
        labels: the label map, not changed.
        neighbours: structuring element of the connectivity.
        is_kept: takes sizes in voxels and highest slices, both ``(T,)``; returns which to keep, ``(T,)`` bool.
    """
    if not labels.any():
        return labels
    box = bounding_box(labels > 0)
    parts, sizes = find_tumours(labels[box], neighbours)
    tops = np.array([part[2].stop - 1 + box[2].start for part in ndimage.find_objects(parts)])
    kept = labels.copy()
    kept[box] *= np.concatenate([[False], is_kept(sizes, tops)])[parts]
    return kept
