"""The simulator's cases as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from metakd_monai.apps.simulation.toy import Case
from metakd_monai.apps.simulation.training.anatomy import load_anatomies
from metakd_monai.apps.simulation.training.simulated_case import simulate
from metakd_monai.data.stream import seed_of
from metakd_monai.vocabulary import Modality

GAIN = 400  # of white matter, in units of an int16 file


def case_maker(
    seed: int, spacing: float, atlas: str | Path | None = None, real: str | Path | None = None
) -> Callable[[int], Case]:
    """Return ``make_case`` of :func:`~metakd_monai.apps.simulation.toy.simulate_cohort`.

    Args:
        seed: of the cohort.
        spacing: voxel size in mm.
        atlas: see :func:`~metakd_monai.apps.simulation.training.anatomy.load_anatomies`, as for the next and for what
            is raised.
        real: a folder of labelled cases.
    """
    anatomies = load_anatomies(spacing, atlas, real)

    def make(number: int) -> Case:
        images, labels = simulate(seed_of(seed, number), anatomies, spacing)
        voxels = np.clip(np.round(images.numpy() * GAIN), 0, 32767).astype(np.int16)
        return dict(zip(Modality, voxels, strict=True)), labels.numpy().astype(np.int16)

    return make
