"""Modality dropping in training, on a schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from metakd_monai.data.stream import seed_of
from metakd_monai.errors import UserError
from metakd_monai.transforms import RandDropModalitiesd


class DropModalitiesHandler:
    """Drop modalities of each training sample anew in each iteration, on a schedule.

    Args:
        seed: of all draws. A draw depends only on it and the sample's place in the stream, not on batches or processes.
        law: see :class:`~metakd_monai.transforms.RandDropModalitiesd`.
        prob: full dropping rate.
        warm_up: first iterations without dropping, as in the official code's first phase.
        ramp: iterations over which the rate then rises from 0 to ``prob``; 0 to start with ``prob``.
        rank: which of the ``num_replicas`` processes this is.
        num_replicas: processes that share the stream out as :class:`~metakd_monai.data.stream.StreamSampler` does.
        single_modality_passes: number of a sample's modalities, drawn anew, from each of which alone it is also
            segmented (all, if it has fewer): ``available`` becomes
            ``(B, subsets_per_sample + single_modality_passes, N)``. Single sequences are the hardest subsets and are
            rarely drawn, and their features are computed anyway. RFNet (Ding et al. 2021) and mmFormer (Zhang et al.
            2022) train decoders of single modalities for the same reason.
        subsets_per_sample: number of subsets that are drawn of each sample; they share its features.
        pair: learn from two subsets of each sample, the second nested in the first. The second is drawn as usual. The
            first has all of the sample's modalities (``"all"``), or the second's and a random part of the rest
            (``"nested"``). They are equal if nothing is dropped. None for no pairs.

    Raises:
        UserError: unless ``single_modality_passes`` is a whole number from 0 and ``subsets_per_sample`` one from 1; for
            an unknown ``pair``, or one together with these two.
    """

    def __init__(
        self,
        seed: int = 0,
        law: str = "count",
        prob: float = 1.0,
        warm_up: int = 0,
        ramp: int = 0,
        rank: int = 0,
        num_replicas: int = 1,
        single_modality_passes: int = 0,
        subsets_per_sample: int = 1,
        pair: str | None = None,
    ) -> None:
        check_count("single_modality_passes", single_modality_passes, 0)
        check_count("subsets_per_sample", subsets_per_sample, 1)
        several = subsets_per_sample + single_modality_passes > 1
        if pair not in (None, "all", "nested"):
            raise UserError(f"pair: {pair!r} found; expected all, nested or none")
        if pair and several:
            raise UserError("pair: found beside subsets_per_sample or single_modality_passes; expected one of them")
        self.transform = RandDropModalitiesd(law=law)
        self.transform.set_random_state(0)  # a separate generator, seeded for each sample
        self.seed, self.prob, self.warm_up, self.ramp = seed, prob, warm_up, ramp
        self.rank, self.num_replicas = rank, num_replicas
        self.single_modality_passes, self.subsets_per_sample = single_modality_passes, subsets_per_sample
        self.pair, self.several = pair, several or pair is not None

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
        if self.transform.prob == 0 and not self.single_modality_passes and not self.pair:
            return  # all of each
        rows: list[torch.Tensor] = []
        before = (engine.state.iteration - 1) * len(batch["available"])  # samples of this process before this batch
        for number, available in enumerate(batch["available"], before):
            place = number * self.num_replicas + self.rank
            self.transform.R.seed(seed_of(self.seed, 2, place))  # cheaper than a new generator, and the same draws
            rows.append(self.subsets(available) if self.several else self.subset(available))
        batch["available"] = torch.stack(rows)

    def subset(self, available: torch.Tensor) -> torch.Tensor:
        """Return a drawn subset ``(N,)`` of the present modalities."""
        subset: torch.Tensor = self.transform({"available": available})["available"]
        return subset

    def subsets(self, available: torch.Tensor) -> torch.Tensor:
        """Return drawn subsets and single modalities of the present ones, ``(K, N)``."""
        drawn = [self.subset(available) for _ in range(self.subsets_per_sample)]
        if self.pair:
            larger = available if self.pair == "all" else drawn[0] | self.subset(available & ~drawn[0])
            return torch.stack([larger, *drawn])
        there = self.transform.R.permutation(available.nonzero().flatten().numpy())
        single = torch.as_tensor(
            np.resize(there, self.single_modality_passes)
        )  # from the first again, if there are fewer
        return torch.cat([torch.stack(drawn), torch.nn.functional.one_hot(single, len(available)).bool()])


def check_count(name: str, value: int, least: int) -> None:
    """Raise UserError unless a value is a whole number of at least ``least``."""
    if not isinstance(value, int) or value < least:
        raise UserError(f"{name}: {value!r} found; expected a whole number of at least {least}")
