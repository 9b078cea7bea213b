"""Gliomas: infiltrating oedema along white matter, a core that enhances in part or not at all, necrosis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metakd_monai.apps.simulation.training.anatomy import CSF, GM, WM
from metakd_monai.apps.simulation.training.draw import Draw, pool
from metakd_monai.apps.simulation.training.spread import travel
from metakd_monai.vocabulary import Label

KINDS = ("ring", "solid", "patchy", "none")  # how the core enhances
KIND_WEIGHTS = (0.48, 0.12, 0.18, 0.22)
REACH, NONE_REACH = (0.1, 0.3, 0.4, 0.2), (0.5, 0.25, 0.15, 0.1)  # weights of four ranges
SWOLLEN = 0.5  # share of the tumours whose oedema is not slowed by grey matter and sulci
SWOLLEN_SLOWER = 1.6  # slowdown of such oedema: it spreads to all sides, so less far
EDGE = 0.25  # share of a voxel from which on it is labelled: labels of patients end where oedema is faint, not halfway
NUMBER_WEIGHTS = (0.74, 0.18, 0.08)  # of one, two and three tumours


@dataclass(frozen=True)
class Tumours:
    """Shares of each voxel, ``(*S)``, between 0 and 1; fractions occur at borders and in infiltration."""

    whole: Tensor
    core: Tensor
    enhancing: Tensor
    necrosis: Tensor

    def labels(self) -> Tensor:
        """Return the label map ``(*S)``: tumour from a share of ``EDGE`` on, with the label of the largest share."""
        labels = torch.zeros(self.whole.shape, dtype=torch.int64, device=self.whole.device)
        labels[torch.maximum(self.whole, self.core) > EDGE] = int(Label.OEDEMA)
        labels[self.core > 0.5] = int(Label.NECROSIS)
        labels[(self.core > 0.5) & (self.enhancing > 0.5 * self.core)] = int(Label.ET)
        return labels


def no_tumour(like: Tensor) -> Tumours:
    """Return shares without any tumour, for a volume ``(*S)``."""
    zeros = torch.zeros_like(like)
    return Tumours(zeros, zeros, zeros, zeros)


def of_labels(draw: Draw, labels: Tensor) -> Tumours:
    """Return the tumours of a real label map ``(*S)``; the necrotic part of the core is drawn at random."""
    core = (labels == Label.NECROSIS) | (labels == Label.ET)
    whole, enhancing = labels > 0, labels == Label.ET
    necrotic = draw.smooth(labels.shape, 8.0)[0] > draw.uniform(-1.5, 1.5)
    return Tumours(*(part.float() for part in (whole, core, enhancing, core & ~enhancing & necrotic)))


def join(one: Tumours, other: Tumours) -> Tumours:
    """Return both tumours; where they meet, the larger share of core wins."""
    keep = other.core >= one.core
    return Tumours(
        torch.maximum(other.whole, one.whole),
        torch.maximum(other.core, one.core),
        torch.where(keep, other.enhancing, one.enhancing),
        torch.where(keep, other.necrosis, one.necrosis),
    )


def grow_tumours(draw: Draw, tissue: Tensor, free: Tensor) -> Tumours:
    """Grow one to three tumours.

    Args:
        draw: of the case.
        tissue: probabilities of CSF, grey and white matter, ``(3, *S)``.
        free: where they may begin, ``(*S)`` bool.
    """
    tumours = no_tumour(tissue[0])
    for number in range(1 + draw.choice(NUMBER_WEIGHTS)):
        tumours = join(tumours, grow_one(draw, tissue, free, 1.0 if number == 0 else draw.uniform(0.3, 0.6)))
    return tumours


def grow_one(draw: Draw, tissue: Tensor, free: Tensor, scale: float) -> Tumours:
    """Grow one tumour; radii in mm are multiplied by ``scale``."""
    shape = tissue.shape[1:]
    kind = KINDS[draw.choice(KIND_WEIGHTS)]
    radius = min(34.0, max(4.0, 16.0 * float(draw.rng.lognormal(0, 0.45)))) * scale
    middle = draw.place(free & (tissue[WM] > 0.5) if draw.chance(0.8) else free & (tissue[GM] > 0.5))
    swollen = draw.chance(SWOLLEN)
    fluid = tissue[CSF]
    if swollen:
        fluid = fluid * (pool(fluid[None], 5)[0] > 0.6)  # ventricles, not sulci
    allowed = (1 - fluid) * (tissue.sum(0) > 0.5)

    # The core: a rough ellipsoid. `depth` is mm below its surface.
    rough = draw.uniform(0.1, 0.35) * draw.smooth(shape, 18.0)[0] + draw.uniform(0.0, 0.1) * draw.smooth(shape, 7.0)[0]
    depth = radius * (1 - ellipsoid(draw, shape, middle, radius) * torch.exp(rough))
    core = torch.sigmoid(depth / draw.uniform(0.4, 1.6)) * allowed

    # Oedema: further out, along white matter; or through all tissue, whose sulci it effaces.
    reach = draw_reach(draw, kind)
    fingers = draw.uniform(0.5, 3.0) * draw.smooth(shape, 12.0)[0]
    if swollen:
        far = -SWOLLEN_SLOWER * depth + draw.uniform(0.05, 0.25) * reach * draw.smooth(shape, 30.0)[0].clamp(-2, 2)
    else:
        far = travel(draw, tissue, depth, reach) + draw.uniform(0, 8) * (pool(tissue[GM][None], 3)[0] - 0.3)
    infiltrated = torch.sigmoid((reach - far - fingers) / draw.uniform(0.8, 4.0)) * allowed
    whole = torch.maximum(infiltrated, core)

    enhancing = enhance(draw, kind, depth, radius) * core
    necrotic = draw.smooth(shape, 8.0)[0] + depth / radius > (0.2 if kind == "ring" else 1.2)
    return Tumours(whole, core, enhancing, (core - enhancing).clamp(min=0) * necrotic)


def draw_reach(draw: Draw, kind: str) -> float:
    """Return the reach of oedema beyond the core, in mm along white matter; tumours without enhancement have least."""
    low, high = ((0, 4), (4, 12), (10, 24), (20, 40))[draw.choice(NONE_REACH if kind == "none" else REACH)]
    return draw.uniform(low, high)


def enhance(draw: Draw, kind: str, depth: Tensor, radius: float) -> Tensor:
    """Return the share of each voxel of the core that takes up contrast agent, ``(*S)`` between 0 and 1."""
    if kind == "none":
        return torch.zeros_like(depth)
    patches = draw.smooth(depth.shape, draw.uniform(6, 14))[0]
    if kind == "solid":
        return torch.sigmoid(4 * (patches + draw.uniform(1.0, 2.5)))
    if kind == "patchy":
        return torch.sigmoid(4 * (patches - draw.uniform(-0.5, 1.0)))
    thick = draw.uniform(1.5, 4.0) + 0.12 * radius * draw.uniform(0.2, 2)
    inner = torch.sigmoid((thick * torch.exp(0.3 * patches) - depth) / draw.uniform(0.4, 1.0))
    gaps = torch.sigmoid(3 * (draw.smooth(depth.shape, 22.0)[0] + draw.uniform(-0.2, 2.5)))
    islands = torch.sigmoid(4 * (draw.smooth(depth.shape, 8.0)[0] - draw.uniform(0.8, 2.5)))
    return torch.maximum(inner * gaps, islands)


def ellipsoid(draw: Draw, shape: torch.Size, middle: Tensor, radius: float) -> Tensor:
    """Return the distance to a place in units of the radius, ``(*S)``, stretched in a random direction."""
    rotation, _ = torch.linalg.qr(torch.from_numpy(draw.rng.standard_normal((3, 3))).float())
    stretch = torch.tensor([draw.uniform(0.65, 1.5) for _ in range(3)])
    stretch = stretch / stretch.prod() ** (1 / 3)
    turn = ((rotation * stretch) @ rotation.T).to(draw.device) * draw.spacing / radius
    axes = [
        torch.arange(n, device=draw.device, dtype=torch.float32) - float(m) for n, m in zip(shape, middle, strict=True)
    ]
    x, y, z = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    square = torch.zeros(shape, device=draw.device)
    for row in turn:
        square = square + (row[0] * x + row[1] * y + row[2] * z) ** 2
    return square.sqrt()
