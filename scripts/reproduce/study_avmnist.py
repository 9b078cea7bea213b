"""What would have to change for the scarce modality to help on AV-MNIST? Ways to use it, chosen on validation alone.

The test pairs and MNIST's test images are taken away before anything is trained. What a choice rests on: 10,000 of
MNIST's training images that are in no pair (3a, `extra_digits`); 300 training pairs held out anew for each seed
(`test`) and the 150 validation pairs (3b). Finished runs are kept in OUTPUT/runs.csv.

Usage: study_avmnist.py OUTPUT --pairs DIR --table 3a [--recipe tuned] [--ways "control;printed"] [--seeds 3]
[--first-seed 0] [--rate 0.2] [--epochs 60] [--jobs 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reproduce_table3 import TABLES, Results, Run, carry_out, read_rows
from torch import Tensor, nn

from metakd_monai.apps.avmnist import Pairs
from metakd_monai.equations import distillation, fill_missing, importance_ratio

OF_PAIRS = ("image", "sound", "label", "speaker")
HELD_OUT = {"3a": 0, "3b": 10}  # of each class and speaker; images have 10,000 others to choose on


def hold_out(pairs: Pairs, seed: int, number: int) -> Pairs:
    """Return pairs without the test set, some of the others (of each class and speaker) in its place."""
    rng = np.random.default_rng([seed, 7])
    known = np.flatnonzero(~pairs.test)
    group = pairs.label[known] * 10 + pairs.speaker[known]
    held = np.zeros(len(known), bool)
    for one in np.unique(group):
        held[rng.permutation(np.flatnonzero(group == one))[:number]] = True
    taken = {name: getattr(pairs, name)[known] for name in OF_PAIRS}
    nothing = {"test_image": pairs.test_image[:0], "test_label": pairs.test_label[:0]}
    return Pairs(**{**asdict(pairs), **taken, **nothing, "test": held})


class CosineDistillation(nn.Module):
    """The alpha term of Eq. (4) with another distance, 1 - cosine, and another ratio of importance.

    Args:
        power: of the ratio w_i / w_j: 1 as printed, 0 for none, -1 for the other direction.
        teacher: the only modality that teaches; None for all.
    """

    def __init__(self, power: float = 0.0, teacher: int | None = None) -> None:
        super().__init__()
        self.power, self.teacher = power, teacher

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``."""
        present = available[..., None]
        unit = nn.functional.normalize(torch.where(present, features, torch.zeros_like(features)), dim=-1)
        distance = 1 - unit.detach() @ unit.transpose(1, 2)  # (B, N, N): teacher i, student j
        both = available[:, :, None] & available[:, None, :] & ~torch.eye(available.shape[1], dtype=torch.bool)
        ratio = importance_ratio(importance.detach()) ** self.power
        if self.teacher is not None:
            both = both & (torch.arange(available.shape[1]) == self.teacher)[:, None]
        return (ratio * torch.where(both, distance, torch.zeros_like(distance))).sum(dim=(1, 2)).mean()


