"""Appearance codes, separate from content, and decoders that make images from both.

Used in training only, so TorchScript leaves it out.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers import Conv
from torch import Tensor, nn
from torch.nn import functional

CODE = 8  # length of an appearance code
HIDDEN = 128  # width of the layer between code and scales


class AppearanceEncoder(nn.Module):
    """Convolutions with ReLU and without norm, then the spatial mean, to a code of 8 numbers.

    Args:
        channels: widths of the content encoders, finest first; the first convolution has twice the first of them.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        widths = [2 * channels[0], channels[-2], channels[-1], channels[-1], channels[-1]]
        layers = [Convolution(3, 1, widths[0], kernel_size=7, adn_ordering="A", act="relu")]
        for before, width in pairwise(widths):
            layers.append(Convolution(3, before, width, 2, kernel_size=4, padding=1, adn_ordering="A", act="relu"))
        self.layers, self.code = nn.Sequential(*layers), nn.Linear(widths[-1], CODE)
        self.smallest = 2 ** len(widths)  # voxels along an axis that the strides reduce to one

    @torch.jit.unused
    def forward(self, x: Tensor) -> Tensor:
        """Return codes ``(P, 8)`` of images ``(P, 1, *S)``; small images are padded with zeros at axis ends."""
        far = [part for length in reversed(x.shape[2:]) for part in (0, max(0, self.smallest - length))]
        code: Tensor = self.code(self.layers(functional.pad(x, far)).flatten(2).mean(2))
        return code


class AdaptiveBlock(nn.Module):
    """Two convolutions and a residual sum, with instance norms whose scale and shift are given.

    Args:
        width: C.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Conv[Conv.CONV, 3](width, width, 3, padding=1) for _ in range(2))

    @torch.jit.unused
    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Return ``(1, C, *S)``; scale and shift are ``(2, C)``, a row for each norm."""
        out = x
        for number, conv in enumerate(self.convs):
            out = functional.instance_norm(conv(out)) * scale[number, :, None, None, None]
            out = out + shift[number, :, None, None, None]
            out = out.relu() if number == 0 else out
        return x + out


class ImageDecoder(nn.Module):
    """Make an image from content and appearance.

    Args:
        channels: widths of the content encoders, finest first.
        blocks: of :class:`AdaptiveBlock`.
    """

    def __init__(self, channels: Sequence[int], blocks: int = 4) -> None:
        super().__init__()
        width = channels[-1]
        self.blocks = nn.ModuleList(AdaptiveBlock(width) for _ in range(blocks))
        self.scales = nn.Sequential(
            nn.Linear(CODE, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, blocks * 4 * width),
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2),
                Conv[Conv.CONV, 3](below, above, 5, padding=2),
                nn.GroupNorm(1, above),
                nn.ReLU(),
            )
            for below, above in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.head = Conv[Conv.CONV, 3](channels[0], 1, 7, padding=3)

    @torch.jit.unused
    def forward(self, content: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Decode an image.

        Args:
            content: ``(1, C, *S)``.
            code: ``(1, 8)``.

        Returns:
            The image ``(1, 1, *S)`` of the finest scale; the mean divergence from a standard normal of Gaussians with
            the norms' shifts and scales as means and standard deviations.
        """
        parameters = self.scales(code).reshape(len(self.blocks), 2, 2, -1)
        shift, scale = parameters.unbind(2)
        x = content
        for number, block in enumerate(self.blocks):
            x = block(x, scale[number], shift[number])
        for up in self.up:
            x = up(x)
        variance = scale.square() + 1e-7
        return self.head(x), 0.5 * (shift.square() + variance - 1 - variance.log()).mean()
