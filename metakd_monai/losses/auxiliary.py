"""Auxiliary losses: of a network's outputs beside its prediction."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metakd_monai.errors import UserError


class AuxiliaryLoss(nn.Module):
    """The weighted sum of a network's auxiliary losses; several with the same name are averaged.

    Args:
        loss_function: the task loss, ``(pred, label)`` to scalar, for auxiliary predictions.
        weights: weight of each, by name.

    Raises:
        UserError: (on call) for an auxiliary loss without a weight.
    """

    def __init__(self, loss_function: Callable[[Tensor, Tensor], Tensor], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.loss_function, self.weights = loss_function, dict(weights)

    def forward(self, extras: Sequence[Any], label: Tensor) -> Tensor:
        """Return a scalar.

        Args:
            extras: see :class:`~metakd_monai.networks.methods.Extra`.
            label: ``(B, R, *S)``.
        """
        named: dict[str, list[Tensor]] = {}
        for name, value, rows in extras:
            loss = value if rows is None else self.loss_function(value, label.index_select(0, rows))
            named.setdefault(name, []).append(loss)
        unknown = sorted(named.keys() - self.weights.keys())
        if unknown:
            raise UserError(f"auxiliary_loss: no weight of {unknown[0]} found; expected one in {self.weights}")
        parts = [self.weights[name] * torch.stack(losses).mean() for name, losses in named.items()]
        return torch.stack(parts).sum() if parts else label.new_zeros(())
