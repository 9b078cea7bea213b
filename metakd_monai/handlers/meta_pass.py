"""A pass over the meta-validation cases at a fixed interval of iterations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import PrepareBatchExtraInput
from torch import Tensor

from metakd_monai.vocabulary import MODALITY_NAMES


class MetaPassHandler(ABC):
    """Go through the meta-validation set every ``interval`` iterations, before the inner step, network in eval mode.

    With several processes, each goes through its share, all in the same number of steps.

    Args:
        network: not the DDP wrapper.
        data_loader: the meta-validation set D_v, or this process' share, with the same length on all processes; it may
            end earlier. A sampler with ``seek`` is told which pass this is.
        interval: iterations between passes.
        prepare_batch: as for the trainer; by default PrepareBatchExtraInput("available").
        names: of the modalities, for the log.
    """

    def __init__(
        self,
        network: Any,
        data_loader: Any,
        interval: int = 100,
        prepare_batch: Callable | None = None,
        names: Sequence[str] = MODALITY_NAMES,
    ) -> None:
        self.network, self.data_loader, self.interval = network, data_loader, interval
        self.prepare_batch = PrepareBatchExtraInput("available") if prepare_batch is None else prepare_batch
        self.names = tuple(names)
        self.passes = 0
        self.scalars: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Run before those iterations that are due."""
        engine.add_event_handler(Events.ITERATION_STARTED(event_filter=self.is_due), self)

    def is_due(self, engine: Engine, iteration: int) -> bool:
        """Tell whether this (1-based) iteration begins with a pass: the first, and every ``interval`` after it."""
        return (iteration - 1) % self.interval == 0

    def __call__(self, engine: Engine) -> None:
        """Make one pass, and store what was measured in ``scalars``."""
        sampler: Any = getattr(self.data_loader, "sampler", None)
        if hasattr(sampler, "seek"):
            sampler.seek(self.passes)
        was_training = self.network.training
        self.network.eval()
        batches, found = iter(self.data_loader), []
        for _ in repeat(None, len(self.data_loader)):
            found += self.visit(next(batches, None), engine)
        self.network.train(was_training)
        self.passes += 1
        self.scalars = self.sum_up(found)

    @abstractmethod
    def visit(self, batch: Mapping[str, Any] | None, engine: Engine) -> list[Tensor]:
        """Do one step and return what was measured; the batch is None if this process has no more."""

    @abstractmethod
    def sum_up(self, found: list[Tensor]) -> dict[str, float]:
        """Combine what was measured in all steps of all processes into a row of the log."""

    def state_dict(self) -> dict[str, Any]:
        """Return the number of passes so far; importance and optimizer are saved separately."""
        return {"passes": self.passes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the passes already made."""
        self.passes = int(state["passes"])


class NoMetaPassHandler:
    """Replaces the meta update for methods that do not use the meta-validation cases."""

    scalars: Mapping[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Do nothing."""

    def __call__(self, engine: Engine) -> None:
        """Do nothing; MONAI requires handlers in a configuration to be callable."""

    def is_due(self, engine: Engine, iteration: int) -> bool:
        """Return False, so that nothing is logged."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state: there is nothing to resume."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""
