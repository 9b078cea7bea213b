"""RobustMSeg: content separated from appearance, with gates at every scale."""

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers import Conv
from torch import Tensor, nn

from metakd_monai.networks.methods.appearance_codes import AppearanceEncoder, ImageDecoder
from metakd_monai.networks.methods.baseline import BaselineNetwork, Extra, keep
from metakd_monai.networks.methods.convolutions import UpDecoder, make_residual_encoder, post_activated
from metakd_monai.networks.methods.modality_encoders import ModalityEncoders, take_rows


class RobustMSeg(BaselineNetwork):
    """A content encoder for each modality, whose features a gate weights voxel by voxel, and one decoder.

    In training each present modality also has an appearance code, and its image is decoded from this code and the
    fused content: ``reconstruction`` is the mean absolute error, ``divergence`` is that of
    :class:`~metakd_monai.networks.methods.appearance_codes.ImageDecoder`.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions.
        channels: width at each scale.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    Source: Chen et al. 2019, "Robust Multimodal Brain Tumor Segmentation via Feature Disentanglement and Gated Fusion".
    """

    auxiliary_of_all = True

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (16, 32, 64, 128),
        input_stride: int = 1,
        window: Sequence[int] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, channels, 2 ** (len(channels) - 1), input_stride, window)
        self.encoders = ModalityEncoders(make_residual_encoder(channels) for _ in range(in_channels))
        self.gates = nn.ModuleList(
            Convolution(3, in_channels * width, in_channels, adn_ordering="NA", norm="instance", act="sigmoid")
            for width in channels
        )
        self.fusion = nn.ModuleList(post_activated(in_channels * width, width, 1) for width in channels)
        self.decoder = UpDecoder(channels, post_activated)
        self.head = Conv[Conv.CONV, 3](channels[0], out_channels, 1)
        self.appearance = ModalityEncoders(nn.ModuleList([AppearanceEncoder(channels)]) for _ in range(in_channels))
        self.image_decoders = nn.ModuleList(ImageDecoder(channels) for _ in range(in_channels))

    def fuse(self, features: list[Tensor], available: Tensor) -> list[Tensor]:
        """Gate and fuse each scale ``(B, N, C, *S)``."""
        fused: list[Tensor] = []
        for scale, (gate, join) in enumerate(zip(self.gates, self.fusion)):  # noqa: B905  # TorchScript has no strict
            kept = keep(features[scale], available)
            weights = gate(kept.flatten(1, 2)).unsqueeze(2)  # (B, N, 1, *S)
            fused.append(join((kept * weights).flatten(1, 2)))
        return fused

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        logits: Tensor = self.head(self.decoder(self.fuse(features, available))[0])
        return logits

    @torch.jit.unused
    def learn(
        self, images: Tensor, features: list[Tensor], available: Tensor, every: Tensor
    ) -> tuple[Tensor, list[Extra]]:
        """Return the logits, and the losses of images of all encoded modalities decoded from this subset's content."""
        fused = self.fuse(features, available)
        rows, modalities = take_rows(images, every)
        codes = self.appearance(rows, modalities)[0]
        extras = []
        for row, (b, n) in enumerate(every.nonzero().tolist()):
            image, divergence = self.image_decoders[n](fused[-1][b : b + 1], codes[row : row + 1])
            error = (image - rows[row : row + 1]).abs().mean()
            extras += [Extra("reconstruction", error), Extra("divergence", divergence)]
        return self.head(self.decoder(fused)[0]), extras
