"""Algorithm 1, upper problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import PrepareBatchExtraInput
from torch import Tensor, nn
from torch.optim import Optimizer

from metakd_monai.equations import fill_error
from metakd_monai.networks import scatter_rows
from metakd_monai.vocabulary import MODALITY_NAMES


class MetaUpdateHandler:
    """Algorithm 1, upper problem: every ``interval`` iterations, let the importance follow the meta-validation loss.

    One pass over the meta-validation loader with all modalities that each case has. The features of every scale are
    filled, Eq. (2), and weighed by the importance, Eq. (4); the optimizer steps once for each batch. First order: the
    network is held constant, so only the importance gets gradients. Runs before the inner step of its iteration.

    Args:
        network: has ``encode`` and ``decode``; not the DDP wrapper.
        importance: an :class:`~metakd_monai.networks.ImportanceWeights`.
        optimizer: of the importance alone.
        loss_function: l_meta, ``(pred, label)`` to scalar.
        data_loader: the meta-validation set D_v; a sampler with ``seek`` is told which pass this is.
        interval: iterations between updates.
        prepare_batch: as for the trainer; by default PrepareBatchExtraInput("available").
    """

    def __init__(
        self,
        network: nn.Module,
        importance: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[Tensor, Tensor], Tensor],
        data_loader: Iterable,
        interval: int = 100,
        prepare_batch: Callable | None = None,
    ) -> None:
        self.network: Any = network
        self.importance, self.optimizer = importance, optimizer
        self.loss_function, self.data_loader, self.interval = loss_function, data_loader, interval
        self.prepare_batch = PrepareBatchExtraInput("available") if prepare_batch is None else prepare_batch
        self.passes = 0
        self.scalars: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Run before the first iteration and every ``interval`` iterations after it."""
        engine.add_event_handler(Events.ITERATION_STARTED(event_filter=self.is_due), self)

    def is_due(self, engine: Engine, iteration: int) -> bool:
        """Tell whether this (1-based) iteration begins with an update."""
        return (iteration - 1) % self.interval == 0

    def __call__(self, engine: Engine) -> None:
        """Make one pass, and leave what was measured in ``scalars``."""
        sampler: Any = getattr(self.data_loader, "sampler", None)
        if hasattr(sampler, "seek"):
            sampler.seek(self.passes)
        was_training = self.network.training
        self.network.eval()
        steps = [self.step(batch, engine) for batch in self.data_loader]
        self.network.train(was_training)
        self.passes += 1
        means = {name: float(np.nanmean([step[name] for step in steps])) for name in steps[0]}
        weights = self.importance().tolist()
        self.scalars = means | {f"importance_{n}": w for n, w in zip(MODALITY_NAMES, weights, strict=False)}

    def step(self, batch: Mapping[str, Any], engine: Engine) -> dict[str, float]:
        """Move the importance once."""
        image, label, (available,), _ = self.prepare_batch(batch, engine.state.device, False)
        with torch.no_grad():
            features = self.network.encode(image, available)
            distances, similarities = fill_error(scatter_rows(features[-1], available), available)
        logits = self.network.decode(features, available, self.importance(), list(image.shape[2:]))
        loss = self.loss_function(logits, label)
        self.optimizer.zero_grad()
        loss.backward(inputs=list(self.importance.parameters()))
        self.optimizer.step()
        named = zip(MODALITY_NAMES, distances.tolist(), similarities.tolist(), strict=False)
        errors = {key: value for n, d, s in named for key, value in ((f"fill_l2_{n}", d), (f"fill_cosine_{n}", s))}
        return {"meta_loss": loss.item(), **errors}

    def state_dict(self) -> dict[str, Any]:
        """Return how many passes were made; importance and optimizer are saved beside it."""
        return {"passes": self.passes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the passes that were made."""
        self.passes = int(state["passes"])
