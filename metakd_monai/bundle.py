"""What bundle JSON needs and cannot say itself: where the bundle lies, and which cases are for what."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.data import Dataset
from monai.transforms import Compose
from tqdm import tqdm

from metakd_monai.cases import find_cases, hash_of
from metakd_monai.data import make_dataset
from metakd_monai.datalists import datalist_part
from metakd_monai.transforms import LoadImageModalitiesd, LoadLabeld
from metakd_monai.vocabulary import UserError, check_modalities, find_user_error

logger = logging.getLogger(__name__)

SEGMENTATION_BUNDLE = "brats_mri_metakd_segmentation"


def bundle_root(name: str = SEGMENTATION_BUNDLE) -> str:
    """Find the bundle's folder from wherever its configuration is run.

    MONAI tells a configuration neither its own path nor its folder. In this order: the folder of the
    ``--config_file`` on the command line, a bundle in Python's search path (MONAI Deploy puts it there), the current
    folder when it is a bundle, the source checkout of this package, the current folder.
    """
    here = Path.cwd()
    checkout = Path(__file__).resolve().parents[1] / "bundles" / name
    searched = [Path(folder).resolve() for folder in sys.path]
    roots = [*(path.resolve().parent.parent for path in config_files(sys.argv)), *searched, here, checkout]
    return str(next((root for root in roots if (root / "configs" / "metadata.json").is_file()), here))


def config_files(arguments: Sequence[str]) -> list[Path]:
    """Return the files given as ``--config_file`` (one, or a list in brackets) on a command line."""
    for number, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--config_file":
            value = value or (arguments[number + 1] if number + 1 < len(arguments) else "")
            return [Path(part.strip(" '\"")) for part in value.strip("[]()").split(",")]
    return []


def split_cases(
    dataset_dir: str | Path,
    seed: int = 0,
    meta_fraction: float = 0.1,
    validation_fraction: float = 0.1,
    datalist: str | Path | None = None,
    fold: int = 0,
    skip_damaged: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """Split labelled cases into training, meta-validation (Algorithm 1's D_v) and validation, all disjoint.

    The split depends on the case names and the seed alone. Each part has at least one case.

    Args:
        dataset_dir: a folder of case folders, see :func:`~metakd_monai.files.find_cases`.
        seed: of the split.
        meta_fraction: share of the cases for meta-validation.
        validation_fraction: share of the cases for validation.
        datalist: a file made by ``metakd datalist``, whose split is taken instead.
        fold: of the datalist that is for validation.
        skip_damaged: read every file first and leave out, with a warning, the cases that cannot be read.

    Returns:
        ``{"training": [...], "meta": [...], "validation": [...]}``, MONAI datalists.

    Raises:
        UserError: when there are fewer than three labelled cases, or a fraction is out of range.
    """
    for name, fraction in (("meta_fraction", meta_fraction), ("validation_fraction", validation_fraction)):
        if not 0 <= fraction < 0.5:
            raise UserError(f"{name}: {fraction} found; expected 0 or more and below 0.5")
    keep = leave_out_damaged if skip_damaged else list
    if datalist is not None:
        return {part: keep(datalist_part(datalist, part, fold)) for part in ("training", "meta", "validation")}
    cases = [case for case in find_cases(dataset_dir) if case.label is not None or case.problem is not None]
    items = keep([case.as_item() for case in cases if not (skip_damaged and case.problem)])
    if len(items) < 3:
        raise UserError(f"{dataset_dir}: {len(items)} cases with a label map found; expected at least 3")
    items.sort(key=lambda item: hash_of(seed, item["case_id"]))
    meta = max(1, round(meta_fraction * len(items)))
    validation = max(1, round(validation_fraction * len(items)))
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
    data: Sequence[Mapping[str, Any]], part: str, seed: int = 0, meta_fraction: float = 0.1
) -> list[dict[str, Any]]:
    """Return the cases of a datalist that are for training, or for meta-validation.

    Where the list does not say, meta-validation gets a share of it, at least one case, by the hash of each item.

    Args:
        data: a datalist.
        part: ``"training"`` or ``"meta"``.
        seed: of the choice.
        meta_fraction: share of the cases for meta-validation.

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
        meta = max(1, round(meta_fraction * len(ordered)))
        data = [{**item, META: number < meta} for number, item in enumerate(ordered)]
    return [
        {name: value for name, value in item.items() if name != META} for item in data if item[META] == (part == "meta")
    ]


def make_part(
    data: Sequence[Mapping[str, Any]], part: str, seed: int = 0, meta_fraction: float = 0.1, **kwargs: Any
) -> Dataset:
    """Return a MONAI data set of one part of a datalist.

    Args:
        data: see :func:`choose_part`, as for the next three.
        part: which.
        seed: of the choice.
        meta_fraction: share of the cases for meta-validation.
        kwargs: :func:`~metakd_monai.data.make_dataset`'s.
    """
    return make_dataset(choose_part(data, part, seed, meta_fraction), **kwargs)


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


def explain_errors() -> None:
    """Let an uncaught UserError end the process with its one line and status 1, not with a traceback."""

    def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = find_user_error(error)
        if known is None:
            sys.__excepthook__(kind, error, trace)
        else:
            line = str(known).splitlines()[-1]  # from a worker process, it comes after that one's traceback
            sys.stderr.write(f"metakd: {line.removeprefix(f'{UserError.__module__}.UserError: ')}\n")
            sys.stderr.flush()
            os._exit(1)  # threads that still load cases would abort an orderly end now and then

    sys.excepthook = explain


def list_cases(dataset_dir: str | Path, labelled: bool = False) -> list[dict[str, Any]]:
    """Return the cases of a folder as a MONAI datalist; only those with a label map if asked."""
    return [case.as_item() for case in find_cases(dataset_dir) if case.label is not None or not labelled]


def case_names(batch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Name the cases of a decollated batch, for the ``batch_transform`` of MONAI's MetricsSaver."""
    return [{"filename_or_obj": item["case_id"]} for item in batch]
