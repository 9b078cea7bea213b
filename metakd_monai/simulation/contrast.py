"""What tissue looks like in each sequence: means drawn from wide ranges that keep the order of physics.

Units: the sequence's mean white matter is 1. Ranges are chosen from what is generally seen on clinical T1, T1 with
contrast agent, T2 and FLAIR of gliomas; they are wider than any one scanner's.
"""

from __future__ import annotations

from dataclasses import dataclass

from metakd_monai.simulation.draw import Draw
from metakd_monai.vocabulary import Modality

CYSTIC = 0.25  # of the cases: necrosis that FLAIR suppresses as it does fluid


@dataclass(frozen=True)
class Contrast:
    """Mean intensities of one sequence."""

    csf: float
    grey: float
    oedema: float
    necrosis: float
    solid: float
    enhancing: float


def draw_contrasts(draw: Draw) -> dict[Modality, Contrast]:
    """Draw the means of the four sequences of one case."""
    grey = draw.uniform(0.68, 0.96)
    t1 = Contrast(
        csf=draw.uniform(0.1, 0.6) * grey,
        grey=grey,
        oedema=draw.uniform(grey - 0.15, grey + 0.75 * (1 - grey)),
        necrosis=draw.uniform(0.3, 0.85) * grey + 0.05,
        solid=draw.uniform(0.75, 1.1) * grey,
        enhancing=draw.uniform(0.8, 1.15) * grey,
    )
    grey = draw.uniform(0.72, 0.98)
    uptake = draw.uniform(0.12, 1.3)
    t1ce = Contrast(
        csf=draw.uniform(0.1, 0.6) * grey,
        grey=grey,
        oedema=draw.uniform(grey - 0.15, grey + 0.75 * (1 - grey)),
        necrosis=draw.uniform(0.3, 0.9) * grey + 0.05,
        solid=draw.uniform(0.75, 1.1) * grey,
        enhancing=max(1.0, grey + 0.15) + uptake - 0.1,
    )
    grey = draw.uniform(1.12, 1.75)
    csf = grey * draw.uniform(1.3, 3.2)
    t2 = Contrast(
        csf=csf,
        grey=grey,
        oedema=draw.uniform(grey + 0.05, max(min(csf, 1.9 * grey), grey + 0.3)),
        necrosis=draw.uniform(grey, csf * 1.1),
        solid=draw.uniform(grey, max(csf, grey + 0.2)),
        enhancing=draw.uniform(0.95 * grey, 0.5 * (grey + csf)),
    )
    grey = draw.uniform(1.03, 1.5)
    bright = draw.uniform(grey + 0.15, grey + 1.2)
    csf = draw.uniform(0.02, 0.35)
    cystic = draw.chance(CYSTIC)
    flair = Contrast(
        csf=csf,
        grey=grey,
        oedema=bright,
        necrosis=draw.uniform(csf, 0.5) if cystic else draw.uniform(0.35, 1.05 * bright),
        solid=draw.uniform(grey, bright * 1.1),
        enhancing=draw.uniform(grey, bright * 1.1),
    )
    return {Modality.FLAIR: flair, Modality.T1: t1, Modality.T1CE: t1ce, Modality.T2: t2}
