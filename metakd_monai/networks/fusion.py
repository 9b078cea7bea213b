"""Features of the present modalities only, one row for each, and their fusion.

Rows are in the order of ``available.nonzero()``: sample after sample, modality after modality.
"""

import torch
from monai.networks.blocks import ADN
from monai.networks.layers import Conv
from torch import Tensor, nn
from torch.nn import functional


class FusionBlock(nn.Module):
    """Concatenate filled features, Eq. (2) and (3), convolve 1x1x1, norm and leaky ReLU; see :func:`fuse_rows`.

    Because of the norm, the fused features, and so the upper problem of Eq. (4), depend on relative importance only.

    Args:
        spatial_dims: 2 or 3.
        modalities: N.
        width: C, of each modality's features and of the fused ones.
        norm: MONAI norm name and arguments.
    """

    def __init__(self, spatial_dims: int, modalities: int, width: int, norm: tuple | str) -> None:
        super().__init__()
        self.conv = Conv[Conv.CONV, spatial_dims](modalities * width, width, kernel_size=1, bias=False)
        act = ("leakyrelu", {"inplace": True})
        self.adn = ADN("NA", width, act=act, norm=norm, norm_dim=spatial_dims)

    def forward(self, rows: list[Tensor], places: list[list[tuple[int, int]]], filling: Tensor) -> Tensor:
        """Return fused features ``(B, C, *S)``; see :func:`fuse_rows` and, for filling, :meth:`kernels`."""
        return self.finish(fuse_rows(rows, places, self.kernels(filling)))

    @torch.jit.export
    def kernels(self, filling: Tensor) -> Tensor:
        """Return the kernel of each sample and modality for a :func:`~metakd_monai.equations.filling_matrix`."""
        return fill_kernel(self.conv.weight, filling)

    @torch.jit.export
    def finish(self, convolved: Tensor) -> Tensor:
        """Norm and leaky ReLU of ``(B, C, *S)``."""
        fused: Tensor = self.adn(convolved)
        return fused


def scatter_rows(rows: list[Tensor], encoded: Tensor) -> Tensor:
    """Scatter rows to their samples and modalities.

    Args:
        rows: P features of present modalities, each ``(1, C, *S)``.
        encoded: the modalities of the rows, ``(B, N)`` bool with P True.

    Returns:
        ``(B, N, C, *S)`` with zeros at absent modalities.
    """
    part = torch.cat(rows)  # (P, C, *S)
    index = encoded.flatten().nonzero().squeeze(1)  # (P,) of B*N
    full = torch.zeros_like(part[:1]).repeat_interleave(encoded.numel(), 0)
    return full.index_copy(0, index, part).unflatten(0, list(encoded.shape))


def place_rows(encoded: Tensor, available: Tensor) -> list[list[tuple[int, int]]]:
    """List for each sample the rows of its available modalities.

    Args:
        encoded: the modalities of the rows, ``(B, N)`` bool.
        available: ``(B, N)`` bool; among the encoded ones.
    """
    kept: list[list[bool]] = available.tolist()
    where: list[list[int]] = encoded.nonzero().tolist()
    places: list[list[tuple[int, int]]] = []
    for b in range(len(kept)):
        sample: list[tuple[int, int]] = []  # TorchScript has no typed empty list in a comprehension
        for row, place in enumerate(where):
            if place[0] == b and kept[b][place[1]]:
                sample.append((row, place[1]))
        places.append(sample)
    return places


def fill_kernel(kernel: Tensor, filling: Tensor) -> Tensor:
    """Return, for each sample and modality, one kernel for all features filled from that modality.

    A filled feature is a weighted sum of present ones. So the 1x1x1 convolution of all features is a sum over the
    present modalities, each with its own kernel: if K_m is the kernel's part for modality m, that of present modality n
    is the sum over m of ``filling[m, n] K_m``.

    Args:
        kernel: of the convolution, ``(C_out, N*C, 1, 1[, 1])``.
        filling: see :func:`~metakd_monai.equations.filling_matrix`, ``(B, N, N)``.

    Returns:
        ``(B, N, C_out, C, 1, 1[, 1])``.
    """
    parts = kernel.flatten(1).unflatten(1, [filling.shape[1], -1])  # (C_out, N, C)
    kernels = torch.einsum("bmn,omc->bnoc", filling.to(parts), parts)
    return kernels.reshape(list(kernels.shape) + [1] * (kernel.dim() - 2))


def fuse_rows(rows: list[Tensor], places: list[list[tuple[int, int]]], kernels: Tensor) -> Tensor:
    """Concatenate the filled features of all modalities and convolve them 1x1x1, without computing them explicitly.

    Args:
        rows: features ``(1, C, *S)`` of encoded modalities.
        places: of B samples, see :func:`place_rows`.
        kernels: see :func:`fill_kernel`.

    Returns:
        ``(B, C_out, *S)``.
    """
    fused: list[Tensor] = []
    for b, sample in enumerate(places):
        row, n = sample[0]
        total = pointwise(rows[row], kernels[b, n])
        for row, n in sample[1:]:
            total = total.add_(pointwise(rows[row], kernels[b, n]))
        fused.append(total)
    return join(fused)


def join(samples: list[Tensor]) -> Tensor:
    """Return ``(B, C, *S)`` of B tensors ``(1, C, *S)``."""
    return samples[0] if len(samples) == 1 else torch.cat(samples)


def pointwise(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve ``(1, C, *S)`` with a kernel of one voxel, ``(C_out, C, 1, 1[, 1])``."""
    return functional.conv3d(x, kernel) if x.dim() == 5 else functional.conv2d(x, kernel)