class PredictionDistillation(nn.Module):
    """Distil from what is told from all modalities of a sample to what is told from each alone.

    Args:
        network: whose ``decode`` classifies features.
        temperature: of both predictions.
    """

    def __init__(self, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.decode: Any = network.decode
        self.temperature = temperature

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``, not used."""
        several = available.sum(dim=1) > 1
        if not several.any():
            return features.new_zeros(())
        features, available = features[several], available[several]
        teacher = (self.decode(features, available).detach() / self.temperature).log_softmax(-1)
        total = features.new_zeros(())
        for n in range(available.shape[1]):
            alone = torch.zeros_like(available)
            alone[:, n] = available[:, n]
            student = (self.decode(features, alone) / self.temperature).log_softmax(-1)
            gap = nn.functional.kl_div(student, teacher, log_target=True, reduction="none").sum(-1)
            total = total + gap[available[:, n]].sum()
        return self.temperature**2 * total / len(several)


class HiddenDistillation(nn.Module):
    """The printed term on other features: the hidden layer of the head, of each modality alone.

    Args:
        network: whose ``head`` classifies filled features.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.head: Any = network.head

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``."""
        hidden = []
        for n in range(available.shape[1]):
            alone = torch.zeros_like(available)
            alone[:, n] = True
            hidden.append(self.head[:3](fill_missing(features, alone)))  # flattened, fully connected, ReLU
        return distillation(torch.stack(hidden, dim=1), available, importance)


class ScheduledDistillation(nn.Module):
    """The printed term, its weight rising from 0 to 1 or falling from 1 to 0 in a straight line.

    Args:
        iterations: of the training.
        rising: or falling.
    """

    def __init__(self, iterations: int, rising: bool) -> None:
        super().__init__()
        self.iterations, self.rising, self.past = iterations, rising, 0

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``."""
        share = min(1.0, self.past / self.iterations)
        self.past += 1
        return (share if self.rising else 1 - share) * distillation(features, available, importance)


class Both(nn.Module):
    """Sum of a distillation of predictions and one of features from the scarce modality alone.

    Args:
        network: see :class:`PredictionDistillation`.
        teacher: see :class:`CosineDistillation`.
        share: of the distillation of features.
    """

    def __init__(self, network: nn.Module, teacher: int, share: float) -> None:
        super().__init__()
        self.prediction, self.features = PredictionDistillation(network), CosineDistillation(0, teacher)
        self.share = share

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar, see the two."""
        loss: Tensor = self.prediction(features, available, importance)
        return loss + self.share * self.features(features, available, importance)


def cosine(power: float, alpha: float = 1.0) -> dict[str, Any]:
    """Return the settings of a cosine distillation."""
    return {"alpha": alpha, "distillation": {"_target_": "study_avmnist.CosineDistillation", "power": power}}


def prediction(alpha: float = 1.0, temperature: float = 1.0) -> dict[str, Any]:
    """Return the settings of a distillation of predictions."""
    target = {"_target_": "study_avmnist.PredictionDistillation", "network": "@network", "temperature": temperature}
    return {"alpha": alpha, "distillation": target}


def both(share: float) -> dict[str, Any]:
    """Return the settings of both distillations, the scarce modality being the teacher of features."""
    teacher = "$@modalities.index(@scarce)"
    target = {"_target_": "study_avmnist.Both", "network": "@network", "teacher": teacher, "share": share}
    return {"alpha": 1.0, "distillation": target}


def scheduled(rising: bool) -> dict[str, Any]:
    """Return the settings of an alpha that goes from 0 to 1 or from 1 to 0."""
    iterations = "$@max_epochs * @train#epoch_length"
    target = {"_target_": "study_avmnist.ScheduledDistillation", "iterations": iterations, "rising": rising}
    return {"alpha": 1.0, "distillation": target}


COSINE_LAW = {
    "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
    "optimizer": "@optimizer",
    "T_max": "$@max_epochs * @train#epoch_length",
}
SCHEDULE = {"learning_rate": 0.002, "weight_decay": 0.0001, "lr_scheduler": COSINE_LAW}
ROWS = {"normalize_rows": True}
RECIPES: dict[str, dict[str, Any]] = {
    "printed": {},
    "augmented": {"augment": True},
    "schedule": SCHEDULE,
    "rows": {**SCHEDULE, **ROWS},
    "tuned": {**SCHEDULE, **ROWS, "augment": True},
}
DONORS = {"donors": True}
DROPPED = {"donors": True, "dropping_prob": 1.0, "dropping_law": "subset"}
CURRICULUM = {  # at first both, then ever more often a random subset
    **DROPPED,
    "warm_up": "$@max_epochs * @train#epoch_length // 4",
    "ramp": "$@max_epochs * @train#epoch_length // 4",
}
HIDDEN = {"distillation": {"_target_": "study_avmnist.HiddenDistillation", "network": "@network"}}
WAYS: dict[str, dict[str, Any]] = {
    "control": {"alpha": 0.0, "rate": 0.0},
    "printed": {},
    "alpha 1": {"alpha": 1.0},
    "alpha rising to 1": scheduled(rising=True),
    "alpha falling from 1": scheduled(rising=False),
    "hidden features": HIDDEN,
    "cosine, alpha 0.1": cosine(0, 0.1),
    "other direction": cosine(-1, 0.1),
    "prediction": prediction(),
    "donors, prediction": {**DONORS, **prediction()},
    "donors, prediction, scarce teaches": {**DONORS, **both(0.3)},
    "donors, dropped": {**DROPPED, "alpha": 0.0},
    "donors, dropped, printed": DROPPED,
    "donors, dropped, cosine": {**DROPPED, **cosine(0)},
    "donors, dropped, other direction": {**DROPPED, **cosine(-1)},
    "donors, dropped, prediction": {**DROPPED, **prediction()},
    "donors, curriculum": {**CURRICULUM, "alpha": 0.0},
    "donors, curriculum, printed": CURRICULUM,
}


def settings_of(recipe: str, way: str, rate: float) -> dict[str, Any]:
    """Return the settings of ``train.json`` that differ."""
    return {"rate": rate, **RECIPES[recipe], **WAYS[way]}


def show(results: Results, table: str, recipe: str, ways: Sequence[str]) -> None:
    """Print what a choice rests on."""
    print(f"{table}, {recipe}: mean ± sd, and gain over the control, mean ± standard error")
    for way in ways:
        for column in ("extra_digits",) if table == "3a" else ("test", "validation"):
            mean = results.mean(table, f"{recipe}: {way}", column)
            gain = results.gain(table, f"{recipe}: {way}", f"{recipe}: control", column)
            print(f"{way:<34} {column:<14} {mean:<16} {gain}")


def main() -> None:
    """Train what is missing, then show each way's gain over its control."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pairs", help="folder that `metakd avmnist` wrote; without it the embedded stand-in")
    parser.add_argument("--table", choices=list(TABLES), required=True)
    parser.add_argument("--recipe", choices=list(RECIPES), default="tuned")
    parser.add_argument("--ways", help="names, separated by semicolons; all without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=60, help="another OUTPUT for each")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    ways = arguments.ways.split(";") if arguments.ways else list(WAYS)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    path = arguments.output / "runs.csv"
    change = partial(hold_out, number=HELD_OUT[arguments.table])
    runs = [
        Run(
            arguments.table,
            f"{arguments.recipe}: {way}",
            seed,
            {**settings_of(arguments.recipe, way, arguments.rate), "max_epochs": arguments.epochs},
            way != "control",
            change,
        )
        for seed in seeds
        for way in ways
    ]
    carry_out(runs, arguments.pairs, path, arguments.jobs)
    show(Results(read_rows(path)), arguments.table, arguments.recipe, ways)


if __name__ == "__main__":
    main()
