"""A case: one scan of a patient, its files, and notes about them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import ET_LABELS, Modality

MIXED_ET_NAME = re.compile(r"^BraTS-[A-Z]", re.IGNORECASE)  # BraTS-GLI-00000-000: 2023 and later


@dataclass(frozen=True)
class Case:
    """One scan of a patient.

    Attributes:
        case_id: name of the case, after which its masks are named.
        files: the file of each present modality; or one 4-D file with a channel for each modality, in channel order.
        label: its label map, if there is one.
        problem: why the case cannot be used, or None.
        label_problem: why no label was chosen although label maps exist; ignored if no label is needed.
        notes: notes for the user, one line each: which files were skipped, and why.
        warnings: what a person should check before using the mask, one line each; they are copied into its report.
    """

    case_id: str
    files: Mapping[Modality, Path] | Path
    label: Path | None = None
    problem: str | None = None
    label_problem: str | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def et_label(self) -> int:
        """Value of enhancing tumour, by the case's name: 3 for names as in BraTS 2023 and later, else 4."""
        return ET_LABELS[0] if MIXED_ET_NAME.match(self.case_id) else ET_LABELS[1]

    def for_label(self) -> Case:
        """Return the case for uses that need its label: a problem with the label becomes the case's problem."""
        return replace(self, problem=self.problem or self.label_problem)

    def as_item(self) -> dict[str, Any]:
        """Return the case as an entry of a MONAI datalist; raises UserError when it cannot be used."""
        if self.problem is not None:
            raise UserError(self.problem)
        image = str(self.files) if isinstance(self.files, Path) else {m.value: str(f) for m, f in self.files.items()}
        item: dict[str, Any] = {"image": image, "case_id": self.case_id}
        return item if self.label is None else {**item, "label": str(self.label)}


def hash_of(seed: int, name: object) -> str:
    """Return a sort key for a random-looking order that depends only on the seed and the names."""
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
