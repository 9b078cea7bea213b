"""Predictions from several subsets of the modalities, each modality encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from metakd_monai.networks import SegmentationNetwork
from metakd_monai.vocabulary import Modality, modality_subsets

FLOAT_BYTES = 4


def mask_of(subset: Sequence[Modality] | set[Modality]) -> Tensor:
    """Return which modalities a subset has, ``(1, N)`` bool."""
    return torch.tensor([[m in subset for m in Modality]])


def masks_of_subsets(available: Tensor) -> list[Tensor]:
    """Return every subset of the available modalities ``(1, N)``, each ``(1, N)`` bool, smallest first."""
    there = [m for m, present in zip(Modality, available[0].tolist(), strict=True) if present]
    return [mask_of(subset).to(available.device) for subset in modality_subsets(there)]


class DecodeAll:
    """A network that encodes windows once and decodes them for K subsets.

    Args:
        network: the network.
        masks: K masks of modalities, each ``(1, N)``.
    """

    def __init__(self, network: SegmentationNetwork, masks: Sequence[Tensor]) -> None:
        self.network, self.masks = network, masks
        self.factor, self.window = network.factor, network.window

    def __call__(self, x: Tensor, available: Tensor) -> Tensor:
        """Return logits ``(W, K*R, *S)``, subset after subset.

        Args:
            x: windows ``(W, N, *S)``.
            available: the modalities to encode, ``(1, N)``.
        """
        return torch.cat(list(self.decode_each(x, available)), dim=1)

    def decode_each(self, x: Tensor, available: Tensor) -> Iterator[Tensor]:
        """Yield the logits ``(W, R, *S)`` of each subset; arguments as in :meth:`__call__`."""
        encoded = available.expand(len(x), -1)
        features = self.network.encode(x, encoded)
        size = list(x.shape[2:])
        for mask in self.masks:
            yield self.network.decode(features, mask.expand(len(x), -1), None, size, encoded)

    def bytes_per_voxel(self) -> float:
        """Return the network's own estimate, so that windows are as large as for a single subset."""
        return self.network.bytes_per_voxel()


class MeanProbability(DecodeAll):
    """A network's mean probabilities over K subsets; see :class:`DecodeAll`."""

    def __call__(self, x: Tensor, available: Tensor) -> Tensor:
        """Return the mean probabilities ``(W, R, *S)`` float32; arguments as in :class:`DecodeAll`."""
        total = torch.zeros(())
        for logits in self.decode_each(x, available):
            total = total.to(logits.device) + logits.float().sigmoid()
        return total / len(self.masks)

    def bytes_per_voxel(self) -> float:
        """Estimate the memory on a CPU per voxel of a window, with the features of all modalities kept."""
        kept = sum(width / 8**scale for scale, width in enumerate(self.network.channels))
        others = (self.network.in_channels - 1) * kept / self.network.pooling**3
        return self.network.bytes_per_voxel() + FLOAT_BYTES * others
