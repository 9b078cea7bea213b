"""RFNet: an estimate of the regions decides how much each modality counts at each voxel."""

from collections.abc import Sequence

import torch
from monai.networks.layers import Conv
from torch import Tensor, nn

from metakd_monai.networks.methods.baseline import BaselineNetwork, Extra, keep
from metakd_monai.networks.methods.convolutions import (
    SingleDecoder,
    UpDecoder,
    enlarge,
    join_present,
    make_residual_encoder,
    post_activated,
    three,
)
from metakd_monai.networks.methods.modality_encoders import ModalityEncoders


class RFNet(BaselineNetwork):
    """An encoder for each modality, whose features are fused region by region at every scale of one decoder.

    In training ``maps`` are the region maps of each scale as predictions. ``single`` are predictions from each present
    modality alone, by a decoder that all modalities share.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions R.
        channels: width at each scale.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    Source: Ding et al. 2021, "RFNet: Region-aware Fusion Network".
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
        coarsest = len(channels) - 1
        self.maps = nn.ModuleList(
            RegionMap(in_channels, width, out_channels, with_decoder=scale < coarsest)
            for scale, width in reversed(list(enumerate(channels)))
        )
        self.fusion = nn.ModuleList(RegionFusion(in_channels, width, out_channels + 1) for width in channels[::-1])
        self.decoder = UpDecoder(channels, post_activated)
        self.head = Conv[Conv.CONV, 3](channels[0], out_channels, 1)
        self.single = SingleDecoder(channels, out_channels, post_activated)

    def decode_all(self, features: list[Tensor], available: Tensor) -> list[Tensor]:
        """Return the prediction's logits, then those of the region maps, coarsest first, each at its own size."""
        x = features[-1][:, 0]  # replaced at the first scale
        rises: list[Tensor] = []
        found: list[Tensor] = []
        for step, (to_map, fuse) in enumerate(zip(self.maps, self.fusion)):  # noqa: B905  # for TorchScript
            part = features[len(features) - 1 - step]
            for number, rise in enumerate(self.decoder.rise):
                if number == step - 1:
                    rises = [rise(enlarge(x, part[:, 0]))]
            logits = to_map(part, available, rises)
            found.append(logits)
            x = fuse(part, available, logits.detach())
            for number, join in enumerate(self.decoder.join):
                if number == step - 1:
                    x = join(torch.cat([rises[0], x], dim=1))
        found.insert(0, self.head(x))
        return found

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        return self.decode_all(features, available)[0]

    @torch.jit.unused
    def learn_encoded(self, images: Tensor, features: list[Tensor], every: Tensor) -> list[Extra]:
        """Return the predictions from each present modality alone."""
        return [Extra("single", self.single([part[every] for part in features]), every.nonzero()[:, 0])]

    @torch.jit.unused
    def learn(
        self, images: Tensor, features: list[Tensor], available: Tensor, every: Tensor
    ) -> tuple[Tensor, list[Extra]]:
        """Return the logits, and the region maps at full size."""
        logits, *maps = self.decode_all(features, available)
        rows = torch.arange(len(images), device=images.device)
        return logits, [Extra("maps", enlarge(one, images), rows) for one in maps]


class RegionMap(nn.Module):
    """Predict the regions at one scale from all modalities and the decoder's features.

    Args:
        modalities: N.
        width: C of each modality's features.
        out_channels: number of regions.
        with_decoder: whether it reads the decoder's features of this scale too.
    """

    def __init__(self, modalities: int, width: int, out_channels: int, with_decoder: bool) -> None:
        super().__init__()
        self.join = three(post_activated, modalities * width, max(1, width // 4), width)
        self.head = nn.Sequential(
            post_activated(width * (1 + with_decoder), 16, 1), Conv[Conv.CONV, 3](16, out_channels, 1)
        )

    def forward(self, features: Tensor, available: Tensor, decoded: list[Tensor]) -> Tensor:
        """Return logits ``(B, R, *S)`` of features ``(B, N, C, *S)`` and the decoder's ``(B, C, *S)``, none or one."""
        joined = self.join(join_present(features, available))
        for one in decoded:
            joined = torch.cat([joined, one], dim=1)
        logits: Tensor = self.head(joined)
        return logits


class RegionFusion(nn.Module):
    """Weight the modalities separately in each region, and fuse them there.

    Args:
        modalities: N.
        width: C of each modality's features and of the fused ones.
        regions: K, including the background.
    """

    def __init__(self, modalities: int, width: int, regions: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(
            nn.Sequential(
                nn.Linear(modalities * width + 1, 128), nn.LeakyReLU(0.2), nn.Linear(128, modalities), nn.Sigmoid()
            )
            for _ in range(regions)
        )
        half = width // 2
        self.of_regions = three(post_activated, regions * width, half, half)
        self.of_all = three(post_activated, modalities * width, half, half)

    def forward(self, features: Tensor, available: Tensor, logits: Tensor) -> Tensor:
        """Return ``(B, C, *S)`` of features ``(B, N, C, *S)`` and the regions' logits ``(B, K - 1, *S)``."""
        inside = logits.sigmoid()
        maps = torch.cat([inside, 1 - inside.amax(dim=1, keepdim=True)], dim=1)  # (B, K, *S)
        kept = keep(features, available)
        size = kept[0, 0, 0].numel()
        share = maps.flatten(2).mean(dim=2)  # (B, K)
        means = torch.einsum("bncs,bks->bknc", kept.flatten(3), maps.flatten(2)) / size
        means = means / (share[:, :, None, None] + 1e-7)
        parts: list[Tensor] = []
        for k, gate in enumerate(self.gates):
            weights = gate(torch.cat([means[:, k].flatten(1), share[:, k, None]], dim=1))  # (B, N)
            parts.append((kept * weights[:, :, None, None, None, None]).sum(dim=1) * maps[:, k, None])
        return torch.cat([self.of_regions(torch.cat(parts, dim=1)), self.of_all(kept.flatten(1, 2))], dim=1)
