"""One simulated case, from a brain to images and a label map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metakd_monai.simulation.anatomy import Anatomy
from metakd_monai.simulation.draw import Draw, pool
from metakd_monai.simulation.scan import take_images
from metakd_monai.simulation.tumours import grow_tumours, no_tumour
from metakd_monai.simulation.warp import deform, push, sharpen

ONLY_REAL_TUMOUR = 0.4  # of the draws of a real case: nothing is pasted


def simulate(
    seed: int, anatomies: Sequence[Anatomy], spacing: float, device: str | torch.device = "cpu", real_share: float = 0.3
) -> tuple[Tensor, Tensor]:
    """Simulate one case.

    Args:
        seed: same seed, same case (on the same kind of device).
        anatomies: see :func:`~metakd_monai.simulation.anatomy.load_anatomies`.
        spacing: of the anatomies' grids in mm.
        device: where to compute.
        real_share: share of the draws that take a real brain, where there is one.

    Returns:
        Images ``(N, *S)`` float32, 0 outside of the brain, and the label map ``(*S)`` int64; cut to the brain's box.
    """
    draw = Draw(seed, device, spacing)
    anatomy = choose(draw, anatomies, real_share).to(device)
    anatomy = deform(draw, anatomy)
    real = anatomy.images is not None
    if not real:
        anatomy = Anatomy(anatomy.name, sharpen(draw, anatomy.tissue), None, anatomy.labels)
    near = pool((anatomy.labels > 0).float()[None], 5)[0] > 0
    if real and bool(near.any()) and draw.chance(ONLY_REAL_TUMOUR):
        tumours = no_tumour(anatomy.tissue[0])
    else:
        tumours = grow_tumours(draw, anatomy.tissue, ~near)
        if not real:
            anatomy = push(draw, anatomy, tumours.whole)
    images = take_images(draw, anatomy, tumours)
    labels = torch.where(tumours.labels() > 0, tumours.labels(), anatomy.labels)
    return cut_to_brain(images, labels)


def choose(draw: Draw, anatomies: Sequence[Anatomy], real_share: float) -> Anatomy:
    """Choose a brain: a real one with the given probability, if there are both."""
    real = [a for a in anatomies if a.images is not None]
    other = [a for a in anatomies if a.images is None]
    pool_ = real if real and (not other or draw.chance(real_share)) else other
    return pool_[draw.choice([1.0] * len(pool_))]


def cut_to_brain(images: Tensor, labels: Tensor, margin: int = 2) -> tuple[Tensor, Tensor]:
    """Cut images ``(N, *S)`` and labels ``(*S)`` to the box of what is not 0, and take labels off the air."""
    brain = images.abs().sum(0) > 0
    labels = labels * brain
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        there = brain.any(dim=others[1]).any(dim=others[0]).nonzero().flatten()
        first = max(0, int(there[0]) - margin)
        last = min(brain.shape[axis], int(there[-1]) + 1 + margin)
        brain, labels = brain.narrow(axis, first, last - first), labels.narrow(axis, first, last - first)
        images = images.narrow(axis + 1, first, last - first)
    return images.contiguous(), labels.contiguous()
