"""MetaKDUNet's decoder and head, for methods that differ from MetaKD only in the fusion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metakd_monai.networks.methods.baseline import BaselineNetwork
from metakd_monai.networks.norm import VOLUME_NORM
from metakd_monai.networks.unet_parts import make_decoder, make_heads

NORM = (VOLUME_NORM, {"affine": True, "inplace": True})  # of MetaKDUNet


class OwnUNet(BaselineNetwork):
    """A network with MetaKDUNet's decoder; arguments as in :class:`BaselineNetwork`."""

    def add_decoder(self, channels: Sequence[int], out_channels: int) -> None:
        """Add decoder and head."""
        self.decoder = make_decoder(3, channels, NORM)
        self.heads = make_heads(3, channels, out_channels, deep_supervision=False)

    def decode_fused(self, fused: list[Tensor]) -> Tensor:
        """Return logits ``(B, R, *S)`` of the fused features ``(B, C, *S)`` of each scale, finest first."""
        x = fused[-1]
        for step, up in enumerate(self.decoder):
            x = up(x, fused[len(fused) - 2 - step])
        logits: Tensor = self.heads[0](x)
        return logits

    @torch.jit.unused
    def last_layers(self) -> list[nn.Module]:
        """Return the convolution that makes the logits."""
        return [self.heads[0].get_submodule("conv")]
