"""Training: damaged images, labels, checkpoints and weights, and numbers that nothing can be learnt with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from campaign.families.damage import draw_cut, draw_flip
from campaign.families.headers import draw_lie
from campaign.sound import CASES
from campaign.trials import ANY, REFUSED, RIGHT, Inputs, Place, Plan, Prepare, strings

SMALL = (
    "--network_def#channels",
    "[4,8,16]",
    "--device",
    "cpu",
    "--roi_size",
    "[16,16,16]",
    "--num_workers",
    "0",
    "--cache_num",
    "0",
)
BRIEF = (
    "--max_iterations",
    "3",
    "--meta_interval",
    "2",
    "--val_interval",
    "3",
    "--checkpoint_interval",
    "1",
    "--validation_fraction",
    "0.3",
)
OPTIONS = (
    ("--learning_rate", "nan"), ("--learning_rate", "1e20"), ("--learning_rate", "'x'"), ("--alpha", "inf"),
    ("--max_iterations", "-1"),
    ("--batch_size", "0"), ("--roi_size", "[9999,16,16]"), ("--device", "cuda:9"),
    ("--train#dropping#law", "x"),
    ("--normalization", "tanh"), ("--meta_fraction", "2"), ("--dataset_dir", "nowhere"), ("--init_weights",
    "nowhere.pt"), ("--fold", "7"),
    ("--validate#additional_metrics#val_hausdorff95#metric_fn#spacing", "[nan,1,1]"), ("--train#modalities", "t9"),
    ("--meta_interval", "0"), ("--checkpoint_interval", "0"),
    ("--datalist", "nowhere.json"),
)  # fmt: skip


def train(*arguments: object) -> list[str]:
    """Return the arguments of a brief training."""
    return strings("train", "--dataset_dir", "in", "--output_dir", "out", *SMALL, *BRIEF, *arguments)


def plan_of(arguments: list[str], expect: str, culprit: tuple[str, ...] = ()) -> Plan:
    """Return the plan of a training; it may take longer than other commands."""
    return Plan(arguments, expect, culprit, seconds=60)


def files(rng: np.random.Generator) -> Inputs:
    """Damage a sequence or the label map of every case, so that each draw meets it."""
    for number in range(40):
        draw = (draw_cut, draw_flip, draw_lie)[number % 3]
        name = ("t1ce", "seg", "flair")[number // 3 % 3]
        if draw is draw_lie:
            lie = draw_lie(rng)
            yield f"every {name}: {lie.name}", with_files(name, lie.damage, REFUSED if lie.expect == REFUSED else ANY)
        else:
            recipe, damage, expect = draw(rng)  # type: ignore[misc]
            yield f"every {name}: {recipe}", with_files(name, damage, expect)


def with_files(name: str, damage: Callable[[Place, bytes], bytes], expect: str) -> Prepare:
    """Return what damages one file of each case."""

    def prepare(place: Place) -> Plan:
        for path in place.cohort().rglob(f"*_{name}.nii.gz"):
            path.write_bytes(damage(place, path.read_bytes()))
        return plan_of(train(), expect, (f"_{name}",))

    return prepare


def numbers(rng: np.random.Generator) -> Inputs:
    """Give numbers and names that nothing can be learnt with."""
    for name, value in OPTIONS:

        def prepare(place: Place, name: str = name, value: str = value) -> Plan:
            place.cohort()
            return plan_of(train(name, value), REFUSED)

        yield f"{name} {value}", prepare


def checkpoints(rng: np.random.Generator) -> Inputs:
    """Cut, empty or spoil the checkpoint that a run goes on from."""
    for number in range(8):
        kind = ("cut", "empty", "a pickle that makes a file", "not finite")[number % 4]
        yield f"checkpoint.pt {kind}, draw {number}", with_checkpoint(kind)


def with_checkpoint(kind: str) -> Prepare:
    """Return what trains briefly and spoils the checkpoint."""

    def prepare(place: Place) -> Plan:
        place.cohort()
        if place.sound.run(train("--max_iterations", "2"), place.work):
            raise RuntimeError("the first run failed")
        spoil_checkpoint(place, place.work / "out/checkpoint.pt", kind)
        return plan_of(train("--max_iterations", "4"), REFUSED, ("checkpoint.pt",))

    return prepare


def spoil_checkpoint(place: Place, path: Path, kind: str) -> None:
    """Spoil a checkpoint."""
    import torch

    from campaign.families.weights import Bomb

    data = path.read_bytes()
    if kind == "cut":
        path.write_bytes(data[: int(place.rng.integers(10, len(data) - 10))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "not finite":
        state = torch.load(path, weights_only=True)
        for tensor in state["network"].values():
            tensor.mul_(float("nan"))
        torch.save(state, path)
    else:
        torch.save(Bomb(place.canary), path)


def sound_run(rng: np.random.Generator) -> Inputs:
    """Train with nothing wrong: the control."""

    def prepare(place: Place) -> Plan:
        place.cohort(cases=CASES)
        return plan_of(train(), RIGHT)

    yield "nothing wrong", prepare


FAMILIES = {
    "training, files": (files, 14),
    "training, numbers": (numbers, 20),
    "training, checkpoint": (checkpoints, 8),
    "training, sound": (sound_run, 1),
}
