"""How well features distinguish sequences and cases, at every scale of the encoder, for some weights.

Features of the same places of simulated cases, without dropping. Their spread over one axis is the root of the mean
squared deviation from the mean over that axis, beside their spread over space.
"""

from __future__ import annotations

from pathlib import Path

import torch
from monai.transforms import Compose, NormalizeIntensity, ResizeWithPadOrCrop
from torch import Tensor

from metakd_monai.apps.simulation.training.anatomy import load_anatomies
from metakd_monai.apps.simulation.training.simulated_case import simulate
from metakd_monai.networks import MetaKDUNet, scatter_rows
from metakd_monai.vocabulary import Modality

SIZE = 192  # mm along each axis, from the middle of the brain's box


def make_images(cases: int, seed: int, spacing: float, atlas: Path | None, real: Path | None) -> Tensor:
    """Return simulated images as in training, ``(cases, N, *S)``, of one size."""
    prepare = Compose([NormalizeIntensity(nonzero=True, channel_wise=True), ResizeWithPadOrCrop(int(SIZE / spacing))])
    anatomies = load_anatomies(spacing, atlas, real)
    return torch.stack([torch.as_tensor(prepare(simulate(seed + n, anatomies, spacing)[0])) for n in range(cases)])


def spread_over(features: Tensor, dim: int | tuple[int, ...]) -> float:
    """Return the root of the mean squared deviation from the mean over some axes."""
    return float((features - features.mean(dim, keepdim=True)).square().mean().sqrt())


def spreads(network: MetaKDUNet, images: Tensor) -> list[tuple[float, float, float]]:
    """Return the spread over sequences, cases and space at each scale, finest first."""
    network.pooling = 1  # images are on the voxels of the training
    available = torch.ones(1, len(Modality), dtype=torch.bool)
    with torch.inference_mode():
        encoded = [network.encode(image[None], available) for image in images]
    found = []
    for scale in range(len(network.channels)):
        features = torch.cat([scatter_rows(case[scale], available) for case in encoded])  # (cases, N, C, *S)
        found.append((spread_over(features, 1), spread_over(features, 0), spread_over(features, (3, 4, 5))))
    return found


def spread_table(networks: dict[str, MetaKDUNet], images: Tensor) -> list[str]:
    """Return a Markdown table of all scales of all networks."""
    lines = ["| weights | scale | over sequences | over cases | over space |", "|---|--:|--:|--:|--:|"]
    for name, network in networks.items():
        for scale, values in enumerate(spreads(network, images), start=1):
            lines.append(f"| {name} | {scale} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return lines
