"""How far features tell sequences and cases apart, at every scale of the encoder, for some weights.

Features of the same places of simulated cases, without dropping. Their spread over one axis is the root of the mean
squared deviation from the mean over that axis, beside their spread over space. Distillation can make the spread over
sequences vanish, and with it that over cases: docs/results/ablation.md.

Usage: measure_spread.py NAME=FILE ... [--random] [--spacing 2] [--cases 6] [--seed 0] [--atlas DIR] [--real DIR]
"""

import argparse
from pathlib import Path

import torch

from metakd_monai.apps.simulation.training.feature_spread import make_images, spread_table
from metakd_monai.errors import UserError
from metakd_monai.networks import MetaKDUNet
from metakd_monai.weights.load import load_network


def load(path: str) -> MetaKDUNet:
    """Load weights; raises UserError for those of another network."""
    network = load_network(path)
    if not isinstance(network, MetaKDUNet):
        raise UserError(f"{path}: weights of a {type(network).__name__} found; expected those of a MetaKDUNet")
    return network


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", help="NAME=FILE")
    parser.add_argument("--random", action="store_true", help="also the first network with weights drawn anew")
    parser.add_argument("--spacing", type=float, default=2.0)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atlas", type=Path)
    parser.add_argument("--real", type=Path)
    given = parser.parse_args()
    networks = {name: load(path) for name, _, path in (one.partition("=") for one in given.weights)}
    if given.random:
        torch.manual_seed(given.seed)
        networks["random"] = MetaKDUNet(channels=next(iter(networks.values())).channels).eval()
    print(
        "\n".join(spread_table(networks, make_images(given.cases, given.seed, given.spacing, given.atlas, given.real)))
    )


if __name__ == "__main__":
    main()
