"""Pairs as MONAI datalists, from which the scarce modality is really missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metakd_monai.apps.avmnist.pairs import DIGITS, Pairs
from metakd_monai.apps.avmnist.sources import SPEAKERS
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import check_modalities

MODALITIES = ("image", "sound")
VALIDATION_PAIRS = 5  # of each class and speaker, so 150


def split_pairs(
    pairs: Pairs,
    seed: int = 0,
    scarce: str = "sound",
    rate: float = 0.2,
    modalities: Sequence[str] = MODALITIES,
    donors: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """Split pairs into training (900), meta-validation (150) and test (450), and remove the scarce modality.

    Test pairs are fixed; the seed chooses the validation pairs and which training pairs keep the scarce modality.
    Pairs that keep it at a lower rate also keep it at a higher one.

    Args:
        pairs: see :class:`~metakd_monai.apps.avmnist.pairs.Pairs`.
        seed: of the split.
        scarce: ``"image"`` or ``"sound"``.
        rate: share of the training pairs that keep the scarce modality.
        modalities: those that the network has, in its order.
        donors: give each training pair without the scarce modality that of another pair of its class (pairs are random
            within a class anyway); such pairs are called ``..._from_...``.

    Returns:
        ``training``: with what they have; ``meta``: with both; ``validation`` (the same pairs as ``meta``) and
        ``test``: without the scarce modality; ``test_full``: with both.

    Raises:
        UserError: for an unknown modality, or a rate outside 0 to 1.
    """
    check_modalities((scarce, *modalities), MODALITIES)
    if not 0 <= rate <= 1:
        raise UserError(f"rate: {rate} found; expected a share between 0 and 1")
    rng = np.random.default_rng([seed, 3])
    validation = choose_validation(pairs, rng)
    training = rng.permutation(np.setdiff1d(np.flatnonzero(~pairs.test), validation))
    tested = [name for name in modalities if name != scarce]
    test = np.flatnonzero(pairs.test)
    keeps = round(rate * len(training))

    def items(indices: np.ndarray, present: Sequence[str]) -> list[dict[str, Any]]:
        return [pair_item(pairs, int(index), present, modalities) for index in indices]

    whole, lacking = items(training[:keeps], modalities), items(training[keeps:], tested) if tested else []
    if donors:
        lacking = [borrow(item, whole, scarce, rng) for item in lacking]
    return {
        "training": whole + lacking,
        "meta": items(validation, modalities),
        "validation": items(validation, tested),
        "test": items(test, tested),
        "test_full": items(test, modalities),
    }


def borrow(
    item: dict[str, Any], donors: Sequence[dict[str, Any]], scarce: str, rng: np.random.Generator
) -> dict[str, Any]:
    """Give an item the scarce modality of a random donor of its class; without one it stays as it is."""
    same = [donor for donor in donors if donor["label"] == item["label"]]
    if not same:
        return item
    donor = same[rng.integers(len(same))]
    case_id = f"{item['case_id']}_from_{donor['case_id']}"
    return {**item, scarce: donor[scarce], "available": donor["available"], "case_id": case_id}


def choose_validation(pairs: Pairs, rng: np.random.Generator) -> np.ndarray:
    """Draw the same number of pairs of each class and speaker, ``(150,)``."""
    chosen = []
    for digit in range(DIGITS):
        for speaker in range(len(SPEAKERS)):
            group = np.flatnonzero(~pairs.test & (pairs.label == digit) & (pairs.speaker == speaker))
            chosen.append(rng.permutation(group)[:VALIDATION_PAIRS])
    return np.concatenate(chosen)


def pair_item(pairs: Pairs, index: int, present: Sequence[str], modalities: Sequence[str]) -> dict[str, Any]:
    """Return one pair; an absent modality is not available, and NaN, so that reading it would show."""
    values = {"image": image_tensor(pairs.image[index]), "sound": torch.from_numpy(pairs.sound[index])[None]}
    return make_item(values, int(pairs.label[index]), f"pair_{index:04d}", present, modalities)


def digit_items(pairs: Pairs, test: bool, modalities: Sequence[str] = MODALITIES) -> list[dict[str, Any]]:
    """Return written digits that have no sound: all of MNIST's test images, or images for choosing settings."""
    images, labels = (pairs.test_image, pairs.test_label) if test else (pairs.extra_image, pairs.extra_label)
    available = torch.tensor([name == "image" for name in modalities])
    shared = {"available": available} | {n: torch.full((1, 20, 20), torch.nan) for n in modalities if n != "image"}
    columns = zip(image_tensor(images).unbind(1), torch.from_numpy(labels).long().unbind(), strict=True)
    return [
        {"image": image, **shared, "label": label, "case_id": f"digit_{n:05d}"}
        for n, (image, label) in enumerate(columns)
    ]


def make_item(
    values: dict[str, Tensor], label: int, case_id: str, present: Sequence[str], modalities: Sequence[str]
) -> dict[str, Any]:
    """Return an item: each modality ``(1, *S)``, ``label``, ``available`` ``(N,)`` bool, ``case_id``."""
    item: dict[str, Any] = {
        name: values[name] if name in present else torch.full_like(values[name], torch.nan) for name in modalities
    }
    available = torch.tensor([name in present for name in modalities])
    return {**item, "label": torch.tensor(label), "available": available, "case_id": case_id}


def image_tensor(image: np.ndarray) -> Tensor:
    """Return ``(1, ...)`` float32 in 0..1 of bytes, such as ``(28, 28)``."""
    return torch.from_numpy(image).float()[None] / 255
