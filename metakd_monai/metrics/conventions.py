"""The scoring rules by name, and how each defines the regions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from metakd_monai.data.cases import MIXED_ET_NAME
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import BRATS_2023_LABELS, BRATS_2024_LABELS, BRATS_LABELS, LabelConvention, split_regions

HD95_KINDS = ("pooled", "directed", "surface")


@dataclass(frozen=True)
class Convention:
    """A scoring rule.

    Attributes:
        name: ``"brats2020"`` or ``"brats2023"``.
        labels: what the values of a label map mean; any other value is in no region.
        hd95: the kind of HD95 that belongs to the rule.
        fixed_penalty: HD95 in mm where one mask is empty; None for the diagonal of the image.
    """

    name: str
    labels: LabelConvention
    hd95: str
    fixed_penalty: float | None = None

    def penalty(self, shape: Sequence[int], spacing: Sequence[float]) -> float:
        """Return the HD95 in mm that counts where one mask is empty, for an image of this shape and spacing."""
        if self.fixed_penalty is not None:
            return self.fixed_penalty
        return math.sqrt(sum((size * step) ** 2 for size, step in zip(shape, spacing, strict=True)))

    @property
    def reference_labels(self) -> LabelConvention | None:
        """The values that a reference may have, None for those of any BraTS; 2024's resection cavity passes in 2023."""
        return BRATS_2024_LABELS if self.labels is BRATS_2023_LABELS else None

    @property
    def foreign_label(self) -> int:
        """The value that other years give to enhancing tumour; here it counts for no region."""
        return 3 if self.labels.enhancing == 4 else 4


CONVENTIONS = {
    "brats2020": Convention("brats2020", BRATS_LABELS, "pooled"),
    "brats2023": Convention("brats2023", BRATS_2023_LABELS, "surface", 374.0),
}


def find_convention(name: str) -> Convention:
    """Return a scoring rule by its name; raises UserError for an unknown one."""
    if name not in CONVENTIONS:
        raise UserError(f"convention: {name!r} found; expected one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def choose_hd95(kind: str | None, convention: Convention) -> str:
    """Return the kind of HD95 to use, the convention's own for None; raises UserError for an unknown one."""
    kind = convention.hd95 if kind is None else kind
    if kind not in HD95_KINDS:
        raise UserError(f"hd95: {kind!r} found; expected one of {', '.join(HD95_KINDS)}")
    return kind


def convention_of(cases: Iterable[tuple[str, str | None]], where: str) -> str:
    """Choose the rule by the cases' years, or their names if unknown: ``brats2023`` from 2023 on.

    Args:
        cases: the name and year of each; BraTS-GLI-... and the like are names of 2023 and later.
        where: for messages.

    Raises:
        UserError: for cases of both conventions.
    """
    late = {year in ("2023", "2024") if year else bool(MIXED_ET_NAME.match(name)) for name, year in cases}
    if len(late) > 1:
        raise UserError(f"{where}: cases of BraTS 2023 and of earlier years found together; expected --convention")
    return "brats2023" if late == {True} else "brats2020"


def region_masks(labels: np.ndarray, convention: Convention) -> np.ndarray:
    """Return ET, TC and WT masks ``(R, *S)`` bool of a label map ``(*S)``; values of other years are in none."""
    return np.stack(split_regions(labels, convention.labels))
