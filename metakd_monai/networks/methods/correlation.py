"""LMCR: each modality's bottleneck features are a learned linear combination of the others'."""

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers import Conv
from torch import Tensor, nn

from metakd_monai.equations import fill_missing
from metakd_monai.networks.methods.baseline import BaselineNetwork, Extra, keep
from metakd_monai.networks.methods.convolutions import UpDecoder, make_residual_encoder, post_activated
from metakd_monai.networks.methods.modality_encoders import ModalityEncoders


class CorrelationUNet(BaselineNetwork):
    """An encoder for each modality, a linear correlation between their deepest features, and gates at every scale.

    The image of an absent modality is the mean of the present ones' images, so all encoders always run. In training,
    ``reconstruction`` is the mean absolute error of the present images, each decoded from its correlated features.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions.
        channels: width at each scale.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    Source: Zhou et al. 2021, "Latent Correlation Representation Learning for Brain Tumor Segmentation With Missing MRI
    Modalities".
    """

    deepest = None

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (8, 16, 32, 64),
        input_stride: int = 1,
        window: Sequence[int] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, channels, 2 ** (len(channels) - 1), input_stride, window)
        self.encoders = ModalityEncoders(make_residual_encoder(channels, dilated) for _ in range(in_channels))
        self.correlation = nn.ModuleList(
            nn.Sequential(nn.Linear(channels[-1], channels[-1]), nn.ReLU(), nn.Linear(channels[-1], in_channels))
            for _ in range(in_channels)
        )
        self.fusion = nn.ModuleList(GatedFusion(in_channels * width, width) for width in channels)
        self.decoder = UpDecoder(channels, post_activated)
        self.head = Conv[Conv.CONV, 3](channels[0], out_channels, 1)
        self.image_decoders = nn.ModuleList(ImagePath(channels) for _ in range(in_channels))

    def encode_images(self, images: Tensor, available: Tensor) -> list[Tensor]:
        """Return the images unchanged: the encoders' input depends on which modalities are missing."""
        return [images]

    def encode_filled(self, images: Tensor, available: Tensor) -> list[Tensor]:
        """Fill and encode images ``(B, N, *S)``; for each scale ``(B, N, C, *S)``, the last one correlated."""
        filled = fill_missing(images.unsqueeze(2), available).squeeze(2)
        encoded: list[Tensor] = self.encoders.each(filled, torch.ones_like(available))
        encoded[-1] = self.correlate(encoded[-1])
        return encoded

    def correlate(self, features: Tensor) -> Tensor:
        """Replace each modality of ``(B, N, C, *S)`` by a weighted sum of the others plus a constant."""
        pooled = features.flatten(3).mean(3)  # (B, N, C)
        found: list[Tensor] = []
        for n, tell in enumerate(self.correlation):
            told = tell(pooled[:, n])  # (B, N): a weight for each other modality; at index n the constant
            weights = told.index_fill(1, torch.tensor([n], device=told.device), 0.0)
            total = (features * weights[:, :, None, None, None, None]).sum(dim=1)
            found.append(total + told[:, n, None, None, None, None])
        return torch.stack(found, dim=1)

    def decode_filled(self, encoded: list[Tensor]) -> Tensor:
        """Return logits ``(B, R, *S)`` for the features of :meth:`encode_filled`."""
        fused: list[Tensor] = []
        for scale, fuse in enumerate(self.fusion):
            fused.append(fuse(encoded[scale].flatten(1, 2)))
        logits: Tensor = self.head(self.decoder(fused)[0])
        return logits

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        return self.decode_filled(self.encode_filled(keep(features[0], available), available))

    @torch.jit.unused
    def learn(
        self, images: Tensor, features: list[Tensor], available: Tensor, every: Tensor
    ) -> tuple[Tensor, list[Extra]]:
        """Return the logits, and the error of the present images."""
        encoded = self.encode_filled(keep(images, available), available)
        made = torch.cat([decode(encoded[-1][:, n]) for n, decode in enumerate(self.image_decoders)], dim=1)
        error = (made - images)[available].abs().mean()
        return self.decode_filled(encoded), [Extra("reconstruction", error)]


def dilated(width: int) -> nn.Sequential:
    """Make two convolutions of one width with dilations of 2 and 4."""
    act = ("leakyrelu", {"negative_slope": 0.2})
    return nn.Sequential(
        *(Convolution(3, width, width, dilation=far, adn_ordering="NA", norm="instance", act=act) for far in (2, 4))
    )


class GatedFusion(nn.Module):
    """Gate channels and voxels separately, and convolve the sum of both 1x1x1.

    Args:
        in_channels: of all modalities together.
        width: C of the fused features.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.channel = nn.Linear(in_channels, in_channels)
        self.place = Conv[Conv.CONV, 3](in_channels, 1, 1)
        self.join = post_activated(in_channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, *S)`` of the concatenated features."""
        channels = self.channel(x.flatten(2).mean(2)).sigmoid()[:, :, None, None, None]
        fused: Tensor = self.join(x * channels + x * self.place(x).sigmoid())
        return fused


class ImagePath(nn.Module):
    """Make an image from the deepest features alone, by interpolation and convolution.

    Args:
        channels: width at each scale, finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        pairs = zip(channels[:0:-1], channels[-2::-1], strict=True)
        self.up = nn.ModuleList(nn.Sequential(nn.Upsample(scale_factor=2), post_activated(*pair)) for pair in pairs)
        self.head = Conv[Conv.CONV, 3](channels[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return images ``(B, 1, *S)``."""
        for up in self.up:
            x = up(x)
        image: Tensor = self.head(x)
        return image
