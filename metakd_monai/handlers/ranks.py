"""Several processes: which one writes and shows, and how numbers are combined."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import torch
from ignite.engine import Engine
from torch import Tensor
from torch import distributed as dist


def is_follower(engine: Engine) -> bool:
    """Tell whether this process is one of several and not the first, which alone writes and shows."""
    return getattr(engine.state, "rank", 0) > 0


def leave_at_once() -> None:
    """Leave the process group after an error without waiting for the others, which NCCL would do at exit.

    They fail in turn: with NCCL at once, with gloo when this process ends.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    abort = getattr(dist.distributed_c10d, "_abort_process_group", dist.destroy_process_group)  # PyTorch 2.6
    with contextlib.suppress(RuntimeError, ValueError):
        abort()


def is_lost_peer(error: RuntimeError) -> bool:
    """Tell whether an error means that another process has ended."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def add_over_ranks(values: Tensor) -> Tensor:
    """Sum a tensor of any shape over all processes, in place; with one process, leave it unchanged.

    Every process must call it, with the same shape, on a device that the process group's backend supports.
    """
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
    return values


def mean_over_ranks(row: Mapping[str, float], device: torch.device | str) -> dict[str, float]:
    """Return the mean of each number over all processes; with one process, exactly the numbers themselves."""
    if not (dist.is_available() and dist.is_initialized()):
        return dict(row)
    values = torch.tensor(list(row.values()), dtype=torch.float64, device=device)
    means = add_over_ranks(values) / dist.get_world_size()
    return dict(zip(row, means.tolist(), strict=True))
