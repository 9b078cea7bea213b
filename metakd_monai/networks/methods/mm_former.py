"""mmFormer: a transformer within each modality, and one over all of them, at the bottleneck."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers import Conv
from torch import Tensor, nn
from torch.nn import functional

from metakd_monai.networks.methods.baseline import BaselineNetwork, Extra, keep
from metakd_monai.networks.methods.convolutions import (
    ResidualStage,
    SingleDecoder,
    UpDecoder,
    enlarge,
    join_present,
    pre_activated,
    three,
    twice,
)
from metakd_monai.networks.methods.modality_encoders import ModalityEncoders

GRID = (8, 8, 8)  # of learned positions: the bottleneck of a 128x128x128 image


class MMFormer(BaselineNetwork):
    """An encoder and a transformer for each modality, a transformer over all tokens, and one decoder.

    In training ``scales`` are predictions of the decoder's coarser scales. ``single`` are predictions from each present
    modality's convolutional features alone, by a decoder that all modalities share.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions.
        channels: width at each scale.
        hidden_size: width of the tokens.
        mlp_dim: width within a transformer.
        num_heads: of its attention.
        scrambled: arrange tokens in space as the official code does, which mistakes N neighbours of one modality for
            the N modalities of one position; else each returns to its own position.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    Source: Zhang et al. 2022, "mmFormer".
    """

    auxiliary_of_all = True

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (8, 16, 32, 64, 128),
        hidden_size: int = 512,
        mlp_dim: int = 4096,
        num_heads: int = 8,
        scrambled: bool = False,
        input_stride: int = 1,
        window: Sequence[int] | None = None,
    ) -> None:
        shape = {"hidden_size": hidden_size, "mlp_dim": mlp_dim, "num_heads": num_heads}
        factor = 2 ** (len(channels) - 1)
        super().__init__(
            in_channels, out_channels, channels, factor, input_stride, window, scrambled=scrambled, **shape
        )
        self.scrambled, self.modalities = scrambled, range(in_channels)
        self.encoders = ModalityEncoders(
            nn.ModuleList([*make_stages(channels), TokenTransformer(channels[-1], **shape)]) for _ in self.modalities
        )
        self.positions = nn.Parameter(torch.zeros(in_channels, hidden_size, *GRID))
        self.between = make_transformer(hidden_size, mlp_dim, num_heads)
        self.mix = Conv[Conv.CONV, 3](in_channels * hidden_size, in_channels * channels[-1], 1)
        self.fusion = nn.ModuleList(three(pre_activated, in_channels * width, width, width) for width in channels)
        self.decoder = UpDecoder(channels, pre_activated)
        self.heads = nn.ModuleList(Conv[Conv.CONV, 3](width, out_channels, 1) for width in channels)
        self.single = SingleDecoder(channels, out_channels, pre_activated)

    def fuse_tokens(self, tokens: Tensor, available: Tensor) -> Tensor:
        """Apply attention among the tokens ``(B, N, C, *S)``, zeros for absent modalities; return ``(B, N*C, *S)``."""
        size = list(tokens.shape[3:])
        placed = keep(tokens, available) + place(self.positions, size)
        row = placed.permute(0, 1, 3, 4, 5, 2).flatten(1, 4)  # (B, N*T, C)
        seen = self.between(row)
        if self.scrambled:
            spatial = seen.flatten(1).unflatten(1, [-1, self.in_channels * seen.shape[2]]).transpose(1, 2)
        else:
            spatial = seen.transpose(1, 2).unflatten(2, [self.in_channels, -1]).transpose(1, 2).flatten(1, 2)
        mixed: Tensor = self.mix(spatial.unflatten(2, size))
        return mixed

    def decode_all(self, features: list[Tensor], available: Tensor) -> list[Tensor]:
        """Return the decoder's features of each scale, finest first."""
        fused: list[Tensor] = []
        for scale, fuse in enumerate(self.fusion):
            last = scale == len(features) - 2
            given = self.fuse_tokens(features[-1], available) if last else join_present(features[scale], available)
            fused.append(fuse(given))
        decoded: list[Tensor] = self.decoder(fused)
        return decoded

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        logits: Tensor = self.heads[0](self.decode_all(features, available)[0])
        return logits

    @torch.jit.unused
    def learn_encoded(self, images: Tensor, features: list[Tensor], every: Tensor) -> list[Extra]:
        """Return the predictions from each present modality alone."""
        return [Extra("single", self.single([part[every] for part in features[:-1]]), every.nonzero()[:, 0])]

    @torch.jit.unused
    def learn(
        self, images: Tensor, features: list[Tensor], available: Tensor, every: Tensor
    ) -> tuple[Tensor, list[Extra]]:
        """Return the logits, and those of the coarser scales at full size."""
        logits = [head(part) for head, part in zip(self.heads, self.decode_all(features, available), strict=True)]
        rows = torch.arange(len(images), device=images.device)
        return logits[0], [Extra("scales", enlarge(one, images), rows) for one in logits[1:]]

    @torch.jit.unused
    def last_layers(self) -> list[nn.Module]:
        """Return the convolution that makes the logits."""
        return [self.heads[0]]


def make_stages(channels: Sequence[int]) -> list[nn.Module]:
    """Make an encoder's stages; every one but the first halves the size."""
    stages: list[nn.Module] = [
        ResidualStage(Conv[Conv.CONV, 3](1, channels[0], 3, padding=1), twice(pre_activated, channels[0]))
    ]
    for before, width in pairwise(channels):
        stages.append(ResidualStage(pre_activated(before, width, 3, 2), twice(pre_activated, width)))
    return stages


def make_transformer(hidden_size: int, mlp_dim: int, num_heads: int) -> nn.Module:
    """Make a pre-norm block with GELU: PyTorch's, because MONAI's needs einops."""
    return nn.TransformerEncoderLayer(
        hidden_size, num_heads, mlp_dim, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
    )


def place(positions: Tensor, size: list[int]) -> Tensor:
    """Interpolate learned positions ``(P, C, 8, 8, 8)`` linearly to a spatial size."""
    if list(positions.shape[2:]) == size:
        return positions
    return functional.interpolate(positions, size, mode="trilinear", align_corners=False)


class TokenTransformer(nn.Module):
    """A transformer over all voxels, each as a token.

    Args:
        in_channels: of its input.
        hidden_size: width of the tokens.
        mlp_dim: width within the transformer.
        num_heads: of its attention.
    """

    def __init__(self, in_channels: int, hidden_size: int, mlp_dim: int, num_heads: int) -> None:
        super().__init__()
        self.conv = Conv[Conv.CONV, 3](in_channels, hidden_size, 1)
        self.position = nn.Parameter(torch.zeros(1, hidden_size, *GRID))
        self.block = make_transformer(hidden_size, mlp_dim, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens at their positions ``(P, hidden_size, *S)`` of ``(P, C, *S)``."""
        size = list(x.shape[2:])
        placed = self.conv(x) + place(self.position, size)
        seen = self.block(placed.flatten(2).transpose(1, 2))
        return seen.transpose(1, 2).unflatten(2, size)
