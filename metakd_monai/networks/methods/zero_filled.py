"""Baselines that only drop inputs: nnU-Net with zeros, or the mean of the present images, for absent ones."""

from collections.abc import Sequence

import torch
from monai.networks.nets import DynUNet
from torch import Tensor, nn

from metakd_monai.equations import fill_missing
from metakd_monai.networks.geometry import resize
from metakd_monai.networks.methods.baseline import BaselineNetwork, Extra, keep


class ZeroFilledDynUNet(BaselineNetwork):
    """nnU-Net (MONAI's DynUNet) with one input channel per modality, zero if the modality is absent.

    Args:
        in_channels: number of modalities N.
        out_channels: number of regions.
        channels: width at each scale; strides of 2 between them.
        deep_supervision: in training, predict at all decoder scales but the two coarsest; these are the auxiliary
            losses ``scale_1``, ``scale_2`` ..., finest first.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.

    Source: Isensee et al. 2021, "nnU-Net"; its widths in DeMoSeg, which without its first block is input dropping
    alone.
    """

    deepest = None

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (32, 64, 128, 256, 320, 320),
        deep_supervision: bool = True,
        input_stride: int = 1,
        window: Sequence[int] | None = None,
    ) -> None:
        factor = 2 ** (len(channels) - 1)
        super().__init__(
            in_channels, out_channels, channels, factor, input_stride, window, deep_supervision=deep_supervision
        )
        self.streams = 1
        self.unet = NnUNet(in_channels, out_channels, channels, deep_supervision)

    def encode_images(self, images: Tensor, available: Tensor) -> list[Tensor]:
        """Return the images unchanged: the whole computation depends on which modalities are missing."""
        return [images]

    def fill(self, images: Tensor, available: Tensor) -> Tensor:
        """Return the images ``(B, N, *S)`` with the absent ones filled."""
        return keep(images, available)

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)``."""
        logits: Tensor = self.unet(self.fill(features[0], available))[0]
        return logits

    @torch.jit.unused
    def learn(
        self, images: Tensor, features: list[Tensor], available: Tensor, every: Tensor
    ) -> tuple[Tensor, list[Extra]]:
        """Return the logits, and those of the coarser scales."""
        logits, *others = self.unet(self.fill(features[0], available))
        rows = torch.arange(len(logits), device=logits.device)
        return logits, [Extra(f"scale_{number}", one, rows) for number, one in enumerate(others, 1)]

    @torch.jit.unused
    def last_layers(self) -> list[nn.Module]:
        """Return the convolution that makes the logits."""
        return [self.unet.head.conv.conv]


class MeanFilledDynUNet(ZeroFilledDynUNet):
    """The same with the mean of the present images in place of each absent one: the simplest imputation.

    It stands for systems that impute images, such as MGP-VAE (Hamghalam et al. 2021), which is not published in enough
    detail to rebuild. It is not that system.
    """

    def fill(self, images: Tensor, available: Tensor) -> Tensor:
        """Return the images ``(B, N, *S)`` with the mean of the present ones in place of each absent one."""
        return fill_missing(images, available)


class NnUNet(nn.Module):
    """The blocks of MONAI's DynUNet, run one after the other.

    DynUNet stores them twice in its state dict, and with deep supervision it cannot be scripted.

    Args:
        in_channels: of the images.
        out_channels: of the logits.
        channels: width at each scale, three or more.
        deep_supervision: in training, return logits of coarser scales too.
    """

    def __init__(self, in_channels: int, out_channels: int, channels: Sequence[int], deep_supervision: bool) -> None:
        super().__init__()
        strides = [1] + [2] * (len(channels) - 1)
        made = DynUNet(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=[3] * len(channels),
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=list(channels),
            norm_name=("INSTANCE", {"affine": True}),
            deep_supervision=deep_supervision,
            deep_supr_num=max(1, len(channels) - 3),
        )
        self.down = nn.ModuleList([made.input_block, *made.downsamples, made.bottleneck])
        self.up, self.head = made.upsamples, made.output_block
        self.others = made.deep_supervision_heads if deep_supervision else nn.ModuleList()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return logits ``(B, R, *S)`` of images ``(B, C, *S)``; in training those of coarser scales after them."""
        skips: list[Tensor] = []
        for block in self.down:
            x = block(x)
            skips.insert(0, x)
        decoded: list[Tensor] = []
        for step, block in enumerate(self.up):
            x = block(x, skips[step + 1])
            decoded.insert(0, x)
        logits = [self.head(x)]
        for scale, head in enumerate(self.others):
            if self.training:
                logits.append(resize(head(decoded[scale + 1]), list(x.shape[2:])))
        return logits
