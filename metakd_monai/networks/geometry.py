"""Sizes of images and features: cut, averaged, interpolated."""

from torch import Tensor
from torch.nn import functional


def crop(x: Tensor, size: list[int] | None) -> Tensor:
    """Keep the near corner of ``(B, C, *S)`` that has the given spatial size."""
    if size is not None:
        for axis, length in enumerate(size):
            x = x.narrow(axis + 2, 0, length)
    return x


def resize(x: Tensor, size: list[int]) -> Tensor:
    """Bring ``(B, C, *S)`` to a spatial size, nearest neighbour."""
    return x if list(x.shape[2:]) == size else functional.interpolate(x, size)


def average(x: Tensor, factor: int) -> Tensor:
    """Bring ``(B, C, *S)`` to voxels ``factor`` times as long; each axis of S is a multiple of it."""
    if factor == 1:
        return x
    return functional.avg_pool3d(x, factor) if x.dim() == 5 else functional.avg_pool2d(x, factor)


def interpolate(x: Tensor, factor: int) -> Tensor:
    """Bring ``(B, C, *S)`` to voxels ``factor`` times as short, linearly."""
    if factor == 1:
        return x
    size = [length * factor for length in x.shape[2:]]
    return functional.interpolate(x, size, mode="trilinear" if x.dim() == 5 else "bilinear", align_corners=False)


def pad_to_multiple(x: Tensor, factor: int) -> Tensor:
    """Pad zeros at the far ends up to a multiple of a network's stride, with more than one voxel at its bottleneck."""
    pad: list[int] = []
    voxels = 1
    for axis in range(x.dim() - 1, 1, -1):
        steps = (x.shape[axis] + factor - 1) // factor
        if axis == 2 and voxels * steps == 1:  # instance norm needs two voxels
            steps = 2
        voxels = voxels * steps
        pad.extend([0, steps * factor - x.shape[axis]])
    return functional.pad(x, pad)
