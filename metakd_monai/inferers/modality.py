"""Sliding windows that know, once for the whole volume, which modalities are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_tensor, fall_back_tuple
from torch import Tensor

from metakd_monai.networks import find_available

OUTSIDE_LOGIT = -20.0  # probability 2e-9: no tumour where there is no brain


class ModalityInferer(SlidingWindowInferer):
    """MONAI's SlidingWindowInferer with availability decided on the volume and carried to every window.

    Only the box around the brain is computed: outside, where all present modalities are zero, there is nothing to
    segment. MONAI Label and Deploy call an inferer with image and network alone; then a channel that is 0 or NaN all
    over the volume is absent.

    Args:
        crop_foreground: compute the brain's box only.
        margin: voxels kept around that box.
        kwargs: SlidingWindowInferer's.
    """

    def __init__(self, *args: Any, crop_foreground: bool = True, margin: int = 4, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.crop_foreground = crop_foreground
        self.margin = margin

    def __call__(
        self, inputs: Tensor, network: Callable[..., Tensor], available: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """Return logits ``(B, R, *S)``.

        Args:
            inputs: whole volumes, ``(B, N, *S)``.
            network: takes windows ``(W, N, *roi)`` and availability ``(1, N)``.
            available: ``(B, N)`` bool; None to find out.
            kwargs: handed on to the network.

        Raises:
            ValueError: when a volume has no modality at all.
        """
        found = find_available(inputs) if available is None else available
        mask = convert_to_tensor(found, track_meta=False, dtype=torch.bool, device=inputs.device).expand(
            len(inputs), -1
        )
        if not bool(mask.any(dim=1).all()):
            raise ValueError("no modality is present: every channel is 0 or NaN all over the volume.")
        plain = convert_to_tensor(inputs, track_meta=False)
        logits = torch.cat(
            [self.segment(plain[b : b + 1], network, mask[b : b + 1], kwargs) for b in range(len(plain))]
        )
        return MetaTensor(logits).copy_meta_from(inputs, copy_attr=False) if isinstance(inputs, MetaTensor) else logits

    def segment(self, volume: Tensor, network: Callable[..., Tensor], mask: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """Segment one volume ``(1, N, *S)`` with modalities ``(1, N)``."""
        box = self.foreground(volume, mask)
        inside = (slice(None), slice(None), *box)
        brain = volume[inside]
        roi = fall_back_tuple(self.roi_size, brain.shape[2:])
        fits = all(length <= window for length, window in zip(brain.shape[2:], roi, strict=True))
        # One window that fits is not padded to the roi, which would cost time and change what the norms see.
        logits: Tensor = network(brain, mask, **kwargs) if fits else super().__call__(brain, network, mask, **kwargs)
        if list(logits.shape[2:]) == list(volume.shape[2:]):
            return logits
        whole = logits.new_full((*logits.shape[:2], *volume.shape[2:]), OUTSIDE_LOGIT)
        whole[inside] = logits
        return whole

    def foreground(self, volume: Tensor, mask: Tensor) -> tuple[slice, ...]:
        """Return the box where any present modality is not zero, with the margin."""
        size = volume.shape[2:]
        everything = tuple(slice(0, length) for length in size)
        if not self.crop_foreground:
            return everything
        content = (volume[mask] != 0).any(dim=0)
        places = content.nonzero()
        if len(places) == 0:
            return everything
        low, high = places.amin(dim=0).tolist(), places.amax(dim=0).tolist()
        return tuple(
            slice(max(0, a - self.margin), min(n, b + 1 + self.margin)) for a, b, n in zip(low, high, size, strict=True)
        )
