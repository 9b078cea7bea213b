"""Write weights that no one has trained, for checks of plumbing: on the given case their mask holds every label.

Usage: python scripts/weights/make_test_weights.py CASE OUTPUT.pt

They are drawn with seed 0, and each region's bias is put where a third of the brain is above it. A mask as undecided
as theirs shows the smallest difference between two ways to compute it.
"""

import argparse
from pathlib import Path

import torch

from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import write_safely
from metakd_monai.networks import MetaKDUNet


def make_weights(case: str, output: Path) -> None:
    """Write a state dict of the bundle's network."""
    torch.manual_seed(0)
    network = MetaKDUNet()
    write_safely(output, lambda path: torch.save(network.state_dict(), path))
    predictor = Predictor(output)
    item = predictor.read(find_cases(case)[0])
    brain = (item["image"].as_tensor() != 0).any(dim=0)
    logits = predictor.segment(item)[:, brain]  # (R, voxels)
    thresholds = logits.kthvalue(logits.shape[1] * 2 // 3, dim=1).values
    state = network.state_dict()
    state["heads.0.conv.bias"] -= thresholds
    write_safely(output, lambda path: torch.save(state, path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    make_weights(arguments.case, arguments.output)
