"""The loss on validation cases, beside their Dice (the paper's Fig. 5c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import Tensor

from metakd_monai.handlers.ranks import add_over_ranks


class ValidationLossHandler:
    """Add the mean loss over an evaluator's cases to its metrics, as ``val_loss``.

    It is computed on the logits, before post-processing turns them into masks, over the cases of all processes.

    Args:
        loss_function: ``(pred, label)`` to scalar.
    """

    NAME = "val_loss"

    def __init__(self, loss_function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.loss_function = loss_function
        self.losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator."""
        engine.add_event_handler(Events.STARTED, self.losses.clear)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.note)

    def __call__(self, engine: Engine) -> None:
        """Measure one batch."""
        output: Any = engine.state.output
        self.losses.append(float(self.loss_function(output[CommonKeys.PRED].float(), output[CommonKeys.LABEL])))

    def note(self, engine: Engine) -> None:
        """Add the mean to the metrics."""
        total, number = sum(self.losses), float(len(self.losses))
        sums = add_over_ranks(torch.tensor([total, number], dtype=torch.float64, device=engine.state.device))
        engine.state.metrics[self.NAME] = float(sums[0] / sums[1])
