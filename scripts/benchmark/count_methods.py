#!/usr/bin/env python
"""Count parameters and floating-point operations of all methods' networks: the table in docs/explanation/methods.md.

Operations are those of metakd_monai.networks.operations, with all four sequences and with one.

Usage: scripts/benchmark/count_methods.py
"""

import json
from pathlib import Path

from monai.bundle import ConfigComponent

from metakd_monai.bundle.root import bundle_root
from metakd_monai.networks.operations import count_operations


def main() -> None:
    """Print a row for each network."""
    configs = Path(bundle_root()) / "configs"
    for path in [configs / "train.json", *sorted((configs / "methods").glob("*.json"))]:
        definition = json.loads(path.read_text()).get("network_def")
        if definition is not None:
            network = ConfigComponent(config=definition).instantiate().eval()
            million = sum(parameter.numel() for parameter in network.parameters()) / 1e6
            counts = [count_operations(network, modalities) for modalities in (4, 1)]
            print(f"| `{path.stem}` | {million:.2f} | {counts[0]:.2f} | {counts[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
