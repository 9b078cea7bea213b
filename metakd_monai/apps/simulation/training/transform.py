"""The simulator as a MONAI transform, and a datalist of cases to simulate."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Randomizable, Transform

from metakd_monai.apps.simulation.training.anatomy import load_anatomies
from metakd_monai.apps.simulation.training.simulated_case import simulate
from metakd_monai.data.stream import seed_of
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

CASE_SEED = "case_seed"


def simulated_split(training: int = 1000, meta: int = 16, validation: int = 16, seed: int = 0) -> dict[str, list[dict]]:
    """Return the datalists of a simulated cohort.

    Training cases are drawn anew at each access; the others have a fixed seed and stay the same.

    Args:
        training: cases of one epoch.
        meta: cases for meta-validation.
        validation: cases for validation.
        seed: of the cases that stay the same.

    Raises:
        UserError: for numbers below 1.
    """
    for name, number in (("training", training), ("meta", meta), ("validation", validation)):
        if number < 1:
            raise UserError(f"{name}: {number} simulated cases found; expected at least 1")
    split: dict[str, list[dict]] = {"training": [{"case_id": f"training_{number}"} for number in range(training)]}
    for part, (name, size) in enumerate((("meta", meta), ("validation", validation))):
        split[name] = [{"case_id": f"{name}_{n}", CASE_SEED: seed_of(seed, 2 + part, n)} for n in range(size)]
    return split


class RandSimulated(Randomizable, Transform):
    """Put a simulated case into an item: ``image`` ``(N, *S)``, ``label`` ``(1, *S)``, ``available`` ``(N,)``.

    The case is determined by the item's ``case_seed``, or new for each call.

    Args:
        spacing: voxel size in mm, isotropic.
        atlas: see :func:`~metakd_monai.apps.simulation.training.anatomy.load_anatomies`, as for the next.
        real: a folder of labelled cases.
        real_share: share of the draws that take a real brain.
        device: where to compute; in worker processes of a DataLoader this must be the CPU.

    Raises:
        UserError: for folders without such files.
    """

    def __init__(
        self,
        spacing: float = 2.0,
        atlas: str | Path | None = None,
        real: str | Path | None = None,
        real_share: float = 0.5,
        device: str | torch.device = "cpu",
    ) -> None:
        self.spacing, self.real_share, self.device = spacing, real_share, torch.device(device)
        self.anatomies = [one.to(device) for one in load_anatomies(spacing, atlas, real)]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with a case in it."""
        seed = data.get(CASE_SEED)
        seed = int(self.R.randint(2**31)) if seed is None else int(seed)
        image, label = simulate(seed, self.anatomies, self.spacing, self.device, self.real_share)
        available = torch.ones(len(Modality), dtype=torch.bool)
        return {**data, "image": image, "label": label[None], "available": available}
