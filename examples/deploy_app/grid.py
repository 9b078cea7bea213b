"""One grid for sequences that were acquired on several, provided that they show the same head in the same place."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

ALIGNED = 0.9  # Dice of two sequences' brains; 5 mm apart, brains of an adult have about 0.93


def to_one_grid(images: Mapping[Modality, MetaTensor]) -> tuple[Modality, dict[Modality, MetaTensor]]:
    """Resample sequences to the grid of the finest one; those that are on it already are left as they are.

    Args:
        images: ``(1, *S)`` each, with its affine; skull-stripped, 0 outside the brain.

    Returns:
        The sequence whose grid it is, and all sequences ``(1, *S)`` on that grid.

    Raises:
        UserError: when a sequence does not show the brain where the others do. Nothing is registered here.
    """
    reference = min(images, key=lambda modality: math.prod(images[modality].pixdim.tolist()))
    target = images[reference]
    resampled = {modality: resample(image, target) for modality, image in images.items()}
    brain = target.as_tensor() != 0
    for modality, image in images.items():
        there = resample((image != 0).to(image.dtype), target, "nearest").as_tensor() != 0
        overlap = 2 * float((there & brain).sum()) / max(1.0, float(there.sum() + brain.sum()))
        if overlap < ALIGNED:
            raise UserError(
                f"{modality.value}: its brain and that of {reference.value} overlap by {overlap:.2f} (Dice);"
                f" expected at least {ALIGNED:g}: register the sequences to each other first"
            )
    return reference, resampled


def resample(image: MetaTensor, target: MetaTensor, mode: str = "bilinear") -> MetaTensor:
    """Return ``(1, *S)`` on the grid of another image; unchanged when it is there already (affine to 1e-3 mm)."""
    if image.shape == target.shape and torch.allclose(image.affine, target.affine, atol=1e-3):
        return image
    moved: MetaTensor = ResampleToMatch(mode=mode, padding_mode="zeros")(image, target)
    return moved
