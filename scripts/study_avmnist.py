"""What would have to change for the scarce modality to help on AV-MNIST? Variants at 20 %, chosen on validation alone.

Choosing: images of MNIST's training set that are in no pair (3a), the validation pairs (3b). Confirming: the test pairs
and MNIST's test images, once, with seeds that were not used for choosing. Finished runs are kept in OUTPUT/runs.csv.

Usage: study_avmnist.py OUTPUT --pairs DIR --table 3a [--variants a,b] [--seeds 3] [--first-seed 0] [--jobs 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from reproduce_table3 import TABLES, Results, Run, carry_out, read_rows
from torch import Tensor, nn

from metakd_monai.equations import importance_ratio


class CosineDistillation(nn.Module):
    """The alpha term of Eq. (4) with another distance, 1 - cosine, and another ratio of importance.

    Args:
        power: of the ratio w_i / w_j: 1 as printed, 0 for none, -1 for the other direction.
    """

    def __init__(self, power: float = 0.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``."""
        present = available[..., None]
        unit = nn.functional.normalize(torch.where(present, features, torch.zeros_like(features)), dim=-1)
        distance = 1 - unit.detach() @ unit.transpose(1, 2)  # (B, N, N): teacher i, student j
        both = available[:, :, None] & available[:, None, :] & ~torch.eye(available.shape[1], dtype=torch.bool)
        ratio = importance_ratio(importance.detach()) ** self.power
        return (ratio * torch.where(both, distance, torch.zeros_like(distance))).sum(dim=(1, 2)).mean()


def cosine(power: float) -> dict[str, Any]:
    """Return the settings of a cosine distillation with alpha 1."""
    return {"alpha": 1.0, "distillation": {"_target_": "study_avmnist.CosineDistillation", "power": power}}


CONTROL = {"alpha": 0.0, "rate": 0.0}
DROPPED = {"dropping_prob": 1.0, "dropping_law": "subset"}
VARIANTS: dict[str, dict[str, Any]] = {
    "control": CONTROL,
    "printed": {},
    "cosine, other direction": cosine(-1),
    "donors": {"donors": True, "alpha": 0.0, **DROPPED},
    "donors, cosine": {"donors": True, **DROPPED, **cosine(0)},
    "control, augmented": {**CONTROL, "augment": True},
    "printed, augmented": {"augment": True},
    "donors, cosine, augmented": {"donors": True, "augment": True, **DROPPED, **cosine(0)},
    "donors, augmented": {"donors": True, "augment": True, "alpha": 0.0, **DROPPED},
}
CLASSIFY_ALONE = ("control", "control, augmented")


def main() -> None:
    """Train what is missing, then show each variant's gain over its control."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pairs", help="folder that `metakd avmnist` wrote; without it the embedded stand-in")
    parser.add_argument("--table", choices=list(TABLES), required=True)
    parser.add_argument("--variants", help="names, separated by semicolons; all without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    names = arguments.variants.split(";") if arguments.variants else list(VARIANTS)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    path = arguments.output / "runs.csv"
    runs = [
        Run(arguments.table, name, seed, {"rate": 0.2, **VARIANTS[name]}, meta=name not in CLASSIFY_ALONE)
        for seed in seeds
        for name in names
    ]
    carry_out(runs, arguments.pairs, path, arguments.jobs)
    results = Results(read_rows(path))
    columns = ("validation", "extra_digits", "test", "test_digits")
    print(f"{arguments.table}: mean ± sd, and gain over the control of the same augmentation, mean ± standard error")
    for name in names:
        control = "control, augmented" if "augmented" in name else "control"
        for column in columns:
            mean = results.mean(arguments.table, name, column)
            gain = "" if name == control else results.gain(arguments.table, name, control, column)
            if mean:
                print(f"{name:<28} {column:<14} {mean:<16} {gain}")


if __name__ == "__main__":
    main()
