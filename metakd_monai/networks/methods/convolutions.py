"""Building blocks of several methods: convolutions in various orders, residual stages, decoders, concatenation."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from monai.networks.blocks import ADN, Convolution
from monai.networks.layers import Conv
from torch import Tensor, nn
from torch.nn import functional

from metakd_monai.networks.methods.baseline import keep

Unit = Callable[..., nn.Module]  # (in_channels, out_channels, kernel_size, stride)


def pre_activated(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Make instance norm, leaky ReLU and a convolution, an order that MONAI's Convolution lacks."""
    act = ("leakyrelu", {"negative_slope": 0.01})
    return nn.Sequential(
        ADN("NA", in_channels, act=act, norm="instance", norm_dim=3),
        Conv[Conv.CONV, 3](in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2),
    )


def post_activated(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Module:
    """Make a convolution, instance norm and leaky ReLU of slope 0.2."""
    act = ("leakyrelu", {"negative_slope": 0.2})
    made: nn.Module = Convolution(
        3, in_channels, out_channels, stride, kernel_size, adn_ordering="NA", act=act, norm="instance"
    )
    return made


def three(unit: Unit, in_channels: int, width: int, out_channels: int) -> nn.Sequential:
    """Make three convolutions with kernel sizes 1, 3 and 1."""
    return nn.Sequential(unit(in_channels, width, 1), unit(width, width, 3), unit(width, out_channels, 1))


def join_present(features: Tensor, available: Tensor) -> Tensor:
    """Concatenate ``(B, N, C, *S)`` to ``(B, N*C, *S)``, zeros where a modality is not available."""
    return keep(features, available).flatten(1, 2)


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Interpolate ``(B, C, *S)`` linearly to the size of another tensor."""
    return functional.interpolate(x, list(like.shape[2:]), mode="trilinear", align_corners=False)


class ResidualStage(nn.Module):
    """A convolution, then two more with a residual connection around them.

    Args:
        first: the first convolution.
        second: the two others, of the same width.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(P, width, *S)``."""
        x = self.first(x)
        return x + self.second(x)


def twice(unit: Unit, width: int) -> nn.Sequential:
    """Make two convolutions of kernel size 3 and equal width."""
    return nn.Sequential(unit(width, width), unit(width, width))


TWO_POST_ACTIVATED = partial(twice, post_activated)


def make_residual_encoder(
    channels: Sequence[int], second: Callable[[int], nn.Module] = TWO_POST_ACTIVATED
) -> nn.ModuleList:
    """Make an encoder's stages; every one but the first halves the size.

    Args:
        channels: width at each scale, finest first.
        second: makes the convolutions of the residual branch, of one width.
    """
    widths = [1, *channels]
    return nn.ModuleList(
        ResidualStage(post_activated(widths[scale], width, 3, 2 if scale else 1), second(width))
        for scale, width in enumerate(channels)
    )


class UpDecoder(nn.Module):
    """A U-Net's decoder: interpolate, convolve, concatenate, convolve twice.

    Args:
        channels: width at each scale, finest first, of its input and of its features.
        unit: makes its convolutions.
    """

    def __init__(self, channels: Sequence[int], unit: Unit) -> None:
        super().__init__()
        steps = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.rise = nn.ModuleList(unit(below, width, 3) for below, width in steps)
        self.join = nn.ModuleList(nn.Sequential(unit(2 * width, width, 3), unit(width, width, 1)) for _, width in steps)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Decode features ``(B, C, *S)`` of each scale; return those of each scale, both finest first."""
        x = features[-1]
        decoded = [x]
        for step, (rise, join) in enumerate(zip(self.rise, self.join)):  # noqa: B905  # TorchScript has no strict
            skip = features[len(features) - 2 - step]
            x = join(torch.cat([rise(enlarge(x, skip)), skip], dim=1))
            decoded.insert(0, x)
        return decoded


class SingleDecoder(nn.Module):
    """A U-Net's decoder shared by all modalities, which predicts from each modality alone in training.

    Args:
        channels: width at each scale, finest first.
        out_channels: number of regions.
        unit: makes its convolutions.
    """

    def __init__(self, channels: Sequence[int], out_channels: int, unit: Unit) -> None:
        super().__init__()
        self.decoder = UpDecoder(channels, unit)
        self.head = Conv[Conv.CONV, 3](channels[0], out_channels, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return logits ``(P, R, *S)`` of one modality's features ``(P, C, *S)`` of each scale, finest first."""
        logits: Tensor = self.head(self.decoder(features)[0])
        return logits
