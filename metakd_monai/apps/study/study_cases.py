"""The cases of a study, what is known about them, and their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metakd_monai.apps.benchmark import SubsetPredictor
from metakd_monai.apps.benchmark.benchmark_items import Items, check_items, labelled_items
from metakd_monai.apps.benchmark.case_record import Scoring, read_reference
from metakd_monai.apps.predict.outputs import to_native
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import Subset
from metakd_monai.apps.study.evidence import Source
from metakd_monai.data.nifti import read_nifti, write_like
from metakd_monai.data.stream import files_in
from metakd_monai.errors import UserError
from metakd_monai.transforms import REFERENCE
from metakd_monai.transforms.images import CASE_ID
from metakd_monai.vocabulary import REGION_NAMES, name_subset

UNKNOWN = "not said"


class MaskKeeper(SubsetPredictor):
    """A predictor of subsets that also writes its label maps, as ``FOLDER/SUBSET/CASE.nii.gz`` on the case's grid."""

    def __init__(self, predictor: Predictor, folder: Path) -> None:
        super().__init__(predictor)
        self.folder = folder

    def label_maps(self, item: Mapping[str, Any], et_label: int) -> dict[Subset, np.ndarray]:
        """Return :meth:`SubsetPredictor.label_maps` after writing them."""
        maps = super().label_maps(item, et_label)
        meta = item["image"].meta
        affine = read_nifti(meta[REFERENCE]).affine
        for subset, labels in maps.items():
            native = to_native(torch.from_numpy(labels)[None], affine)[..., 0]
            write_like(mask_of(self.folder, name_subset(subset), meta[CASE_ID]), native, meta[REFERENCE])
        return maps


def mask_of(folder: Path, subset: str, case: str) -> Path:
    """Return where the mask of a case from a subset is."""
    return folder / subset / f"{case}.nii.gz"


def find_items(folders: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the labelled cases of folders given as ``DIR`` or ``DIR=LABELS``, and who drew the labels by case.

    Raises:
        UserError: when a folder has none, or two cases share a name.
    """
    items: list[dict[str, Any]] = []
    labels: dict[str, str] = {}
    for given in folders:
        name, _, said = given.partition("=")
        found = labelled_items(Path(name))
        labels |= {str(item["case_id"]): said or UNKNOWN for item in found}
        items += found
    check_items(items)
    return items, labels


def describe_items(
    items: Items, labels: Mapping[str, str], trained_on: Sequence[str], scoring: Scoring
) -> dict[str, Source]:
    """Return what is known about each readable case.

    Raises:
        UserError: for a name in ``trained_on`` that is no case.
    """
    unknown = sorted(set(trained_on) - set(labels))
    if unknown:
        raise UserError(f"--trained-on: {unknown[0]!r} found; expected names of cases: {', '.join(labels)}")
    sources = {}
    for item in items:
        name = str(item["case_id"])
        if "problem" in item:
            continue
        with suppress(UserError):  # problems of a reference are reported when its case is scored
            masks = read_reference(item, files_in(item["image"])[0], scoring.convention).masks
            there = tuple(region for region, mask in zip(REGION_NAMES, masks, strict=True) if mask.any())
            sources[name] = Source(labels[name], there, name in trained_on)
    return sources
