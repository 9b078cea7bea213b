"""One simulated case, from a brain to images and a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metakd_monai.apps.simulation.training.anatomy import Anatomy, box_of
from metakd_monai.apps.simulation.training.draw import Draw, pool
from metakd_monai.apps.simulation.training.scan import take_images
from metakd_monai.apps.simulation.training.tumours import grow_tumours, join, no_tumour, of_labels
from metakd_monai.apps.simulation.training.warp import deform, push, sharpen

REPAINTED = (
    0.5  # share of the draws of a real case that use its tissue and tumour with drawn contrasts instead of its images
)
HEALED = 0.5  # share of these without its tumour
ONLY_REAL_TUMOUR = 0.4  # share of the draws with a real tumour in which no other is grown


def simulate(
    seed: int, anatomies: Sequence[Anatomy], spacing: float, device: str | torch.device = "cpu", real_share: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Simulate one case.

    Args:
        seed: same seed, same case (on the same kind of device).
        anatomies: see :func:`~metakd_monai.apps.simulation.training.anatomy.load_anatomies`.
        spacing: of the anatomies' grids in mm.
        device: where to compute.
        real_share: share of the draws that use a real brain, if there is one.

    Returns:
        Images ``(N, *S)`` float32, 0 outside of the brain, and the label map ``(*S)`` int64; cut to the brain's box.
    """
    draw = Draw(seed, device, spacing)
    anatomy = deform(draw, choose(draw, anatomies, real_share).to(device))
    if anatomy.images is None:
        anatomy = replace(anatomy, tissue=sharpen(draw, anatomy.tissue))
    elif draw.chance(REPAINTED):
        anatomy = repaint(draw, anatomy)
    has_own = bool(anatomy.labels.any())
    if has_own and draw.chance(ONLY_REAL_TUMOUR):
        tumours = no_tumour(anatomy.tissue[0])
    else:
        near = pool((anatomy.labels > 0).float()[None], 5)[0] > 0
        tumours = grow_tumours(draw, anatomy.tissue, ~near)
    if anatomy.images is None:
        if has_own:
            tumours = join(of_labels(draw, anatomy.labels), tumours)
        else:
            anatomy = push(draw, anatomy, tumours.whole)
    images = take_images(draw, anatomy, tumours)
    drawn = tumours.labels()
    return cut_to_brain(images, torch.where(drawn > 0, drawn, anatomy.labels))


def repaint(draw: Draw, anatomy: Anatomy) -> Anatomy:
    """Return a real brain without its images: its tissue, and in half of the draws its tumour."""
    healed = draw.chance(HEALED)
    return replace(anatomy, images=None, labels=torch.zeros_like(anatomy.labels) if healed else anatomy.labels)


def choose(draw: Draw, anatomies: Sequence[Anatomy], real_share: float) -> Anatomy:
    """Choose a brain: a real one with the given probability, if there are both."""
    real = [a for a in anatomies if a.images is not None]
    other = [a for a in anatomies if a.images is None]
    pool_ = real if real and (not other or draw.chance(real_share)) else other
    return pool_[draw.choice([1.0] * len(pool_))]


def cut_to_brain(images: Tensor, labels: Tensor, margin: int = 2) -> tuple[Tensor, Tensor]:
    """Crop images ``(N, *S)`` and labels ``(*S)`` to the box of nonzero voxels, and remove labels outside the brain."""
    brain = images.abs().sum(0) > 0
    box = box_of(brain, margin)
    every = (slice(None), *box)
    return images[every].contiguous(), (labels * brain)[box].contiguous()
