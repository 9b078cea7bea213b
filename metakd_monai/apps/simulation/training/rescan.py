"""Real images as another scanner might have made them, as a MONAI transform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from torch import Tensor

from metakd_monai.apps.simulation.training.anatomy import extend
from metakd_monai.apps.simulation.training.draw import Draw
from metakd_monai.apps.simulation.training.scan import finish, restyle


class RandRescand(Randomizable, MapTransform):
    """Give sequences other scanner effects, each its own: what :func:`~.scan.finish` does to simulated ones.

    Contrast (a power), thick slices or blur, a bias field, noise, a curve of intensities, a cut at the top. Mean and
    standard deviation of each sequence inside the brain stay as they are, and what is outside of it stays 0.

    Args:
        keys: images ``(N, *S)``, normalised inside the brain, 0 outside of it.
        prob: of each sequence.
        spacing: voxel size in mm, isotropic.
        allow_missing_keys: as MONAI's.
    """

    def __init__(
        self, keys: KeysCollection, prob: float = 0.5, spacing: float = 1.0, allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.prob, self.spacing = prob, spacing

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with its images changed."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            images = torch.as_tensor(changed[key])
            seeds = [int(self.R.randint(2**31)) if self.R.random() < self.prob else None for _ in images]
            changed[key] = torch.stack(
                [
                    image if seed is None else rescan(image, Draw(seed, spacing=self.spacing))
                    for image, seed in zip(images, seeds, strict=True)
                ]
            )
        return changed


def rescan(image: Tensor, draw: Draw) -> Tensor:
    """Return one sequence ``(*S)`` with other scanner effects; an image that is 0 all over comes back as it is."""
    brain = image != 0
    if not brain.any():
        return image
    values = image[brain]
    low, middle = values.min(), values.median()
    bright = (image - low) / (middle - low).clamp(min=1e-6)
    over_border = extend(bright[None], brain.float())[0]  # blur mixes no air in
    found = finish(draw, restyle(draw, over_border), brain[None].float())
    inside = found[brain]
    scaled = (found - inside.mean()) / inside.std().clamp(min=1e-6) * values.std() + values.mean()
    return torch.where(brain, scaled, torch.zeros_like(image))
