"""The blocks of MetaKDUNet, which are nnU-Net's as in MONAI's DynUNet, and the memory they need."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetUpBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def make_encoder(spatial_dims: int, channels: Sequence[int], scales: range, norm: tuple | str) -> "Encoder":
    """Make an encoder's blocks at the given scales; all but the finest halve the size."""
    widths = [1, *channels]
    return Encoder(
        UnetBasicBlock(spatial_dims, widths[scale], channels[scale], 3, 1 if scale == 0 else 2, norm)
        for scale in scales
    )


def make_decoder(spatial_dims: int, channels: Sequence[int], norm: tuple | str) -> nn.ModuleList:
    """Make a decoder's blocks, coarsest first; each doubles the size."""
    return nn.ModuleList(
        UnetUpBlock(spatial_dims, below, width, 3, 1, 2, norm)
        for below, width in zip(channels[:0:-1], channels[-2::-1], strict=True)
    )


def make_heads(spatial_dims: int, channels: Sequence[int], out_channels: int, deep_supervision: bool) -> nn.ModuleList:
    """Make the logit heads: at the finest scale, and with deep supervision at all but the two coarsest."""
    widths = channels[: max(1, len(channels) - 2)] if deep_supervision else channels[:1]
    return nn.ModuleList(
        Convolution(spatial_dims, width, out_channels, kernel_size=1, conv_only=True) for width in widths
    )


class Encoder(nn.ModuleList):
    """Blocks of an encoder, the finest scale first."""

    def forward(self, x: Tensor, recomputed: bool = False) -> list[Tensor]:
        """Encode images ``(P, C, *S)``; for each scale ``(P, C, *S)``.

        With ``recomputed``, the activations of the first block are recomputed in the backward pass instead of stored.
        At the finest scale they need most of the memory of a training step. The result is bitwise the same.
        """
        features: list[Tensor] = []
        for scale, block in enumerate(self):
            if torch.jit.is_scripting():
                x = block(x)
            elif scale == 0 and recomputed and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x)
            features.append(x)
        return features


class OwnEncoders(nn.ModuleList):
    """The finest scales of each modality's own encoder: N encoders, or none at all."""

    __iter__: Any  # yields encoders

    def __init__(self, encoders: Iterable[Iterable[nn.Module]]) -> None:
        super().__init__(Encoder(blocks) for blocks in encoders)

    def forward(self, x: Tensor, modalities: Tensor, recomputed: bool = False) -> list[Tensor]:
        """Encode images ``(P, 1, *S)`` of given modalities ``(P,)``; see :class:`Encoder`."""
        places: list[Tensor] = []
        features: list[list[Tensor]] = []
        for n, encoder in enumerate(self):
            rows = (modalities == n).nonzero().squeeze(1)
            if len(rows) > 0:
                places.append(rows)
                part = x if len(rows) == len(x) else x.index_select(0, rows)
                for scale, encoded in enumerate(encoder(part, recomputed)):
                    if len(features) == scale:
                        features.append([])
                    features[scale].append(encoded)
        if len(places) == 1:
            return [parts[0] for parts in features]
        order = torch.cat(places).argsort()
        return [torch.cat(parts).index_select(0, order) for parts in features]


def estimate_bytes(channels: list[int], in_channels: int, out_channels: int, input_stride: int) -> float:
    """Estimate the memory in fp32 that prediction on a CPU needs for each voxel of a window."""
    every_scale = 0.0
    for scale, width in enumerate(channels):
        every_scale += width / 8**scale
    kept = 2 * every_scale  # features of one modality, and fused
    passing = 7 * channels[0]  # sums and concatenations at the encoder's full size
    interpolated = 1 + out_channels if input_stride > 1 else 0  # a padded modality, and logits
    return 4 * ((kept + passing) / input_stride**3 + in_channels + interpolated)
