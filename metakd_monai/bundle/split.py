"""Which cases of a folder or a datalist are for training, meta-validation and validation."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from monai.data import Dataset
from monai.transforms import Compose
from tqdm import tqdm

from metakd_monai.bundle.options import switch
from metakd_monai.data.cases import find_cases, find_labelled, hash_of
from metakd_monai.data.datalists import META_CASES, count_meta, datalist_part, refuse_missing
from metakd_monai.data.stream import make_dataset
from metakd_monai.errors import UserError, find_user_error
from metakd_monai.transforms import LoadImageModalitiesd, LoadLabeld

logger = logging.getLogger(__name__)


def split_cases(
    dataset_dir: str | Path,
    seed: int = 0,
    meta_cases: int = META_CASES,
    validation_fraction: float = 0.1,
    datalist: str | Path | None = None,
    fold: int = 0,
    skip_damaged: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """Split labelled cases into training, meta-validation (Algorithm 1's D_v) and validation, all disjoint.

    The split depends on the case names and the seed alone. Each part has at least one case, except validation
    if its fraction is 0.

    Args:
        dataset_dir: a folder of case folders, see :func:`~metakd_monai.data.files.find_cases`.
        seed: of the split.
        meta_cases: for meta-validation, see :func:`~metakd_monai.data.datalists.count_meta`.
        validation_fraction: share of the cases for validation; 0 for none, as in the paper. A datalist has its own.
        datalist: a file made by ``metakd datalist``, whose split is taken instead.
        fold: of the datalist that is for validation.
        skip_damaged: read every file first and leave out, with a warning, the cases that cannot be read.

    Returns:
        ``{"training": [...], "meta": [...], "validation": [...]}``, MONAI datalists.

    Raises:
        UserError: when there are fewer labelled cases than parts, a number is out of range, or files of a datalist are
            not there.
    """
    if not 0 <= validation_fraction < 0.5:
        raise UserError(f"validation_fraction: {validation_fraction} found; expected 0 or more and below 0.5")
    keep = leave_out_damaged if skip_damaged else list
    if datalist is not None:
        parts = {part: datalist_part(datalist, part, fold) for part in ("training", "meta", "validation")}
        if not skip_damaged:
            refuse_missing([item for items in parts.values() for item in items], datalist)
        return {part: keep(items) for part, items in parts.items()}
    if fold:
        raise UserError(f"fold: {fold} found without a datalist; expected --datalist FILE with it")
    cases = find_labelled(dataset_dir)
    items = keep([case.as_item() for case in cases if not (skip_damaged and case.problem)])
    least = 3 if validation_fraction else 2
    if len(items) < least:
        raise UserError(f"{dataset_dir}: {len(items)} cases with a label map found; expected at least {least}")
    items.sort(key=lambda item: hash_of(seed, item["case_id"]))
    meta = count_meta(len(items), meta_cases)
    validation = max(1, round(validation_fraction * len(items))) if validation_fraction else 0
    return {
        "training": items[meta + validation :],
        "meta": items[:meta],
        "validation": items[meta : meta + validation],
    }


class Split(Mapping[str, list[dict[str, Any]]]):
    """What :func:`split_cases` returns, computed on first use.

    MONAI Label, called by 3D Slicer, evaluates the whole configuration, although it brings its own lists of cases.

    Args:
        skip_damaged: see :func:`split_cases`; also as text from a command line.
        arguments: the others of :func:`split_cases`.

    Raises:
        UserError: for a ``skip_damaged`` that is neither true nor false; others when the split is asked for.
    """

    def __init__(self, *, skip_damaged: bool | str = False, **arguments: Any) -> None:
        self.arguments = {**arguments, "skip_damaged": switch(skip_damaged, "skip_damaged")}

    @cached_property
    def parts(self) -> dict[str, list[dict[str, Any]]]:
        """The split."""
        return split_cases(**self.arguments)

    def __getitem__(self, part: str) -> list[dict[str, Any]]:
        return self.parts[part]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


META = "for_meta_validation"  # key of an item of a datalist: whether it is for meta-validation


def join_parts(split: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the cases to learn from as one datalist, marked as training or meta-validation.

    MONAI Label replaces it by its own list, without marks; see :func:`choose_part`.

    Args:
        split: see :func:`split_cases`.
    """
    return [{**item, META: part == "meta"} for part in ("training", "meta") for item in split[part]]


def is_split(data: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether each case of a datalist is marked as training or meta-validation."""
    return all(META in item for item in data)


def choose_part(
    data: Sequence[Mapping[str, Any]], part: str, seed: int = 0, meta_cases: int = META_CASES
) -> list[dict[str, Any]]:
    """Return the cases of a datalist that are for training, or for meta-validation.

    In a list without marks, the hash of each item decides which items are for meta-validation.

    Args:
        data: a datalist.
        part: ``"training"`` or ``"meta"``.
        seed: of the choice.
        meta_cases: for meta-validation, see :func:`~metakd_monai.data.datalists.count_meta`.

    Raises:
        UserError: when there are fewer than two cases to choose from.
    """
    if not is_split(data):
        if len(data) < 2:
            raise UserError(
                f"training data: {len(data)} labelled cases found; expected at least 2, one to learn from"
                " and one for meta-validation"
            )
        ordered = sorted(data, key=lambda item: hash_of(seed, item["image"]))
        meta = count_meta(len(ordered), meta_cases)
        data = [{**item, META: number < meta} for number, item in enumerate(ordered)]
    return [
        {name: value for name, value in item.items() if name != META} for item in data if item[META] == (part == "meta")
    ]


def make_part(
    data: Sequence[Mapping[str, Any]], part: str, seed: int = 0, meta_cases: int = META_CASES, **kwargs: Any
) -> Dataset:
    """Return a MONAI data set of one part of a datalist.

    Args:
        data: see :func:`choose_part`, also for the next three.
        part: which.
        seed: of the choice.
        meta_cases: for meta-validation, see :func:`~metakd_monai.data.datalists.count_meta`.
        kwargs: :func:`~metakd_monai.data.stream.make_dataset`'s.
    """
    return make_dataset(choose_part(data, part, seed, meta_cases), **kwargs)


def leave_out_damaged(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items that can be read, label map and grid too; each other one is named in a warning."""
    load = Compose([LoadImageModalitiesd(one_file=True, log=False), LoadLabeld("label", allow_missing_keys=True)])
    readable = []
    for item in tqdm(items, desc="checking files", unit="case", disable=None):
        try:
            load(item)
            readable.append(item)
        except (UserError, RuntimeError) as error:  # Compose wraps what a transform raised
            known = find_user_error(error)
            if known is None:
                raise
            logger.warning("%s: left out: %s", item["case_id"], known)
    return readable


def list_cases(dataset_dir: str | Path, labelled: bool = False) -> list[dict[str, Any]]:
    """Return the cases of a folder as a MONAI datalist; only those with a label map if asked."""
    return [case.as_item() for case in (find_labelled if labelled else find_cases)(dataset_dir)]


def case_names(batch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Name the cases of a decollated batch, for the ``batch_transform`` of MONAI's MetricsSaver."""
    return [{"filename_or_obj": item["case_id"]} for item in batch]
