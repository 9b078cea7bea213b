"""SFusion in place of MetaKD's fusion: attention over the present modalities weights each voxel."""

import math
from collections.abc import Sequence

import torch
from monai.networks.layers import Conv
from torch import Tensor, nn
from torch.nn import functional

from metakd_monai.networks.methods.baseline import keep
from metakd_monai.networks.methods.modality_encoders import SharedEncoder
from metakd_monai.networks.methods.own_unet import NORM, OwnUNet
from metakd_monai.networks.unet_parts import make_encoder


class SFusionUNet(OwnUNet):
    """MetaKDUNet's shared encoder and decoder, with an :class:`SFusionBlock` at each scale.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions.
        channels: width at each scale, a multiple of ``num_heads``.
        num_layers: of each block's transformer.
        num_heads: of their attention.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    Source: Liu et al. 2023, "SFusion: Self-attention based N-to-One Multimodal Fusion Block".
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (8, 32, 64, 128, 256),
        num_layers: int = 8,
        num_heads: int = 4,
        input_stride: int = 1,
        window: Sequence[int] | None = None,
    ) -> None:
        shape = {"num_layers": num_layers, "num_heads": num_heads}
        factor = 2 ** (len(channels) - 1)
        super().__init__(in_channels, out_channels, channels, factor, input_stride, window, **shape)
        self.encoders = SharedEncoder(make_encoder(3, channels, range(len(channels)), NORM))
        self.fusion = nn.ModuleList(
            SFusionBlock(width, 2 ** (len(channels) - 1 - scale), **shape) for scale, width in enumerate(channels)
        )
        self.add_decoder(channels, out_channels)

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        fused: list[Tensor] = []
        for scale, fuse in enumerate(self.fusion):
            fused.append(fuse(features[scale], available))
        return self.decode_fused(fused)


class SFusionBlock(nn.Module):
    """Fuse any number of modalities to one; a single one is returned unchanged.

    Tokens are averages over ``stride`` voxels. A transformer over the tokens of all present modalities gives, resized
    to full size, a weight for each modality, voxel and channel; these sum to 1 over the present modalities.

    Args:
        width: C of each modality's features and of the fused ones.
        stride: voxels of a token along each axis.
        num_layers: of the transformer.
        num_heads: of its attention.
    """

    def __init__(self, width: int, stride: int, num_layers: int = 8, num_heads: int = 4) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, num_heads, 4 * width, dropout=0.1, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.dropout = nn.Dropout(0.1)
        self.enlarge = Conv[Conv.CONV, 3](width, width * stride**3, 1)
        self.stride = stride

    def forward(self, features: Tensor, available: Tensor) -> Tensor:
        """Return ``(B, C, *S)`` of features ``(B, N, C, *S)``; each axis of S is a multiple of the stride."""
        kept = keep(features, available)
        pooled = functional.avg_pool3d(kept.flatten(0, 1), self.stride)  # (B*N, C, *T)
        tokens = pooled.flatten(2).transpose(1, 2).unflatten(0, list(available.shape)).flatten(1, 2)  # (B, N*T, C)
        absent = (~available).repeat_interleave(pooled[0, 0].numel(), 1)
        seen = self.transformer(self.dropout(tokens + sinusoids(tokens)), src_key_padding_mask=absent)
        spatial = seen.unflatten(1, [available.shape[1], -1]).flatten(0, 1).transpose(1, 2)
        scores = self.to_voxels(self.enlarge(spatial.unflatten(2, list(pooled.shape[2:]))))
        scores = scores.unflatten(0, list(available.shape))
        there = available[:, :, None, None, None, None]
        weights = scores.masked_fill(~there, float("-inf")).softmax(dim=1)
        return (kept * weights).sum(dim=1)

    def to_voxels(self, x: Tensor) -> Tensor:
        """Return ``(P, C, stride * S)`` of ``(P, C * stride^3, *S)``: channels become voxels."""
        s = self.stride
        cells = x.unflatten(1, [-1, s, s, s])  # (P, C, s, s, s, *S)
        return cells.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def sinusoids(tokens: Tensor) -> Tensor:
    """Return sines and cosines of each token's position, ``(T, C)``, for tokens ``(B, T, C)``."""
    place = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32).unsqueeze(1)
    half = (tokens.shape[2] + 1) // 2
    rates = torch.exp(-math.log(10000.0) * torch.arange(half, device=tokens.device, dtype=torch.float32) / half)
    waves = torch.stack([(place * rates).sin(), (place * rates).cos()], dim=2)
    return waves.flatten(1)[:, : tokens.shape[2]].to(tokens)
