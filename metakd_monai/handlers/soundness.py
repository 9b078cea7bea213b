"""Training stops with a message at non-finite numbers; the last sound checkpoint is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ignite.engine import Engine
from torch import Tensor
from torch.optim import Optimizer

from metakd_monai.errors import UserError

CHECKPOINT = "checkpoint"  # of an engine's state: the last checkpoint that was written or loaded, in words


def check_losses(engine: Engine, losses: Mapping[str, Tensor | float], optimizer: Optimizer) -> None:
    """Refuse to continue with losses that are NaN or infinite; on a GPU this synchronises once.

    Args:
        engine: the trainer.
        losses: scalars by name.
        optimizer: whose learning rate to name.

    Raises:
        UserError: naming iteration, loss, learning rate, and the checkpoint that is sound.
    """
    values = torch.stack([torch.as_tensor(value).detach().float() for value in losses.values()]).tolist()
    for name, value in zip(losses, values, strict=True):
        if not abs(value) < float("inf"):
            raise come_to_nothing(engine, f"{name} is {value}", optimizer)


def check_states(engine: Engine, states: Mapping[str, Any], optimizer: Optimizer | None) -> None:
    """Raise UserError, as :func:`check_losses`, when a tensor in states at any depth is NaN or infinite."""
    for name, tensor in tensors_in(states):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise come_to_nothing(engine, f"{name} has numbers that are NaN or infinite", optimizer)


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors of a state dict with their names, ``optimizer.state.0.momentum_buffer``."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors_in(part, f"{name}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from tensors_in(part, f"{name}.{number}")


def come_to_nothing(engine: Engine, what: str, optimizer: Optimizer | None) -> UserError:
    """Return the error for a training with non-finite numbers."""
    rate = f" (learning rate {optimizer.param_groups[0]['lr']:g})" if optimizer else ""
    kept = getattr(engine.state, CHECKPOINT, None)
    advice = f"{kept} is from before" if kept else "There is no checkpoint from before"
    return UserError(
        f"training: {what} at iteration {engine.state.iteration}{rate}; expected finite numbers. {advice};"
        " try a lower learning rate"
    )
