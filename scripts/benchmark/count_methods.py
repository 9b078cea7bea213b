#!/usr/bin/env python
"""Count parameters and floating-point operations of all methods' networks: the table in docs/explanation/methods.md.

Operations are two for each multiplication, of one pass over 128x128x128 voxels with all four sequences and with one.
They are counted on a smaller volume, with which those of convolutions grow; attention itself is not counted, but the
linear layers around it are.

Usage: scripts/benchmark/count_methods.py
"""

import json
from pathlib import Path

import torch
from monai.bundle import ConfigComponent
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from metakd_monai.bundle.root import bundle_root

SIZE = (64, 32, 32)
VOXELS = 128**3


def count(network: nn.Module, modalities: int) -> float:
    """Return TFLOP of a pass with the first so many modalities."""
    available = torch.arange(4)[None] < modalities
    with FlopCounterMode(display=False) as counter:  # with gradients: without, transformers run as one uncounted step
        network(torch.zeros(1, 4, *SIZE), available)
    factor = VOXELS / (SIZE[0] * SIZE[1] * SIZE[2])
    return counter.get_total_flops() * factor / 1e12


def main() -> None:
    """Print a row for each network."""
    configs = Path(bundle_root()) / "configs"
    for path in [configs / "train.json", *sorted((configs / "methods").glob("*.json"))]:
        definition = json.loads(path.read_text()).get("network_def")
        if definition is not None:
            network = ConfigComponent(config=definition).instantiate().eval()
            million = sum(parameter.numel() for parameter in network.parameters()) / 1e6
            print(f"| `{path.stem}` | {million:.2f} | {count(network, 4):.2f} | {count(network, 1):.2f} |", flush=True)


if __name__ == "__main__":
    main()
