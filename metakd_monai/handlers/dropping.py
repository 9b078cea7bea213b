"""Missing modalities in training, on a schedule."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events

from metakd_monai.data import seed_of
from metakd_monai.transforms import RandDropModalitiesd


class DropModalitiesHandler:
    """Drop modalities of each training sample anew in each iteration, on a schedule.

    Args:
        seed: of all draws; each depends on it, the iteration and the place in the batch alone.
        law: see :class:`~metakd_monai.transforms.RandDropModalitiesd`.
        prob: full dropping rate.
        warm_up: iterations with everything that is there, as in the official code's first phase.
        ramp: iterations over which the rate then rises from 0 to ``prob``; 0 for a jump.
        rank: of this process, so that ranks draw differently.
    """

    def __init__(
        self, seed: int = 0, law: str = "count", prob: float = 1.0, warm_up: int = 0, ramp: int = 0, rank: int = 0
    ) -> None:
        self.transform = RandDropModalitiesd(law=law)
        self.seed, self.prob, self.warm_up, self.ramp, self.rank = seed, prob, warm_up, ramp, rank

    def attach(self, engine: Engine) -> None:
        """Act on each batch before the inner step."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def rate(self, iteration: int) -> float:
        """Return the dropping rate of a (1-based) iteration."""
        past = iteration - self.warm_up
        if past <= 0:
            return 0.0
        return self.prob * min(1.0, past / self.ramp) if self.ramp else self.prob

    def __call__(self, engine: Engine) -> None:
        """Replace ``available`` ``(B, N)`` in the engine's batch."""
        batch: Any = engine.state.batch
        self.transform.prob = self.rate(engine.state.iteration)
        rows = []
        for place, available in enumerate(batch["available"]):
            self.transform.set_random_state(seed_of(self.seed, 2, engine.state.iteration, self.rank, place))
            rows.append(self.transform({"available": available})["available"])
        batch["available"] = torch.stack(rows)
