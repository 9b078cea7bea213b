"""The meta update: Algorithm 1, upper problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.optim import Optimizer

from metakd_monai.equations import fill_error, importance_ratio, without
from metakd_monai.handlers.meta_pass import MetaPassHandler
from metakd_monai.handlers.ranks import add_over_ranks
from metakd_monai.handlers.soundness import check_losses
from metakd_monai.vocabulary import MODALITY_NAMES, check_modalities


class MetaUpdateHandler(MetaPassHandler):
    """Algorithm 1, upper problem: every ``interval`` iterations, let the importance follow the meta-validation loss.

    It is one pass over the meta-validation loader, with all modalities that each case has. The features of every scale
    are filled, Eq. (2), and weighted by the importance, Eq. (4); the optimizer steps once for each batch. First order:
    the network is held constant, so only the importance gets gradients. Runs before the inner step of its iteration.

    With several processes, each goes through its share of the set, and the mean gradient over all cases moves the
    importance equally on all of them. A process that has no cases left still takes part in the steps.

    Args:
        network: has ``forward_weighted``; not the DDP wrapper.
        importance: an :class:`~metakd_monai.networks.ImportanceWeights`.
        optimizer: of the importance alone.
        loss_function: l_meta, ``(pred, label)`` to scalar.
        data_loader: the meta-validation set D_v, or this process' share, with the same length on all processes; it may
            end earlier. A sampler with ``seek`` is told which pass this is.
        interval: iterations between updates.
        prepare_batch: as for the trainer; by default PrepareBatchExtraInput("available").
        names: of the modalities, for the log.
        missing: sets of modalities, by name. How well Eq. (2) would fill each set is logged, as for each modality.

    Raises:
        UserError: (on call) when the meta loss or an importance is not finite.
    """

    def __init__(
        self,
        network: nn.Module,
        importance: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[Tensor, Tensor], Tensor],
        data_loader: Any,
        interval: int = 100,
        prepare_batch: Callable | None = None,
        names: Sequence[str] = MODALITY_NAMES,
        missing: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__(network, data_loader, interval, prepare_batch, names)
        check_modalities([name for group in missing for name in group], self.names)
        self.groups = [[n] for n in range(len(importance()))]
        self.groups += [[self.names.index(name) for name in group] for group in missing]
        self.importance, self.optimizer, self.loss_function = importance, optimizer, loss_function

    def __call__(self, engine: Engine) -> None:
        """Make one pass, and store what was measured in ``scalars``."""
        super().__call__(engine)
        watched = [name for name in self.scalars if not name.startswith("fill_")]  # NaN where there is nothing to fill
        check_losses(engine, {name: self.scalars[name] for name in watched}, self.optimizer)

    def visit(self, batch: Mapping[str, Any] | None, engine: Engine) -> list[Tensor]:
        """Update the importance by one step; return what :meth:`measure` returns."""
        self.optimizer.zero_grad()
        found = [] if batch is None else [self.measure(batch, engine)]
        self.step(0 if batch is None else len(batch["available"]))
        return found

    def measure(self, batch: Mapping[str, Any], engine: Engine) -> Tensor:
        """Compute the gradient of the importance; return sums and counts of what was measured, see :meth:`sum_up`."""
        image, label, (available,), _ = self.prepare_batch(batch, engine.state.device, False)
        logits, features = self.network.forward_weighted(image, available, self.importance())
        distances, similarities = fill_error(features, available, self.groups)
        loss = self.loss_function(logits, label)
        loss.backward(inputs=list(self.importance.parameters()))
        several = torch.stack([without(available, group)[0].sum() for group in self.groups])  # fill_error's cases
        errors = torch.cat([distances, similarities]).nan_to_num()  # NaN where there is nothing to average
        means = torch.cat([loss.detach().reshape(1), errors])
        numbers = torch.cat([loss.new_tensor([len(available)]), several.repeat(2)])
        return torch.stack([means * numbers, numbers])

    def step(self, cases: int) -> None:
        """Step once with the mean gradient over the cases of all processes; this one holds only some of them."""
        parameters = list(self.importance.parameters())
        parts = [torch.zeros_like(p) if p.grad is None else p.grad * cases for p in parameters]
        whole = add_over_ranks(torch.cat([part.flatten() for part in parts] + [parts[0].new_tensor([cases])]))
        gradients = (whole[:-1] / whole[-1]).split([p.numel() for p in parameters])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.view_as(parameter)
        self.optimizer.step()

    def sum_up(self, found: list[Tensor]) -> dict[str, float]:
        """Return means over the cases of all processes, the importance, and the largest ``w_i / w_j`` of Eq. (4).

        Args:
            found: for each batch ``(2, 1 + 2 groups)``: sums over its cases of meta loss, fill distances and fill
                similarities, and over how many cases each sum is.
        """
        size = 1 + 2 * len(self.groups)
        start = torch.zeros(2, size, dtype=torch.float64, device=self.importance().device)
        sums, numbers = add_over_ranks(sum((part.to(start) for part in found), start))
        loss, *errors = (sums / numbers).tolist()  # NaN where no case has this modality and another one
        weights = self.importance().tolist()
        row = {"meta_loss": loss, "largest_ratio": float(importance_ratio(self.importance().detach()).max())}
        groups = ["+".join(self.names[n] for n in group) for group in self.groups]
        for name, distance, similarity in zip(groups, errors, errors[len(groups) :], strict=False):
            row |= {f"fill_l2_{name}": distance, f"fill_cosine_{name}": similarity}
        return row | {f"importance_{n}": w for n, w in zip(self.names, weights, strict=False)}
