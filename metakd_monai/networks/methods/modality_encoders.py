"""Encoders of one modality at a time: one for each, or one for all."""

import torch
from torch import Tensor, nn

from metakd_monai.networks.fusion import scatter_rows
from metakd_monai.networks.unet_parts import OwnEncoders


def take_rows(images: Tensor, available: Tensor) -> tuple[Tensor, Tensor]:
    """Return the present images of ``(B, N, *S)`` as rows ``(P, 1, *S)``, and their modalities, ``(P,)``."""
    index = available.flatten().nonzero().squeeze(1)
    return images.flatten(0, 1).index_select(0, index).unsqueeze(1), index % available.shape[1]


class ModalityEncoders(OwnEncoders):
    """An encoder for each of N modalities: a list of blocks, one per scale."""

    @torch.jit.export
    def each(self, images: Tensor, available: Tensor) -> list[Tensor]:
        """Encode the present modalities of images ``(B, N, *S)``; for each scale ``(B, N, C, *S)``, 0 where absent."""
        rows, modalities = take_rows(images, available)
        return [scatter_rows([part], available) for part in self.forward(rows, modalities, False)]


class SharedEncoder(nn.ModuleList):
    """One encoder for all modalities: a block for each scale."""

    @torch.jit.export
    def each(self, images: Tensor, available: Tensor) -> list[Tensor]:
        """Encode as in :meth:`ModalityEncoders.each`."""
        part = take_rows(images, available)[0]
        features: list[Tensor] = []
        for block in self:
            part = block(part)
            features.append(scatter_rows([part], available))
        return features
