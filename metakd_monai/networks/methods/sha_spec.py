"""ShaSpec: features that all modalities share, and features specific to each."""

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers import Conv
from torch import Tensor, nn
from torch.nn import functional

from metakd_monai.equations import fill_missing
from metakd_monai.networks.methods.baseline import Extra, keep
from metakd_monai.networks.methods.modality_encoders import ModalityEncoders, SharedEncoder
from metakd_monai.networks.methods.own_unet import NORM, OwnUNet
from metakd_monai.networks.unet_parts import make_encoder


class ShaSpecUNet(OwnUNet):
    """MetaKDUNet's encoder and decoder; at the bottleneck, each modality's own encoder adds a residual.

    An absent modality gets the mean of the present ones' shared features. Auxiliary losses: ``alignment``, the mean
    absolute difference of the shared features of neighbouring present modalities, and ``modality``, the cross-entropy
    of classifying the modality from its specific features.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions.
        channels: width at each scale.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    Source: Wang et al. 2023, "Multi-modal Learning with Missing Modality via Shared-Specific Feature Modelling".
    """

    auxiliary_of_all = True

    deepest = -2  # the shared ones

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (8, 32, 64, 128, 256),
        input_stride: int = 1,
        window: Sequence[int] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, channels, 2 ** (len(channels) - 1), input_stride, window)
        scales = range(len(channels))
        self.shared = SharedEncoder(make_encoder(3, channels, scales, NORM))
        self.specific = ModalityEncoders(make_encoder(3, channels, scales, NORM) for _ in range(in_channels))
        self.compose = Conv[Conv.CONV, 3](2 * channels[-1], channels[-1], 3, padding=1)
        act = ("leakyrelu", {"inplace": True})
        self.fusion = nn.ModuleList(
            Convolution(3, in_channels * width, width, kernel_size=1, adn_ordering="NA", act=act, norm=NORM)
            for width in channels
        )
        self.classify = nn.Linear(channels[-1], in_channels)
        self.add_decoder(channels, out_channels)

    def encode_images(self, images: Tensor, available: Tensor) -> list[Tensor]:
        """Return the shared features of each scale, and the specific ones of the bottleneck, ``(B, N, C, *S)``."""
        encoded: list[Tensor] = self.shared.each(images, available)
        encoded.append(self.specific.each(images, available)[-1])
        return encoded

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        shared, specific = features[-2], features[-1]
        residual = self.compose(torch.cat([shared, specific], dim=2).flatten(0, 1)).unflatten(0, list(available.shape))
        composed = fill_missing(shared, available) + keep(residual, available)
        fused: list[Tensor] = []
        for scale, fuse in enumerate(self.fusion):
            filled = composed if scale == len(features) - 2 else fill_missing(features[scale], available)
            fused.append(fuse(filled.flatten(1, 2)))
        return self.decode_fused(fused)

    @torch.jit.unused
    def learn_encoded(self, images: Tensor, features: list[Tensor], every: Tensor) -> list[Extra]:
        """Return the losses of shared and specific features, see :func:`measure_sharing`."""
        shared, specific = features[-2], features[-1]
        return measure_sharing(shared, self.classify(specific.flatten(3).mean(3)[every]), every)


def measure_sharing(shared: Tensor, told: Tensor, every: Tensor) -> list[Extra]:
    """Return the distance between shared features, and the cross-entropy of the modality from specific ones.

    Args:
        shared: features ``(B, N, C, *S)``.
        told: logits of the modality ``(P, N)``, from the specific features of P present ones.
        every: which are present, ``(B, N)`` bool.
    """
    both = every & every.roll(-1, 1)
    apart = (shared - shared.roll(-1, 1)).abs().flatten(2).mean(2)
    alignment = (apart * both).sum() / both.sum().clamp(min=1)
    return [Extra("alignment", alignment), Extra("modality", functional.cross_entropy(told, every.nonzero()[:, 1]))]
