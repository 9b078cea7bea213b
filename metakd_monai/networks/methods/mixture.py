"""SimMLM: an expert for each sequence, whose predictions a router mixes."""

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn

from metakd_monai.networks.methods.baseline import BaselineNetwork, Extra, keep
from metakd_monai.networks.methods.modality_encoders import ModalityEncoders
from metakd_monai.networks.methods.zero_filled import NnUNet

ROUTER = (4, 4, 4, 4, 4)  # widths of its convolutions


class ExpertMixture(BaselineNetwork):
    """A whole U-Net for each modality; a router computes from the images the weights that average their logits.

    The weights of each region sum to 1 over the present modalities; experts of absent ones are not run. ``experts``
    are auxiliary losses of each expert's own prediction.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions R.
        channels: width of each expert at each scale.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    Source: Li et al. 2025, "SimMLM"; its ranking loss is :class:`~metakd_monai.losses.RankingLoss`.
    """

    deepest = None

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (8, 16, 32, 64, 80, 80),
        input_stride: int = 1,
        window: Sequence[int] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, channels, 2 ** (len(channels) - 1), input_stride, window)
        self.experts = ModalityEncoders(nn.ModuleList([Expert(out_channels, channels)]) for _ in range(in_channels))
        self.router = nn.Sequential(
            *(
                Convolution(3, before, width, strides=2, adn_ordering="A", act="relu")
                for before, width in zip([in_channels, *ROUTER], ROUTER, strict=False)
            ),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(ROUTER[-1], in_channels * out_channels),
        )

    def encode_images(self, images: Tensor, available: Tensor) -> list[Tensor]:
        """Return the experts' logits ``(B, N, R, *S)``, and the images for the router."""
        return [self.experts.each(images, available)[0], images]

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        given = keep(features[1], available)
        told = self.router(given) if torch.jit.is_scripting() else self.route(given)
        told = told.unflatten(1, [self.in_channels, self.out_channels])
        weights = told.masked_fill(~available.unsqueeze(-1), float("-inf")).softmax(dim=1)  # (B, N, R)
        return (keep(features[0], available) * weights[..., None, None, None]).sum(dim=1)

    @torch.jit.unused
    def route(self, images: Tensor) -> Tensor:
        """Run the router in fp32.

        In bf16 on a CPU, PyTorch's gradient for the weights of a strided convolution depends on uninitialised memory
        if an axis of its input is one voxel long, as here for images shorter than 32 voxels.
        """
        with torch.autocast(images.device.type, enabled=False):
            told: Tensor = self.router(images.float())
        return told

    @torch.jit.unused
    def learn_encoded(self, images: Tensor, features: list[Tensor], every: Tensor) -> list[Extra]:
        """Return the prediction of each expert whose modality is present."""
        rows = every.nonzero()[:, 0]
        return [Extra("experts", features[0][every], rows)]

    @torch.jit.unused
    def last_layers(self) -> list[nn.Module]:
        """Return the convolution that makes each expert's logits."""
        return [expert[0].unet.head.conv.conv for expert in self.experts]


class Expert(nn.Module):
    """nnU-Net with one input image.

    Args:
        out_channels: number of regions.
        channels: width at each scale.
    """

    def __init__(self, out_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.unet = NnUNet(1, out_channels, channels, deep_supervision=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(P, R, *S)`` of images ``(P, 1, *S)``."""
        logits: Tensor = self.unet(x)[0]
        return logits
