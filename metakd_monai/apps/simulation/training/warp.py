"""Random shapes: affine and diffeomorphic deformation, left-right flips, mass effect."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from monai.networks.blocks import DVF2DDF
from torch import Tensor
from torch.nn import functional

from metakd_monai.apps.simulation.training.anatomy import CSF, Anatomy
from metakd_monai.apps.simulation.training.draw import Draw


def deform(draw: Draw, anatomy: Anatomy) -> Anatomy:
    """Turn, scale, shear, bend and flip a brain; labels follow with the nearest neighbour."""
    shape = anatomy.tissue.shape[1:]
    shift = affine_shift(draw, shape) + bend(draw, shape)
    deformed = apply(anatomy, shift)
    return flip(deformed) if draw.chance(0.5) else deformed


def affine_shift(draw: Draw, shape: Sequence[int]) -> Tensor:
    """Return the displacement ``(3, *S)`` in voxels of a random affine map about the middle."""
    matrix = torch.eye(3)
    for axis, limit in enumerate((0.25, 0.12, 0.12)):  # radians: nodding is widest
        angle = draw.uniform(-limit, limit)
        turn = torch.eye(3)
        one, two = [other for other in range(3) if other != axis]
        turn[one, one] = turn[two, two] = math.cos(angle)
        turn[one, two], turn[two, one] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    common = draw.uniform(0.9, 1.12)
    scale = torch.diag(torch.tensor([1 / (common * draw.uniform(0.95, 1.06)) for _ in range(3)]))
    shear = torch.eye(3)
    shear[0, 1], shear[1, 2] = draw.uniform(-0.05, 0.05), draw.uniform(-0.05, 0.05)
    matrix = (matrix @ shear @ scale - torch.eye(3)).to(draw.device)
    middle = torch.tensor([(n - 1) / 2 for n in shape], device=draw.device)
    return torch.einsum("ij,jxyz->ixyz", matrix, places(shape, draw.device) - middle[:, None, None, None])


def bend(draw: Draw, shape: Sequence[int]) -> Tensor:
    """Return the displacement ``(3, *S)`` in voxels of a random diffeomorphism."""
    half = [math.ceil(n / 2) for n in shape]
    coarse = Draw(int(draw.rng.integers(2**31)), draw.device, 2 * draw.spacing)
    velocity = coarse.smooth(half, 50.0, 3) * draw.uniform(0, 4.0) + coarse.smooth(half, 22.0, 3) * draw.uniform(0, 1.5)
    field = integrate()(velocity[None] / (2 * draw.spacing))
    return 2 * functional.interpolate(field, list(shape), mode="trilinear")[0]


@cache
def integrate() -> DVF2DDF:
    """Integrate by MONAI's scaling and squaring, without its notice that MONAI was not compiled for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DVF2DDF(num_steps=4)


def push(draw: Draw, anatomy: Anatomy, whole: Tensor) -> Anatomy:
    """Simulate mass effect: a tumour ``(*S)`` pushes the brain away and is not moved itself."""
    if float(whole.sum()) < 1 or draw.chance(0.35):
        return anatomy
    grid = places(whole.shape, draw.device)
    middle = (grid * whole).sum((1, 2, 3)) / whole.sum()
    away = grid - middle[:, None, None, None]
    distance = (away**2).sum(0).sqrt().clamp(min=1e-3)
    radius = (float(whole.sum()) * 3 / (4 * math.pi)) ** (1 / 3)  # voxels
    most = draw.uniform(0.05, 0.35) * radius
    strength = most * (distance / radius).clamp(max=1) * torch.exp(-((distance / radius - 1).clamp(min=0) ** 2) / 1.5)
    return apply(anatomy, -strength * away / distance)


def flip(anatomy: Anatomy) -> Anatomy:
    """Exchange left and right."""
    images = None if anatomy.images is None else anatomy.images.flip(1)
    return replace(anatomy, tissue=anatomy.tissue.flip(1), images=images, labels=anatomy.labels.flip(0))


def apply(anatomy: Anatomy, shift: Tensor) -> Anatomy:
    """Warp a brain: each voxel gets the content of the place ``shift`` voxels ``(3, *S)`` further."""
    shape = shift.shape[1:]
    scale = torch.tensor([2 / (n - 1) for n in shape], device=shift.device)[:, None, None, None]
    where = places(shape, shift.device) * scale - 1 + shift * scale
    grid = where.flip(0).permute(1, 2, 3, 0)[None]  # grid_sample wants the last axis first
    stack = anatomy.tissue if anatomy.images is None else torch.cat([anatomy.tissue, anatomy.images])
    moved = functional.grid_sample(stack[None], grid, align_corners=True)[0]
    labels = anatomy.labels
    if bool(labels.any()):
        nearest = functional.grid_sample(labels[None, None].float(), grid, mode="nearest", align_corners=True)
        labels = nearest[0, 0].long()
    images = None if anatomy.images is None else moved[3:]
    return replace(anatomy, tissue=moved[:3], images=images, labels=labels)


def places(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return the coordinates of each voxel, ``(3, *S)`` in voxels."""
    axes = [torch.arange(n, device=device, dtype=torch.float32) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sharpen(draw: Draw, tissue: Tensor) -> Tensor:
    """Give an average brain the borders of a patient's: steeper, with folds and with fluid according to age.

    An average brain has 7 to 9 % of fluid, the brains of two patients with glioma 19 %.
    """
    total = tissue.sum(0)
    folds = draw.uniform(0, 0.35) * draw.smooth(tissue.shape[1:], 7.0, 3)
    folds[CSF] = folds[CSF] + draw.uniform(0.0, 1.6)
    steep = draw.uniform(1.0, 3.0)
    return torch.softmax(steep * (torch.log(tissue.clamp(min=1e-3)) + folds), dim=0) * total.clamp(max=1)
