"""The network of HD-BET (Isensee et al., Human Brain Mapping 40:4952-4964, 2019), for the published weights.

The names of its parts are those in the published state dicts. Norms use the statistics of the image itself.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from metakd_monai.inferers.precision import autocast

BASE = 21  # channels at the finest scale
SCALES = 4  # halvings of the grid, so that sizes are multiples of 16
SLOPE, OUTER_SLOPE = 0.01, 0.1  # slopes of leaky rectifications: in the blocks, and between them


def norm(channels: int) -> nn.InstanceNorm3d:
    """Make a norm; the weights contain its running statistics, which are not used."""
    return nn.InstanceNorm3d(channels, affine=True, track_running_stats=True)


def activate(x: torch.Tensor, slope: float = SLOPE) -> torch.Tensor:
    """Return the leaky rectification, in place."""
    return functional.leaky_relu(x, slope, inplace=True)


class Context(nn.Module):
    """Two convolutions with a residual connection; ``(B, C, *S)`` keeps its shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn_1, self.conv1 = norm(channels), nn.Conv3d(channels, channels, 3, padding=1)
        self.bn_2, self.conv2 = norm(channels), nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C, *S)``."""
        y = self.conv1(activate(self.bn_1(x)))
        return torch.add(x, self.conv2(activate(self.bn_2(y))))


class Down(nn.Module):
    """Halve the grid and double the channels; also returns the features for the decoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn, self.downsample = norm(channels), nn.Conv3d(channels, 2 * channels, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``(B, C, *S)`` and ``(B, 2C, *S/2)``."""
        x = activate(self.bn(x))
        return x, self.downsample(x)


class Up(nn.Module):
    """Double the grid and halve the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample_conv, self.bn = nn.Conv3d(channels, channels // 2, 3, padding=1), norm(channels // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C/2, *2S)``."""
        x = functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        return activate(self.bn(self.upsample_conv(x)))


class Localisation(nn.Module):
    """Join skip and decoder, halve the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn_1 = nn.Conv3d(channels, channels, 3, padding=1), norm(channels)
        self.conv2, self.bn_2 = nn.Conv3d(channels, channels // 2, 1), norm(channels // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C/2, *S)``."""
        return activate(self.bn_2(self.conv2(activate(self.bn_1(self.conv1(x))))))


class BetNetwork(nn.Module):
    """From an image of a head to the probability of brain: ``(1, 1, *S)`` to ``(*S)``, sizes multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        widths = [BASE * 2**scale for scale in range(SCALES + 1)]
        self.init_conv = nn.Conv3d(1, BASE, 3, padding=1)
        for number, width in enumerate(widths, 1):
            self.add_module(f"context{number}", Context(width))
            if number <= SCALES:
                self.add_module(f"down{number}", Down(width))
                self.add_module(f"up{number}", Up(widths[-number]))
            if number < SCALES:
                self.add_module(f"loc{number}", Localisation(widths[-number]))
        self.bn_after_context5 = norm(widths[-1])
        self.end_conv_1, self.end_conv_1_bn = nn.Conv3d(2 * BASE, 2 * BASE, 3, padding=1), norm(2 * BASE)
        self.end_conv_2, self.end_conv_2_bn = nn.Conv3d(2 * BASE, 2 * BASE, 3, padding=1), norm(2 * BASE)
        self.seg_layer = nn.Conv3d(2 * BASE, 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the probability of brain, ``(*S)`` float32; computed in bf16 where the device has it in hardware."""
        with autocast("auto", x.device):
            return torch.softmax(self.logits(x).float(), dim=1)[0, 1]

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of background and brain, ``(1, 2, *S)``."""
        parts = dict(self.named_children())
        x, skips = self.init_conv(x), []
        for number in range(1, SCALES + 1):
            skip, x = parts[f"down{number}"](parts[f"context{number}"](x))
            skips.append(skip)
        x = activate(self.bn_after_context5(parts["context5"](x)), OUTER_SLOPE)
        for number in range(1, SCALES + 1):
            x = torch.cat((skips.pop(), parts[f"up{number}"](x)), dim=1)
            if number < SCALES:
                x = parts[f"loc{number}"](x)
        x = activate(self.end_conv_1_bn(self.end_conv_1(x)), OUTER_SLOPE)
        x = activate(self.end_conv_2_bn(self.end_conv_2(x)), OUTER_SLOPE)
        logits: torch.Tensor = self.seg_layer(x)
        return logits
