"""Post-processing of label maps as a MONAI transform, for a bundle's configuration."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from metakd_monai.apps.predict.expectations import read_expectations
from metakd_monai.apps.predict.postprocessing import AUTO, METAKD, PostProcessing
from metakd_monai.data.files import checksum
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Label


class PostProcessLabelsd(MapTransform):
    """Post-process label maps ``(1, *S)`` as ``metakd predict`` does.

    Args:
        keys: of the label maps.
        weights: the file that they were made with; without it, ``"auto"`` means no rule.
        rule: see :mod:`metakd_monai.apps.predict.postprocessing`. Not ``metakd``, whose axes a label map on its
            image's own grid may not have.
        et_label: value of enhancing tumour, 3 or 4.
        allow_missing_keys: as in MONAI.

    Raises:
        UserError: for an unknown rule, or ``metakd``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path,
        rule: str = AUTO,
        et_label: int = int(Label.ET),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.rule, self.et_label = PostProcessing.asked(rule) or rule_of(Path(weights)), et_label
        if self.rule.name == METAKD:
            raise UserError(f"postprocessing: {METAKD} found; expected a rule that does not depend on axes")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with its label maps processed."""
        item = dict(data)
        for key in self.key_iterator(item):
            labels = item[key]
            processed = torch.from_numpy(self.rule(labels[0].cpu().numpy(), self.et_label))
            item[key] = torch.empty_like(labels).copy_(processed[None])
        return item


def rule_of(weights: Path) -> PostProcessing:
    """Return the rule that goes with weights; ``none`` if the file does not exist."""
    return read_expectations(weights, checksum(weights)).postprocessing if weights.is_file() else PostProcessing()
