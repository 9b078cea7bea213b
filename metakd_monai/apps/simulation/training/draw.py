"""Random numbers and random smooth fields, all from one seed, on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class Draw:
    """The random draws of one case: single numbers from NumPy, volumes from a generator of the device.

    Args:
        seed: same seed and kind of device, same draws.
        device: where volumes are made.
        spacing: voxel size in mm, isotropic.
    """

    def __init__(self, seed: int, device: str | torch.device = "cpu", spacing: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.device, self.spacing = torch.device(device), spacing
        self.generator = torch.Generator(self.device).manual_seed(int(self.rng.integers(2**31)))

    def uniform(self, low: float, high: float) -> float:
        """Return a number between two others."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.rng.random() < probability)

    def choice(self, weights: Sequence[float]) -> int:
        """Return an index with a probability in proportion to its weight."""
        return int(self.rng.choice(len(weights), p=np.asarray(weights) / np.sum(weights)))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return white noise of unit standard deviation."""
        return torch.randn(tuple(shape), generator=self.generator, device=self.device)

    def place(self, mask: Tensor) -> Tensor:
        """Return the voxel ``(3,)`` of one place in a mask ``(*S)``; the middle where the mask is empty."""
        inside = mask.nonzero()
        if len(inside) == 0:
            return torch.tensor(mask.shape, device=self.device) // 2
        return inside[int(self.rng.integers(len(inside)))]

    def smooth(self, shape: Sequence[int], width: float, channels: int = 1) -> Tensor:
        """Return fields ``(channels, *S)`` of about unit standard deviation that vary over ``width`` mm.

        White noise on a coarse grid, made continuous by cubic B-splines.
        """
        x, y, z = (spline(n, max(1.0, width / self.spacing / 2)).to(self.device) for n in shape)
        nodes = self.normal((channels, x.shape[1], y.shape[1], z.shape[1])) / SPLINE_SPREAD**1.5
        return (x @ (y @ (nodes @ z.T)).flatten(2)).reshape(channels, *shape)


SPLINE_SPREAD = 151 / 315  # integral of the squared cubic B-spline: variance that one axis leaves of white noise


@lru_cache(maxsize=64)
def spline(size: int, step: float) -> Tensor:
    """Return the values ``(size, nodes)`` at each voxel of the cubic B-splines of nodes ``step`` voxels apart."""
    nodes = math.ceil(size / step) + 3
    distance = (torch.arange(size)[:, None] / step - (torch.arange(nodes)[None, :] - 1)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def blur(volume: Tensor, sigma: Sequence[float]) -> Tensor:
    """Blur volumes ``(C, *S)`` by a Gaussian, standard deviation in voxels along each axis."""
    for axis, width in enumerate(sigma):
        if width > 0.15:
            reach = max(1, round(3 * width))
            steps = torch.arange(-reach, reach + 1, device=volume.device)
            kernel = torch.exp(-0.5 * (steps / width) ** 2)
            shape = [1, 1, 1, 1, 1]
            shape[axis + 2] = len(kernel)
            pad = [0] * 6
            pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
            padded = functional.pad(volume[:, None], pad, mode="replicate")
            volume = functional.conv3d(padded, (kernel / kernel.sum()).reshape(shape))[:, 0]
    return volume


def pool(volume: Tensor, voxels: int) -> Tensor:
    """Return the mean of volumes ``(C, *S)`` over an odd number of voxels along each axis, borders repeated.

    Sums of shifted copies: on a CPU many times faster than ``avg_pool3d``.
    """
    reach = voxels // 2
    volume = functional.pad(volume, [reach] * 6, mode="replicate")
    for axis in (1, 2, 3):
        length = volume.shape[axis] - 2 * reach
        total = volume.narrow(axis, 0, length)
        for step in range(1, voxels):
            total = total + volume.narrow(axis, step, length)
        volume = total
    return volume / voxels**3
