"""Algorithm 1, lower problem: MONAI's SupervisedTrainer with the loss of the inner step.

The upper problem is :class:`metakd_monai.handlers.MetaUpdateHandler`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.utils.enums import CommonKeys
from torch import Tensor, nn

from metakd_monai.losses import DistillationLoss
from metakd_monai.networks import WithFeatures

TASK_LOSS = "task_loss"
DISTILLATION_LOSS = "distillation_loss"


class MetaKDTrainer(SupervisedTrainer):
    """Train the network on ``l_task + alpha * distillation``, Eq. (4), with the importance held fixed.

    ``engine.state.output`` holds ``pred`` (logits) and ``loss`` as MONAI's trainer does, and ``task_loss`` and
    ``distillation_loss``.

    Args:
        network: has ``forward_features`` (see :class:`~metakd_monai.networks.WithFeatures`), or gives prediction,
            features and availability from ``forward``, as DDP around a WithFeatures does.
        loss_function: the task loss, ``(pred, label)`` to scalar.
        importance: gives the normalised importance ``(N,)`` when called.
        distillation: ``(features, available, importance)`` to scalar; by default the paper's, p = 1.
        alpha: weight of the distillation; 0 leaves it out altogether.
        max_iterations: stop after so many iterations, also in the middle of an epoch.
        kwargs: MONAI's SupervisedTrainer's; ``prepare_batch`` must hand out ``available`` ``(B, N)``.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss_function: Callable[[Tensor, Tensor], Tensor],
        importance: nn.Module,
        distillation: nn.Module | None = None,
        alpha: float = 0.1,
        max_iterations: int | None = None,
        **kwargs: Any,
    ) -> None:
        if hasattr(network, "forward_features"):
            network = WithFeatures(network)
        super().__init__(network=network, loss_function=self.inner_loss, **kwargs)
        self.task_loss = loss_function
        self.importance = importance
        self.distillation = DistillationLoss() if distillation is None else distillation
        self.alpha = alpha
        self.max_iterations = max_iterations
        self.add_event_handler(Events.STARTED, self.enter_stream)
        self.add_event_handler(Events.ITERATION_COMPLETED, self.stop_in_time)

    def inner_loss(self, output: tuple[Tensor, Tensor, Tensor], label: Tensor) -> Tensor:
        """Return the lower objective of Eq. (4); SupervisedTrainer calls this on what the network gave."""
        logits, features, available = output
        task = self.task_loss(logits, label)
        loss = task
        distance = torch.zeros_like(task)
        if self.alpha:
            distance = self.distillation(features, available, self.importance().detach())
            loss = task + self.alpha * distance
        self.state.output.update(
            {CommonKeys.PRED: logits, TASK_LOSS: task.detach(), DISTILLATION_LOSS: distance.detach()}
        )
        return loss

    def enter_stream(self) -> None:
        """Start the data where a resumed run had stopped."""
        sampler: Any = getattr(self.data_loader, "sampler", None)
        if hasattr(sampler, "seek"):
            sampler.seek(self.state.iteration)
        self.stop_in_time()

    def stop_in_time(self) -> None:
        """End the run at ``max_iterations``."""
        if self.max_iterations is not None and self.state.iteration >= self.max_iterations:
            self.terminate()
