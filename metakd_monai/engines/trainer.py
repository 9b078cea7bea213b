"""Algorithm 1, lower problem: MONAI's SupervisedTrainer with the loss of the inner step.

The upper problem is :class:`metakd_monai.handlers.MetaUpdateHandler`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.trainer import Trainer
from monai.inferers import SimpleInferer
from monai.utils.enums import CommonKeys
from torch import Tensor, nn
from torch import distributed as dist

from metakd_monai.errors import UserError, in_one_line
from metakd_monai.handlers.logs import LOSS_PARTS
from metakd_monai.handlers.ranks import is_lost_peer, leave_at_once
from metakd_monai.handlers.soundness import check_losses
from metakd_monai.losses import DistillationLoss
from metakd_monai.networks import WithFeatures

TASK_LOSS, DISTILLATION_LOSS, SUBSET_LOSS, AUXILIARY_LOSS = LOSS_PARTS
AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class MetaKDTrainer(SupervisedTrainer):
    """Train the network on ``l_task + alpha * distillation``, Eq. (4), with the importance held fixed.

    ``engine.state.output`` holds ``pred`` (logits) and ``loss`` as MONAI's trainer does, and ``task_loss`` and
    ``distillation_loss``, and ``subset_loss`` and ``auxiliary_loss`` where there is one. Where ``available`` is
    ``(B, K, N)``, K subsets of each sample are learned from at once, and ``pred`` is that of the first.

    Args:
        network: has ``forward_features`` (see :class:`~metakd_monai.networks.WithFeatures`), or gives prediction,
            features and availability from ``forward``, as DDP around a WithFeatures does.
        loss_function: the task loss, ``(pred, label)`` to scalar.
        importance: gives the normalised importance ``(N,)`` when called.
        distillation: ``(features, available, importance)`` to scalar; by default the paper's, p = 1.
        alpha: weight of the distillation; 0 switches it off.
        alpha_warm_up: number of first iterations without distillation. Distillation from the start can make the deepest
            features equal before they are informative (docs/results/ablation.md).
        subset_loss: ``(pred, label)`` to scalar, added to the loss as it is; ``pred`` are the logits of all subsets,
            ``(K, B, ...)``. For other methods than MetaKD (docs/explanation/methods.md).
        auxiliary_loss: ``(extras, label)`` to scalar, added to the loss as it is; ``extras`` are what a network gives
            beside its prediction (:class:`~metakd_monai.losses.AuxiliaryLoss`).
        max_iterations: stop after so many iterations, also in the middle of an epoch.
        amp: run the network in mixed precision, on any device; the losses are computed in fp32.
        amp_dtype: ``"bf16"``, or ``"fp16"`` with a GradScaler.
        accumulation_steps: iterations over which gradients are averaged for one step (1 with MONAI 1.5).
        kwargs: MONAI's SupervisedTrainer's; ``prepare_batch`` must hand out ``available`` ``(B, N)``.

    Raises:
        UserError: for another amp_dtype, or accumulation_steps that are not a whole number above 0; in training, for a
            loss that is not finite.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss_function: Callable[[Tensor, Tensor], Tensor],
        importance: nn.Module,
        distillation: nn.Module | None = None,
        alpha: float = 0.1,
        alpha_warm_up: int = 0,
        subset_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        auxiliary_loss: Callable[[Any, Tensor], Tensor] | None = None,
        max_iterations: int | None = None,
        amp: bool = False,
        amp_dtype: str = "bf16",
        accumulation_steps: int = 1,
        **kwargs: Any,
    ) -> None:
        if hasattr(network, "forward_features"):
            network = WithFeatures(network)
        dtype = check_options(amp_dtype, accumulation_steps)
        if accumulation_steps > 1:
            kwargs["accumulation_steps"] = accumulation_steps
        # MONAI's amp is autocast for CUDA and a GradScaler: what fp16 needs there. The rest is `infer`.
        scaled = amp and dtype == torch.float16
        self.inner_inferer = kwargs.pop("inferer", None) or SimpleInferer()
        kwargs |= {"amp": scaled, "amp_kwargs": {"dtype": dtype}, "inferer": self.infer}
        super().__init__(network=network, loss_function=self.inner_loss, **kwargs)
        self.scaler = torch.amp.GradScaler(self.state.device.type) if scaled else None
        self.mixed, self.amp_dtype = amp, dtype
        self.task_loss = loss_function
        self.importance = importance
        self.distillation = DistillationLoss() if distillation is None else distillation
        self.alpha, self.alpha_warm_up = alpha, alpha_warm_up
        self.subset_loss, self.auxiliary_loss = subset_loss, auxiliary_loss
        self.max_iterations = max_iterations
        self.add_event_handler(Events.STARTED, self.enter_stream)
        self.add_event_handler(Events.ITERATION_COMPLETED, self.stop_in_time)

    def run(self) -> None:
        """Run as MONAI's trainer does, but keep this trainer's GradScaler: MONAI would make a new one, for CUDA.

        After an error this process leaves torch.distributed without waiting for the others, which then fail too.

        Raises:
            UserError: for a loss that is not finite, and when another process has ended.
        """
        several = dist.is_available() and dist.is_initialized()
        try:
            super(Trainer, self).run()
        except BaseException as error:
            leave_at_once()
            if several and isinstance(error, RuntimeError) and is_lost_peer(error):
                raise UserError(f"training: another process has ended, and says why ({in_one_line(error)})") from error
            raise

    def _iteration(self, engine: Any, batchdata: Any) -> dict[str, Any]:
        """Make one step, before any handler of its completion; refuses losses that are not finite."""
        output: dict[str, Any] = super()._iteration(engine, batchdata)
        first: Any = (
            output[0] if isinstance(output, list) else output
        )  # MONAI has split (decollated) the batch into cases
        watched = (CommonKeys.LOSS, *LOSS_PARTS)
        check_losses(engine, {str(name): first[name] for name in watched if name in first}, self.optimizer)
        return output

    def infer(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return the network's output for images ``(B, N, *S)``, in fp32 even after mixed precision."""
        with torch.autocast(self.state.device.type, self.amp_dtype, enabled=self.mixed):
            logits, features, available, *extras = self.inner_inferer(inputs, network, *args, **kwargs)
        if not self.mixed:
            return logits, features, available, *extras
        return (
            logits.float(),
            features.float(),
            available,
            *([e._replace(value=e.value.float()) for e in x] for x in extras),
        )

    def inner_loss(self, output: tuple[Any, ...], label: Tensor) -> Tensor:
        """Return the lower objective, Eq. (4) or another method's; MONAI calls it with the network's output."""
        logits, features, available, *extras = output
        subsets = len(logits) // len(label)
        task = self.task_loss(logits, label.expand(subsets, *label.shape).flatten(0, 1))  # one subset: without a copy
        loss = task
        distance = torch.zeros_like(task)
        if self.alpha and self.state.iteration > self.alpha_warm_up:
            distance = self.distillation(features, available, self.importance().detach())
            loss = task + self.alpha * distance
        if self.subset_loss is not None:
            between = self.subset_loss(logits.unflatten(0, (subsets, len(label))), label)
            loss = loss + between
            self.state.output[SUBSET_LOSS] = between.detach()
        if self.auxiliary_loss is not None and extras:
            beside = self.auxiliary_loss(extras[0], label)
            loss = loss + beside
            self.state.output[AUXILIARY_LOSS] = beside.detach()
        self.state.output.update(
            {CommonKeys.PRED: logits[: len(label)], TASK_LOSS: task.detach(), DISTILLATION_LOSS: distance.detach()}
        )
        return loss

    def parameters(self) -> list[nn.Parameter]:
        """List the parameters that the optimizer updates."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def inner_state(self) -> dict[str, Any]:
        """Return the state of the inner step beside network and optimizer: loss scale, accumulated gradients."""
        accumulates = getattr(self, "accumulation_steps", 1) > 1
        return {
            "scaler": self.scaler.state_dict() if self.scaler else {},
            "gradients": [parameter.grad for parameter in self.parameters()] if accumulates else [],
        }

    def load_inner_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`inner_state` returned."""
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        for parameter, gradient in zip(self.parameters(), state["gradients"], strict=False):
            parameter.grad = gradient

    def enter_stream(self) -> None:
        """Start the data stream where a resumed run had stopped."""
        sampler: Any = getattr(self.data_loader, "sampler", None)
        if hasattr(sampler, "seek"):
            sampler.seek(self.state.iteration)
        self.stop_in_time()

    def stop_in_time(self) -> None:
        """End the run at ``max_iterations``."""
        if self.max_iterations is not None and self.state.iteration >= self.max_iterations:
            self.terminate()


def check_options(amp_dtype: str, accumulation_steps: int) -> torch.dtype:
    """Return the dtype of a name; raises UserError for invalid options."""
    if amp_dtype not in AMP_DTYPES:
        raise UserError(f"amp_dtype: {amp_dtype!r} found; expected {' or '.join(AMP_DTYPES)}")
    if not isinstance(accumulation_steps, int) or accumulation_steps < 1:
        raise UserError(f"accumulation_steps: {accumulation_steps!r} found; expected a whole number of at least 1")
    return AMP_DTYPES[amp_dtype]
