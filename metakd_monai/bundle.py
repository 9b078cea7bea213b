"""What bundle JSON needs and cannot say itself: which cases are for what, seeds, processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from monai.data import Dataset
from monai.transforms import Compose
from tqdm import tqdm

from metakd_monai.cases import find_cases, find_labelled, hash_of
from metakd_monai.data import make_dataset
from metakd_monai.datalists import META_CASES, count_meta, datalist_part, refuse_missing
from metakd_monai.shipped import bundle_root as bundle_root  # for bundle JSON
from metakd_monai.shipped import output_folder as output_folder
from metakd_monai.transforms import LoadImageModalitiesd, LoadLabeld
from metakd_monai.vocabulary import UserError, check_modalities, find_user_error

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

    The split depends on the case names and the seed alone. Each part has at least one case, but for a validation that
    is not wanted.

    Args:
        dataset_dir: a folder of case folders, see :func:`~metakd_monai.files.find_cases`.
        seed: of the split.
        meta_cases: for meta-validation, see :func:`~metakd_monai.datalists.count_meta`.
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
    """What :func:`split_cases` returns, made when it is first asked for.

    MONAI Label, called by 3D Slicer, evaluates all of a configuration, and has put lists of its own in its place.

    Args:
        arguments: of :func:`split_cases`.
    """

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    @cached_property
    def parts(self) -> dict[str, list[dict[str, Any]]]:
        """The split."""
        return split_cases(*self.arguments)

    def __getitem__(self, part: str) -> list[dict[str, Any]]:
        return self.parts[part]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


META = "for_meta_validation"  # of an item of a datalist: whether a split says that it is


def join_parts(split: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the cases to learn from as one datalist, marked as training or meta-validation.

    MONAI Label puts a list of its own, without marks, in its place; see :func:`choose_part`.

    Args:
        split: see :func:`split_cases`.
    """
    return [{**item, META: part == "meta"} for part in ("training", "meta") for item in split[part]]


def is_split(data: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a datalist says of each case which part it is for."""
    return all(META in item for item in data)


def choose_part(
    data: Sequence[Mapping[str, Any]], part: str, seed: int = 0, meta_cases: int = META_CASES
) -> list[dict[str, Any]]:
    """Return the cases of a datalist that are for training, or for meta-validation.

    Where the list does not say, meta-validation gets some of it, by the hash of each item.

    Args:
        data: a datalist.
        part: ``"training"`` or ``"meta"``.
        seed: of the choice.
        meta_cases: for meta-validation, see :func:`~metakd_monai.datalists.count_meta`.

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
        data: see :func:`choose_part`, as for the next three.
        part: which.
        seed: of the choice.
        meta_cases: for meta-validation, see :func:`~metakd_monai.datalists.count_meta`.
        kwargs: :func:`~metakd_monai.data.make_dataset`'s.
    """
    return make_dataset(choose_part(data, part, seed, meta_cases), **kwargs)


def pick(choices: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return some of several parts of a configuration, in the order of the names.

    Raises:
        UserError: for a name that is not among them.
    """
    check_modalities(names, choices)
    return {name: choices[name] for name in names}


def switch(value: bool | str, name: str = "option") -> bool:
    """Read an option that is on or off; a command line's ``true`` and ``False`` alike.

    Raises:
        UserError: for anything else.
    """
    known = {"true": True, "false": False}
    text = str(value).lower()
    if text not in known:
        raise UserError(f"{name}: {value!r} found; expected true or false")
    return known[text]


def set_up_randomness(seed: int, deterministic: bool = False) -> None:
    """Seed all global generators, and choose between exact and fast algorithms on a GPU.

    Args:
        seed: of the run.
        deterministic: only algorithms that give the same bits each time (an operation that has none raises an error);
            else cuDNN tries several for each shape and takes the fastest.
    """
    import torch
    from monai.utils import set_determinism

    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it, before its first use
    set_determinism(seed=seed, use_deterministic_algorithms=deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic


def join_processes(backend: str) -> None:
    """Start torch.distributed in a worker of torchrun.

    torchrun's store outlives its workers, and after a restart one may read there where a dead one had listened
    (pytorch/pytorch#135712). On one machine each attempt therefore has its own corner of the store. Several machines
    may count attempts differently; there TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 has to be set for torchrun.

    Args:
        backend: nccl or gloo.
    """
    from torch.distributed.distributed_c10d import PrefixStore, init_process_group
    from torch.distributed.rendezvous import rendezvous

    store, rank, world_size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    init_process_group(backend, store=store, rank=rank, world_size=world_size)


def leave_processes() -> None:
    """End what :func:`join_processes` began, when all processes have come here; without it, do nothing.

    A thread of gloo may still hold tensors of the last collective, and a process that ends before the thread has let
    go of them aborts now and then (pytorch/pytorch#179291). Waiting for the others gives it the time, and none leaves
    while the first one writes.
    """
    from torch import distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def leave_out_damaged(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items that can be read, label map and grid too; each other one is named in a warning."""
    load = Compose([LoadImageModalitiesd(log=False), LoadLabeld("label", allow_missing_keys=True)])
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
