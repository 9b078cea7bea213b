"""The appearance of tissue in each sequence: means drawn from wide ranges that respect the physical order.

Units: the sequence's mean white matter is 1. Ranges are chosen from what is generally seen on clinical T1, T1 with
contrast agent, T2 and FLAIR of gliomas; they are wider than any one scanner's.
"""

from __future__ import annotations

from dataclasses import dataclass

from metakd_monai.apps.simulation.training.draw import Draw
from metakd_monai.vocabulary import Modality

CYSTIC = 0.25  # share of the cases in which FLAIR suppresses necrosis like fluid
APART = 0.25  # share of its range by which tissue without uptake may differ between T1 with and without the agent


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
    look = {name: draw.uniform(0, 1) for name in ("csf", "oedema", "necrosis", "solid")}
    grey = draw.uniform(0.68, 0.96)
    t1 = t1_weighted(draw, grey, look, enhancing=draw.uniform(0.8, 1.15) * grey)
    grey = draw.uniform(0.72, 0.98)
    t1ce = t1_weighted(draw, grey, look, enhancing=max(1.0, grey + 0.15, t1.enhancing) + draw.uniform(0.02, 1.2))
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


def t1_weighted(draw: Draw, grey: float, look: dict[str, float], enhancing: float) -> Contrast:
    """Return the means of T1, before or after the agent; tissue without uptake looks nearly the same in both.

    Args:
        draw: of the case.
        grey: mean of grey matter.
        look: of the case, from 0 (as dark as it can be) to 1.
        enhancing: mean of enhancing tissue.
    """

    def mean(name: str, darkest: float, brightest: float) -> float:
        place = look[name] + draw.uniform(-APART, APART)
        return darkest + min(max(place, 0.0), 1.0) * (brightest - darkest)

    return Contrast(
        csf=mean("csf", 0.1, 0.6) * grey,
        grey=grey,
        oedema=mean("oedema", grey - 0.15, grey + 0.75 * (1 - grey)),
        necrosis=mean("necrosis", 0.3, 0.88) * grey + 0.05,
        solid=mean("solid", 0.75, 1.1) * grey,
        enhancing=enhancing,
    )
