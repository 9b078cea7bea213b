"""How far features tell sequences and cases apart, at every scale of the encoder, for some weights.

Features of the same places of simulated cases, without dropping. Their spread over one axis is the root of the mean
squared deviation from the mean over that axis, beside their spread over space. Distillation can make the spread over
sequences vanish, and with it that over cases: docs/evidence.md.

Usage: measure_spread.py NAME=FILE ... [--random] [--spacing 2] [--cases 6] [--seed 0] [--atlas DIR] [--real DIR]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.transforms import Compose, NormalizeIntensity, ResizeWithPadOrCrop
from torch import Tensor

from metakd_monai.apps.simulation.training import load_anatomies, simulate
from metakd_monai.networks import MetaKDUNet, scatter_rows
from metakd_monai.vocabulary import Modality
from metakd_monai.weights.load import load_network

SIZE = 192  # mm along each axis, from the middle of the brain's box


def make_images(cases: int, seed: int, spacing: float, atlas: Path | None, real: Path | None) -> Tensor:
    """Return simulated images as a training sees them, ``(cases, N, *S)``, of one size."""
    prepare = Compose([NormalizeIntensity(nonzero=True, channel_wise=True), ResizeWithPadOrCrop(int(SIZE / spacing))])
    anatomies = load_anatomies(spacing, atlas, real)
    return torch.stack([torch.as_tensor(prepare(simulate(seed + n, anatomies, spacing)[0])) for n in range(cases)])


def spread(features: Tensor, dim: int | tuple[int, ...]) -> float:
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
        found.append((spread(features, 1), spread(features, 0), spread(features, (3, 4, 5))))
    return found


def table(networks: dict[str, MetaKDUNet], images: Tensor) -> list[str]:
    """Return a Markdown table of all scales of all networks."""
    lines = ["| weights | scale | over sequences | over cases | over space |", "|---|--:|--:|--:|--:|"]
    for name, network in networks.items():
        for scale, values in enumerate(spreads(network, images), start=1):
            lines.append(f"| {name} | {scale} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", help="NAME=FILE")
    parser.add_argument("--random", action="store_true", help="also the first network with weights drawn anew")
    parser.add_argument("--spacing", type=float, default=2.0)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atlas", type=Path)
    parser.add_argument("--real", type=Path)
    given = parser.parse_args(arguments)
    networks = {name: load_network(path) for name, _, path in (one.partition("=") for one in given.weights)}
    if given.random:
        torch.manual_seed(given.seed)
        networks["random"] = MetaKDUNet(channels=next(iter(networks.values())).channels).eval()
    print("\n".join(table(networks, make_images(given.cases, given.seed, given.spacing, given.atlas, given.real))))


if __name__ == "__main__":
    main()
