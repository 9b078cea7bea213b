"""Training data, read once and cached, as one endless, seeded stream that can be entered at any point.

Every draw of a case has its own seed, made from the run's seed and its position in the stream. So draws depend
neither on the number of workers nor on whether the run was stopped and resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import CacheDataset, Dataset, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.transforms import Randomizable
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from metakd_monai.errors import find_user_error


def seed_of(*numbers: int) -> int:
    """Mix non-negative integers into one 32-bit seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def make_dataset(
    data: Sequence[Mapping[str, Any]],
    transform: Callable[..., Any],
    cache_num: int = 0,
    cache_dir: str | Path | None = None,
    num_workers: int = 0,
) -> Dataset:
    """Return a MONAI data set that caches the output of its deterministic transforms, in memory or on disk.

    Args:
        data: a datalist.
        transform: a Compose. Cached data are not copied for each draw: random transforms must not change them in place
            (MONAI's crops, zooms, flips and intensity changes do not).
        cache_num: cases to keep in memory; not used with ``cache_dir``.
        cache_dir: keep all cases on disk instead. A change of the transforms, or of a file's size or modification
            time, makes a new entry.
        num_workers: threads that fill the cache.
    """
    if cache_dir is None:
        return CacheDataset(
            data, transform, cache_num=cache_num, num_workers=num_workers, progress=False, copy_cache=False
        )
    return PersistentDataset(data, transform, cache_dir, hash_func=hash_item, hash_transform=pickle_hashing)


def hash_item(item: Mapping[str, Any]) -> bytes:
    """Hash an item of a datalist, with size and modification time of each file in it."""
    stats = [(path.stat().st_size, path.stat().st_mtime_ns) for path in files_in(item)]
    return bytes(pickle_hashing({"item": dict(item), "stats": stats}))


def files_in(value: Any) -> list[Path]:
    """List the files in an item of a datalist, at any depth."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [path for part in value for path in files_in(part)]
    return [Path(value)] if isinstance(value, str) and Path(value).is_file() else []


class SeededDataset(TorchDataset):
    """Apply a MONAI data set's random transforms under the seed that comes with each draw.

    Args:
        dataset: a MONAI data set (CacheDataset and PersistentDataset too) whose ``transform`` is a Compose.
        seed_key: key for the seed in the item, for later transforms; None to leave it out.
    """

    def __init__(self, dataset: Dataset, seed_key: str | None = None) -> None:
        self.dataset, self.seed_key = dataset, seed_key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: tuple[int, int]) -> Any:
        """Return the case of ``draw = (index, seed)``."""
        index, seed = draw
        if isinstance(self.dataset.transform, Randomizable):
            self.dataset.transform.set_random_state(seed=seed)
        try:
            item = self.dataset[index]
        except RuntimeError as error:  # MONAI's Compose wraps the transform's error
            known = find_user_error(error)
            if known is None:
                raise
            raise known from error
        if self.seed_key is not None:
            several = isinstance(item, list)  # after transforms that draw several crops
            parts = [{**part, self.seed_key: seed} for part in (item if several else [item])]
            return parts if several else parts[0]
        return item


class StreamSampler(Sampler[tuple[int, int]]):
    """Endless passes over a data set, each in a new order, as ``(index, seed)`` for :class:`SeededDataset`.

    Args:
        data_source: anything with a length.
        seed: of the order and of every draw.
        batch_size: cases per iteration on this rank; converts iterations to positions in the stream.
        rank: which of the ``num_replicas`` processes this is.
        num_replicas: processes that share the stream, one case each in turn: together, their batches of one iteration
            equal the batch of a single process with ``num_replicas`` times the batch size.
        endless: False for exactly one pass, starting where :meth:`seek` points.

    Raises:
        ValueError: if the data source is empty.
    """

    def __init__(
        self,
        data_source: Sized,
        seed: int = 0,
        batch_size: int = 1,
        rank: int = 0,
        num_replicas: int = 1,
        endless: bool = True,
    ) -> None:
        if len(data_source) == 0:
            raise ValueError("no cases: the data set is empty.")
        self.data_source = data_source
        self.seed, self.batch_size = seed, batch_size
        self.rank, self.num_replicas, self.endless = rank, num_replicas, endless
        self.iteration = 0

    def seek(self, iteration: int) -> None:
        """Make the next iterator start as if ``iteration`` batches had been drawn (one pass each, if not endless)."""
        self.iteration = iteration

    def __len__(self) -> int:
        """Return the number of cases of one pass, on the process with most of them."""
        return math.ceil(len(self.data_source) / self.num_replicas)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index, place in self.places():
            yield index, seed_of(self.seed, 1, place)

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield ``(index, position in the stream)`` where iterating yields ``(index, seed)``."""
        size = len(self.data_source)
        step = size if not self.endless else self.batch_size * self.num_replicas
        start = place = self.iteration * step
        order_of = -1  # the pass that `order` is of
        while self.endless or place < start + size:
            if (place - start) % self.num_replicas == self.rank:
                if place // size != order_of:
                    order_of = place // size
                    order = np.random.default_rng([self.seed, 0, order_of]).permutation(size)
                yield int(order[place % size]), place
            place += 1
