"""Batches of modalities of different kinds. Samples are small: they stay in memory and are drawn a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from monai.data.utils import list_data_collate
from monai.engines.utils import PrepareBatch
from monai.utils.enums import CommonKeys
from torch import Tensor

from metakd_monai.data.stream import StreamSampler, seed_of
from metakd_monai.errors import UserError

Batch = dict[str, Any]


class BatchLoader:
    """A stream of batches from a datalist of tensors, which are stacked once; a DataLoader for small samples.

    Args:
        data: items with the same keys and shapes; values that are not tensors become lists.
        batch_size: samples of a batch.
        seed: of the order and of ``augment``.
        endless: False for exactly one pass, see :class:`~metakd_monai.data.stream.StreamSampler`.
        shuffle: False for one pass in the order of the datalist.
        augment: changes a batch, ``(batch, seed)`` to batch; the seed depends on the place in the stream alone.

    Raises:
        UserError: when the datalist is empty.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        batch_size: int,
        seed: int = 0,
        endless: bool = True,
        shuffle: bool = True,
        augment: Callable[[Batch, int], Batch] | None = None,
    ) -> None:
        if not data:
            raise UserError("no samples: the list is empty; expected at least one")
        self.columns: Batch = list_data_collate([dict(item) for item in data])
        self.sampler = StreamSampler(data, seed, batch_size, endless=endless)
        self.batch_size, self.shuffle, self.augment = batch_size, shuffle, augment

    def __len__(self) -> int:
        """Return the batches of one pass."""
        return math.ceil(len(self.sampler) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        draws = self.sampler.places() if self.shuffle else ((n, n) for n in range(len(self.sampler)))
        while part := list(islice(draws, self.batch_size)):
            batch = self.take([index for index, _ in part])
            seed = seed_of(self.sampler.seed, 1, part[0][1])
            yield batch if self.augment is None else self.augment(batch, seed)

    def take(self, indices: Sequence[int]) -> Batch:
        """Return some samples as a batch."""
        places = torch.tensor(indices)
        return {
            name: column[places] if isinstance(column, Tensor) else [column[index] for index in indices]
            for name, column in self.columns.items()
        }


class PrepareModalities(PrepareBatch):
    """Give a network a dictionary of modalities, where MONAI's PrepareBatchExtraInput would give it one image.

    Args:
        names: keys of the modalities in the batch.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[dict[str, Tensor], Tensor | None, tuple[Tensor], dict[str, Any]]:
        """Return modalities ``(B, *S_n)`` by name, labels ``(B,)`` or None, ``(available,)`` and no keywords."""

        def move(value: Tensor) -> Tensor:
            return value.to(device=device, non_blocking=non_blocking, **kwargs)

        label = batchdata.get(CommonKeys.LABEL)
        modalities = {name: move(batchdata[name]) for name in self.names}
        return modalities, None if label is None else move(label), (move(batchdata["available"]),), {}
