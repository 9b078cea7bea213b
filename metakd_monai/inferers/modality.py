"""Sliding-window inference that decides once for the whole volume which modalities are present."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from functools import reduce
from itertools import combinations
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from metakd_monai.data.boxes import bounding_box
from metakd_monai.errors import UserError, is_out_of_memory
from metakd_monai.inferers.memory import bytes_per_voxel, choose_roi, shrink, window_step
from metakd_monai.inferers.precision import autocast, choose_precision
from metakd_monai.inferers.window import Window, fit_window, parse_window, window_of
from metakd_monai.networks import find_available

logger = logging.getLogger(__name__)

OUTSIDE_LOGIT = -20.0  # probability 2e-9: no tumour outside the brain
MIRRORINGS = {"none": 0, "lr": 1, "all": 3}  # how many of the first axes are mirrored
Network = Callable[..., Tensor]


class ModalityInferer(SlidingWindowInferer):
    """MONAI's SlidingWindowInferer with availability decided on the volume and passed to every window.

    Only the brain's bounding box is computed: outside it all present modalities are zero, and there is nothing to
    segment. MONAI Label and Deploy call an inferer with image and network alone; then a channel that is 0 or NaN
    everywhere is absent.

    Args:
        roi_size: of the windows; None for the window that goes with the network's weights, ``"whole"`` for the whole
            box; see :func:`~metakd_monai.inferers.parse_window`. No window is longer than the box.
        crop_foreground: compute only the brain's bounding box.
        margin: voxels kept around that box.
        memory_limit: GiB that the process may use on a CPU; None for no limit. If a window does not fit, or memory runs
            out, smaller windows are used: the logits then change, and ``used`` differs from ``wanted``.
        precision: ``"fp32"``, ``"bf16"`` (autocast), or ``"auto"``: bf16 if the device has it in hardware.
        mirror: average the logits over mirrored images: ``"none"``, ``"lr"`` (the first axis, two passes), ``"all"``
            (eight passes).
        channels_last: first convert the network's kernels to channels-last, as ``metakd predict`` does: faster, and
            the masks are identical to those of ``metakd predict``.
        kwargs: SlidingWindowInferer's.

    Attributes:
        wanted: window for the last box without a memory limit.
        used: window that the last box was computed with.

    Raises:
        UserError: for an unknown precision or mirroring, or an invalid window.
    """

    def __init__(
        self,
        roi_size: Window = None,
        *args: Any,
        crop_foreground: bool = True,
        margin: int = 4,
        memory_limit: float | None = None,
        precision: str = "fp32",
        mirror: str = "none",
        channels_last: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(-1, *args, **kwargs)
        self.window = parse_window(roi_size)
        self.wanted: tuple[int, ...] | None = None
        self.used: tuple[int, ...] | None = None
        self.crop_foreground, self.margin = crop_foreground, margin
        self.memory_limit, self.precision, self.mirror = memory_limit, precision, mirror
        self.channels_last = channels_last
        choose_precision(precision, torch.device("cpu"))  # an unknown name raises now
        if mirror not in MIRRORINGS:
            raise UserError(f"mirror: {mirror!r} found; expected one of {', '.join(MIRRORINGS)}")

    def __call__(self, inputs: Tensor, network: Network, available: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Return logits ``(B, R, *S)``.

        Args:
            inputs: whole volumes, ``(B, N, *S)``.
            network: takes windows ``(W, N, *roi)`` and availability ``(1, N)``.
            available: ``(B, N)`` bool; None to derive it from the volumes.
            kwargs: passed on to the network.

        Raises:
            ValueError: if a volume has no modality.
        """
        found = find_available(inputs) if available is None else available
        mask = convert_to_tensor(found, track_meta=False, dtype=torch.bool, device=inputs.device).expand(
            len(inputs), -1
        )
        if not bool(mask.any(dim=1).all()):
            raise ValueError("no modality is present: every channel is 0 or NaN everywhere.")
        if self.channels_last and isinstance(network, nn.Module) and inputs.dim() == 5:
            network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # as in optimize_network
        plain = convert_to_tensor(inputs, track_meta=False)
        logits = torch.cat(
            [self.segment(plain[b : b + 1], network, mask[b : b + 1], kwargs) for b in range(len(plain))]
        )
        return MetaTensor(logits).copy_meta_from(inputs, copy_attr=False) if isinstance(inputs, MetaTensor) else logits

    def segment(self, volume: Tensor, network: Network, mask: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """Segment one volume ``(1, N, *S)`` with modalities ``(1, N)``."""
        box = self.foreground(volume, mask)
        brain = volume[inside(box)]
        return paste(self.infer_box(brain, network, mask, volume.shape[2:], **kwargs), box, volume.shape[2:])

    def infer_box(self, brain: Tensor, network: Network, mask: Tensor, volume: Sequence[int], **kwargs: Any) -> Tensor:
        """Return logits ``(1, R, *box)`` of the brain's bounding box.

        Args:
            brain: ``(1, N, *box)``.
            network: see :meth:`__call__`.
            mask: ``(1, N)`` bool.
            volume: size of the whole volume, for the memory limit.
            kwargs: passed on to the network.
        """
        roi = self.choose_window(brain, network, volume)
        while True:
            self.used = roi
            try:
                with autocast(self.precision, brain.device):
                    return self.mirrored(brain, network, mask, roi, kwargs).float()
            except (RuntimeError, MemoryError) as error:
                smaller = shrink(roi, window_step(network))
                if smaller is None or not is_out_of_memory(error):
                    raise
                roi = smaller
            logger.warning("out of memory: continuing with windows of %s", "x".join(map(str, roi)))

    def window_for(self, network: Network) -> tuple[int, ...] | str:
        """Return the requested window, or the one that goes with a network's weights."""
        return window_of(network) if self.window is None else self.window

    def choose_window(self, brain: Tensor, network: Network, volume: Sequence[int]) -> tuple[int, ...]:
        """Return the window for a box ``(1, N, *box)``: :meth:`window_for`, or the largest within the memory limit.

        It is the same for any modalities, so that subsets can be compared and computed together.
        """
        self.wanted = self.used = fit_window(self.window_for(network), brain.shape[2:])
        if self.memory_limit is not None and brain.device.type == "cpu":
            step = window_step(network)
            roi = choose_roi(self.wanted, volume, self.memory_limit, bytes_per_voxel(network), step)
            self.used = fit_window(roi, self.wanted)  # it is a multiple of the step
        return self.used

    def describe_window(self) -> str | None:
        """Return the warning that windows of the last box were smaller than the weights' own, or None."""
        if self.wanted is None or self.used is None or self.used == self.wanted:
            return None
        used, wanted = ("x".join(map(str, window)) for window in (self.used, self.wanted))
        return f"computed in windows of {used} voxels instead of {wanted} for lack of memory, which changes the mask"

    def is_one_pass(self, brain: Tensor, network: Network, volume: Sequence[int]) -> bool:
        """Tell whether a box ``(1, N, *box)`` is computed as one window in a single pass."""
        return MIRRORINGS[self.mirror] == 0 and fits(brain, self.choose_window(brain, network, volume))

    def mirrored(self, brain: Tensor, network: Network, mask: Tensor, roi: Any, kwargs: dict[str, Any]) -> Tensor:
        """Return the logits of a box ``(1, N, *box)``, averaged over its mirrorings."""
        axes = range(2, 2 + MIRRORINGS[self.mirror])
        flips = [flip for number in range(len(axes) + 1) for flip in combinations(axes, number)]
        total = self.windows(brain, network, mask, roi, kwargs)
        for flip in flips[1:]:
            total = total + self.windows(brain.flip(flip), network, mask, roi, kwargs).flip(flip)
        return total / len(flips) if len(flips) > 1 else total

    def windows(self, brain: Tensor, network: Network, mask: Tensor, roi: Any, kwargs: dict[str, Any]) -> Tensor:
        """Return the logits of a box ``(1, N, *box)``, from windows of size ``roi``."""
        # A box that fits one window is not padded to the roi: that would cost time and change the norms' statistics.
        if fits(brain, roi):
            return network(brain, mask, **kwargs)
        windows = copy(self)
        windows.roi_size = roi
        logits: Tensor = SlidingWindowInferer.__call__(windows, brain, network, mask, **kwargs)
        return logits

    def foreground(self, volume: Tensor, mask: Tensor) -> tuple[slice, ...]:
        """Return the bounding box of the nonzero voxels of all present modalities, with the margin."""
        everything = tuple(slice(0, length) for length in volume.shape[2:])
        if not self.crop_foreground:
            return everything
        present = mask[0].nonzero().flatten().tolist()
        content = reduce(torch.logical_or, (volume[0, n] != 0 for n in present)).cpu().numpy()
        return bounding_box(content, self.margin) if content.any() else everything


def fits(brain: Tensor, roi: Sequence[int]) -> bool:
    """Tell whether a box ``(1, N, *box)`` is no larger than a window."""
    return all(length <= window for length, window in zip(brain.shape[2:], roi, strict=True))


def inside(box: Sequence[slice]) -> tuple[slice, ...]:
    """Return the index of a spatial box in a tensor ``(B, C, *S)``."""
    return (slice(None), slice(None), *box)


def paste(values: Tensor, box: Sequence[slice], size: Sequence[int], outside: float = OUTSIDE_LOGIT) -> Tensor:
    """Pad a box ``(B, C, *box)`` with one value to a volume of spatial size ``size``."""
    if list(values.shape[2:]) == list(size):
        return values
    whole = values.new_full((*values.shape[:2], *size), outside)
    whole[inside(box)] = values
    return whole
