"""The network as one fixed graph, for formats without ragged rows: ONNX, torch.export, traces, TensorRT."""

import torch
from torch import Tensor

from metakd_monai.equations import filling_matrix
from metakd_monai.networks.availability import find_available
from metakd_monai.networks.fusion import pointwise
from metakd_monai.networks.geometry import average
from metakd_monai.networks.metakd_unet import MetaKDUNet


class GraphMetaKDUNet(MetaKDUNet):
    """MetaKDUNet that computes every modality and then ignores the absent ones.

    An absent channel is first replaced by zeros, so that not even NaN passes, and its finite features are multiplied by
    kernels of zero. Weights, arguments and outputs are MetaKDUNet's; it always takes as long as with all modalities.
    For evaluation, one volume at a time. Use a norm that the format supports: ``"instance"``, or
    ``"stepwise"`` for ONNX, with ``affine``.
    """

    def forward(self, x: Tensor, available: Tensor | None = None) -> Tensor:
        """Return logits ``(1, R, *S)`` for an image ``(1, N, *S)``; arguments as in MetaKDUNet."""
        mask = find_available(x) if available is None else available
        there = mask.reshape(list(mask.shape) + [1] * (x.dim() - 2))
        clean = torch.where(there, x, torch.zeros_like(x))
        filling = filling_matrix(mask)
        kernels = [fuse.kernels(filling)[0] for fuse in self.fusion]
        sums: list[Tensor] = []
        for n, row in enumerate(average(clean, self.pooling).split(1, dim=1)):
            terms: list[Tensor] = []
            blocks = [*self.own[n], *self.encoder] if self.modality_specific_scales else self.encoder
            for scale, block in enumerate(blocks):
                row = block(row)  # (1, C, *S)
                terms.append(pointwise(row, kernels[scale][n]))
            sums = [total + term for total, term in zip(sums, terms, strict=True)] if sums else terms
        fused = [fuse.finish(total) for fuse, total in zip(self.fusion, sums, strict=True)]
        return self.decode_fused(fused)
