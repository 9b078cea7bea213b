"""Options of a configuration: a choice of parts, switches, the learning-rate schedule, seeds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import check_modalities

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

POLYNOMIAL_POWER = 0.9  # as in the official code


def pick(choices: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return some of several parts of a configuration, in the order of the names.

    Raises:
        UserError: for a name that is not among them.
    """
    check_modalities(names, choices)
    return {name: choices[name] for name in names}


def switch(value: bool | str, name: str = "option") -> bool:
    """Read an option that is on or off, also as the text ``true`` or ``False`` from a command line.

    Raises:
        UserError: for anything else.
    """
    known = {"true": True, "false": False}
    text = str(value).lower()
    if text not in known:
        raise UserError(f"{name}: {value!r} found; expected true or false")
    return known[text]


def make_lr_scheduler(optimizer: Optimizer, iterations: int, law: str = "cosine") -> LRScheduler:
    """Return a scheduler that takes a learning rate down to 0.

    Args:
        optimizer: whose rate it is.
        iterations: number of iterations after which it is 0.
        law: ``"cosine"`` (the paper's) or ``"polynomial"`` (the official code's).

    Raises:
        UserError: for another law.
    """
    from torch.optim.lr_scheduler import CosineAnnealingLR, PolynomialLR

    if law == "cosine":
        return CosineAnnealingLR(optimizer, T_max=iterations)
    if law == "polynomial":
        return PolynomialLR(optimizer, total_iters=iterations, power=POLYNOMIAL_POWER)
    raise UserError(f"lr_schedule: {law!r} found; expected cosine or polynomial")


def set_up_randomness(seed: int, deterministic: bool = False) -> None:
    """Seed all global generators, and choose between exact and fast algorithms on a GPU.

    Args:
        seed: of the run.
        deterministic: use only algorithms that give the same bits each time (an operation without one raises an
            error); else cuDNN tries several for each shape and takes the fastest.
    """
    import torch
    from monai.utils import set_determinism

    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs this for it, before its first use
    set_determinism(seed=seed, use_deterministic_algorithms=deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
