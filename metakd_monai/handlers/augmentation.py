"""Random transforms on the device of the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose


class AugmentHandler:
    """Run the last random transforms on the batch, on the engine's device instead of in the loader's workers.

    Each sample is transformed with the seed of its draw, so the result is the one that the workers would have made.

    Args:
        transform: all transforms, those of the loader too: MONAI seeds the parts of a Compose one after another.
        start: how many of them the loader has run already.
        keys: of the batch's entries to transform, each ``(B, C, *S)``.
        seed_key: of the batch's entry where :class:`~metakd_monai.data.stream.SeededDataset` left the seeds, ``(B,)``.
    """

    def __init__(
        self, transform: Compose, start: int, keys: Sequence[str] = ("image", "label"), seed_key: str = "seed"
    ) -> None:
        self.transform, self.start, self.keys, self.seed_key = transform, start, tuple(keys), seed_key

    def attach(self, engine: Engine) -> None:
        """Act on each batch before the inner step."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Replace the batch's tensors."""
        batch: Any = engine.state.batch
        whole = {key: batch[key].to(engine.state.device, non_blocking=True) for key in self.keys}
        items = []
        for place, seed in enumerate(batch[self.seed_key].tolist()):
            self.transform.set_random_state(seed=seed)
            items.append(self.transform({key: values[place] for key, values in whole.items()}, start=self.start))
        batch.update({key: torch.stack([item[key] for item in items]) for key in self.keys})
