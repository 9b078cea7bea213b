"""How far a glioma has spread through a brain: an eikonal front, fast along white matter, slower elsewhere."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from metakd_monai.apps.simulation.training.anatomy import CSF, resample
from metakd_monai.apps.simulation.training.draw import Draw

GRID_MM = 4.0  # mm, voxels of the front; finer ones would take longer than the rest of a case
BEYOND_MM = 20.0  # more than any roughness of a border, which would leave specks far away otherwise
NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]


def travel(draw: Draw, tissue: Tensor, depth: Tensor, reach: float) -> Tensor:
    """Return the distance of each voxel from a core, ``(*S)``, in mm along unhindered white matter.

    Grey matter slows the front, and fluid nearly stops it. So it follows tracts, even into the other hemisphere, and
    passes around ventricles. Source: reaction-diffusion models of glioma, whose front is an eikonal equation (Konukoglu
    et al. 2010, doi:10.1109/TMI.2009.2026413).

    Args:
        draw: of the case.
        tissue: probabilities of CSF, grey and white matter, ``(3, *S)``.
        depth: mm below the core's surface, ``(*S)``, negative outside.
        reach: distances more than 20 mm beyond it are not distinguished.
    """
    step = max(GRID_MM, draw.spacing)
    coarse = resample(torch.cat([tissue, depth[None]]), draw.spacing, step)
    slow = torch.tensor([draw.uniform(6.0, 15.0), draw.uniform(1.6, 4.0), 1.0], device=depth.device)  # CSF, GM, WM
    own = Draw(int(draw.rng.integers(2**31)), draw.device, step)
    uneven = torch.exp(own.uniform(0.1, 0.5) * own.smooth(coarse.shape[1:], own.uniform(15, 40))[0])
    empty = (1 - coarse[:3].sum(0)).clamp(min=0)
    cost = uneven * (torch.einsum("c,cxyz->xyz", slow, coarse[:3]) + slow[CSF] * empty)
    start = torch.where(coarse[3] > -step, (-coarse[3]).clamp(min=0), torch.inf)
    far = reach + BEYOND_MM
    time = front(start, step * cost, math.ceil(far / step)).clamp(max=far)
    return functional.interpolate(time[None, None], list(depth.shape), mode="trilinear")[0, 0]


def front(start: Tensor, cost: Tensor, steps: int) -> Tensor:
    """Return the time at which a front reaches each voxel, ``(*S)``; infinite if it does not within the steps.

    Args:
        start: times at which it starts in a voxel by itself, ``(*S)``.
        cost: time to cross a voxel, ``(*S)``.
        steps: largest number of voxels to cross.
    """
    time = start
    for _ in range(steps):
        around = functional.pad(time, [1] * 6, value=torch.inf)
        for offset in NEIGHBOURS:
            time = torch.minimum(time, shifted(around, offset) + math.hypot(*offset) * cost)
    return time


def shifted(padded: Tensor, offset: Sequence[int]) -> Tensor:
    """Return the neighbours of all voxels, ``(*S)``, from a volume padded by one voxel on each side."""
    for axis, step in enumerate(offset):
        padded = padded.narrow(axis, 1 + step, padded.shape[axis] - 2)
    return padded
