"""U-HeMIS and U-HVED: present modalities are fused by moments, by a product of Gaussians, or by SFusion's attention."""

from collections.abc import Sequence

import torch
from monai.networks.layers import Conv
from torch import Tensor, nn
from torch.nn import functional

from metakd_monai.equations import spread
from metakd_monai.networks.methods.baseline import BaselineNetwork, Extra
from metakd_monai.networks.methods.convolutions import enlarge, pre_activated
from metakd_monai.networks.methods.gaussians import fuse_gaussians, subset_divergence
from metakd_monai.networks.methods.modality_encoders import ModalityEncoders
from metakd_monai.networks.methods.s_fusion import SFusionBlock

FUSIONS = ("moments", "gaussians", "attention")


class HeMISUNet(BaselineNetwork):
    """A U-Net with an encoder for each modality; it decodes mean and variance over the present ones, or other fusions.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions.
        channels: width at each scale; the decoder reads half as many channels of each modality.
        fusion: ``"moments"``, U-HeMIS: mean and variance (0 for a single modality); ``"gaussians"``, U-HVED: each
            modality gives mean and log-variance of a Gaussian. Their product with a standard normal is decoded
            (:mod:`~metakd_monai.networks.methods.gaussians`): a sample in training, its mean in evaluation;
            ``"attention"``: an :class:`~metakd_monai.networks.methods.s_fusion.SFusionBlock` at each scale.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    U-HVED's auxiliary losses are ``divergence``, and ``reconstruction``: the mean squared error of the images that
    separate decoders make from the fused features.

    Raises:
        ValueError: for an unknown fusion.

    Source: Havaei et al. 2016, "HeMIS"; Dorent et al. 2019, "Hetero-Modal Variational Encoder-Decoder";
    Liu et al. 2023, "SFusion".
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (8, 16, 32, 64),
        fusion: str = "moments",
        input_stride: int = 1,
        window: Sequence[int] | None = None,
    ) -> None:
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be {', '.join(map(repr, FUSIONS[:-1]))} or {FUSIONS[-1]!r}, got {fusion!r}.")
        super().__init__(
            in_channels, out_channels, channels, 2 ** (len(channels) - 1), input_stride, window, fusion=fusion
        )
        self.variational = self.auxiliary_of_all = fusion == "gaussians"
        self.encoders = ModalityEncoders(make_encoder(channels, halve=not self.variational) for _ in range(in_channels))
        half = [width // 2 for width in channels]
        read = list(channels) if fusion == "moments" else half
        strides = [2 ** (len(channels) - 1 - scale) for scale in range(len(channels))]
        blocks = zip(half, strides, strict=True) if fusion == "attention" else ()
        self.attention = nn.ModuleList(SFusionBlock(width, stride, num_heads=min(4, width)) for width, stride in blocks)
        self.decoder = UpPath(read, half, out_channels)
        images = range(in_channels if self.variational else 0)
        self.image_decoders = nn.ModuleList(UpPath(read, half, 1) for _ in images)

    def fuse(self, features: list[Tensor], available: Tensor) -> list[Tensor]:
        """Fuse each scale ``(B, N, C, *S)``; a product of Gaussians is sampled in training."""
        fused: list[Tensor] = []
        for scale, block in enumerate(self.attention):
            fused.append(block(features[scale], available))
        for part in features[len(fused) :]:
            if self.variational:
                mean, variance = fuse_gaussians(part, available)
                noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
                fused.append(mean + variance.sqrt() * noise)
            else:
                fused.append(moments(part, available))
        return fused

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        logits: Tensor = self.decoder(self.fuse(features, available))
        return logits

    @torch.jit.unused
    def learn(
        self, images: Tensor, features: list[Tensor], available: Tensor, every: Tensor
    ) -> tuple[Tensor, list[Extra]]:
        """Return the logits; for U-HVED also the divergences between subsets and the error of decoded images."""
        if not self.variational:
            return self.segment(features, available), []
        fused = self.fuse(features, available)
        decoded = torch.cat([decode(fused) for decode in self.image_decoders], dim=1)
        error = functional.mse_loss(decoded[every], images[every])
        divergences = [subset_divergence(part, available, every) for part in features]
        extras = [Extra("reconstruction", error), Extra("divergence", torch.stack(divergences).mean())]
        return self.decoder(fused), extras

    @torch.jit.unused
    def last_layers(self) -> list[nn.Module]:
        """Return the convolution that makes the logits."""
        return [self.decoder.head]


def moments(features: Tensor, available: Tensor) -> Tensor:
    """Return mean and population variance of ``(B, N, C, *S)`` over available modalities, as ``(B, 2C, *S)``."""
    there = spread(available, features).to(features)
    number = there.sum(dim=1).clamp(min=1)
    mean = (features * there).sum(dim=1) / number
    variance = ((features - mean.unsqueeze(1)).square() * there).sum(dim=1) / number
    return torch.cat([mean, variance], dim=1)


def make_encoder(channels: Sequence[int], halve: bool) -> nn.ModuleList:
    """Make an encoder: two convolutions per scale, the second of half the width if asked; pooling between scales."""
    given = [channels[0], *(width // 2 if halve else width for width in channels)]
    blocks = []
    for scale, width in enumerate(channels):
        first = Conv[Conv.CONV, 3](1, width, 1) if scale == 0 else nn.MaxPool3d(2)
        two = pre_activated(given[scale], width), pre_activated(width, given[scale + 1])
        blocks.append(nn.Sequential(first, *two))
    return nn.ModuleList(blocks)


class UpPath(nn.Module):
    """A decoder: linear interpolation, concatenation, two convolutions, at each scale but the coarsest.

    Args:
        read: width of its input at each scale, finest first.
        channels: width of its own features at each scale; it has none at the coarsest.
        out_channels: of the last, 1x1x1 convolution.
    """

    def __init__(self, read: Sequence[int], channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        below = [*channels[1:-1], read[-1]]
        steps = list(zip(read[:-1], below, channels[:-1], strict=True))[::-1]
        self.steps = nn.ModuleList(
            nn.Sequential(pre_activated(skip + coarser, 2 * width), pre_activated(2 * width, width))
            for skip, coarser, width in steps
        )
        self.head = Conv[Conv.CONV, 3](channels[0], out_channels, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Decode features ``(B, C, *S)`` of each scale, finest first."""
        x = features[-1]
        for step, block in enumerate(self.steps):
            skip = features[len(features) - 2 - step]
            x = block(torch.cat([enlarge(x, skip), skip], dim=1))
        decoded: Tensor = self.head(x)
        return decoded
