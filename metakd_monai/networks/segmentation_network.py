"""The base of all segmentation networks: MetaKD's and those it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from metakd_monai.networks.architecture import WINDOW, check_window, take_window
from metakd_monai.networks.with_features import segment_subsets


class SegmentationNetwork(nn.Module):
    """A network that encodes images once and decodes them for any subset of the modalities.

    ``encode(x, available)`` and ``decode(features, available, importance, size, encoded)`` are those of
    :class:`~metakd_monai.networks.MetaKDUNet`; ``forward(x, available)`` is both.

    Attributes:
        in_channels: N.
        channels: width at each scale, finest first.
        factor: image voxels per bottleneck voxel, along each axis.
        pooling: the ``input_stride``.
        window: size in voxels of the sliding window for the weights; None for the whole box.
    """

    if TYPE_CHECKING:  # TorchScript would compile them
        in_channels: int
        channels: tuple[int, ...]
        factor: int
        pooling: int
        encode: Any
        decode: Any

    def __init__(self) -> None:
        super().__init__()
        self.window: tuple[int, int, int] | None = None
        self.register_load_state_dict_pre_hook(take_window)

    @torch.jit.unused
    def set_window(self, window: Sequence[int] | None) -> None:
        """Set the window that goes with the weights; raises ValueError for an invalid one, see :func:`check_window`.

        It is stored as floats, because averaging in federated learning turns integers into floats.
        """
        self.window = check_window(window)
        if hasattr(self, WINDOW):
            delattr(self, WINDOW)
        if self.window is not None:
            device = next((parameter.device for parameter in self.parameters()), None)
            self.register_buffer(WINDOW, torch.tensor(self.window, dtype=torch.float32, device=device))

    @torch.jit.unused
    def forward_subsets(self, x: Tensor, available: Tensor) -> tuple[Any, ...]:
        """Segment in training from K subsets ``(B, K, N)`` of each image; see :func:`segment_subsets`."""
        return segment_subsets(self, x, available)

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the arguments for building a network for these weights, ready for JSON."""
        raise NotImplementedError

    @torch.jit.unused
    def last_layers(self) -> list[nn.Module]:
        """Return the convolutions that make the logits; their biases shift the logits."""
        raise NotImplementedError

    @torch.jit.unused
    def blocks(self) -> list[nn.Module]:
        """Return the parts to compile one by one with ``torch.compile``; none if that would not help."""
        return []

    @torch.jit.export
    def bytes_per_voxel(self) -> float:
        """Estimate the memory in fp32 that prediction on a CPU needs for each voxel of a window."""
        raise NotImplementedError
