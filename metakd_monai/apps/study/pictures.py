"""Pictures of masks against their reference, on the axial slice with the largest tumour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from metakd_monai.apps.predict.preview import COLOURS, blend, brain_box, busiest_slice, cut, largest_tumour
from metakd_monai.apps.study.evidence import Evidence, Row
from metakd_monai.data.files import write_safely
from metakd_monai.data.nifti import read_nifti, read_voxels
from metakd_monai.vocabulary import ET_LABELS, MODALITY_NAMES, REGION_NAMES, WORKING_AXES, Label, Modality

AXIAL = 2
BEST_SEEN = (Modality.FLAIR, Modality.T1CE, Modality.T2, Modality.T1)  # which sequence lies under a mask
CONTOURS = {"magenta": (Label.NECROSIS, Label.OEDEMA, *ET_LABELS), "cyan": (Label.NECROSIS, *ET_LABELS)}  # WT, TC
WORST = 3


@dataclass(frozen=True)
class Scene:
    """One slice of a case: ``image`` ``(N, rows, columns)`` and the reference's ``labels`` ``(rows, columns)``.

    ``index`` of the slice and ``box`` around the brain say where it was cut from the volume.
    """

    image: np.ndarray
    labels: np.ndarray
    index: int
    box: tuple[slice, ...]

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """Return this slice of a volume ``(*S)``."""
        return cut(volume[self.box], AXIAL, self.index)


def read_upright(path: str | Path) -> np.ndarray:
    """Read a label map ``(*S)``, axes towards left, posterior, superior."""
    image = read_nifti(path)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(WORKING_AXES))
    turned: np.ndarray = apply_orientation(read_voxels(path, image), turn)
    return turned


def make_scene(image: np.ndarray, available: Sequence[bool], labels: np.ndarray) -> Scene:
    """Cut the slice with the largest tumour of a case.

    Args:
        image: ``(N, *S)``, axes towards left, posterior, superior.
        available: of each modality.
        labels: of the reference, ``(*S)``.
    """
    box = brain_box(image, available)
    index = busiest_slice(largest_tumour(labels[box]), AXIAL)
    slices = np.stack([cut(channel[box], AXIAL, index) for channel in image])
    return Scene(slices, cut(labels[box], AXIAL, index), index, box)


def choose_subsets(full: str) -> dict[str, str]:
    """Return the subsets of a case to draw, by title; duplicates are left out."""
    members = full.split("+")
    without = "+".join(name for name in members if name != Modality.T1CE.value)
    wanted = {"all": full, "without t1ce": without}
    wanted |= {f"{m.value} only": m.value for m in (Modality.FLAIR, Modality.T1CE, Modality.T1) if m.value in members}
    chosen: dict[str, str] = {}
    for title, subset in wanted.items():
        if subset and subset not in chosen.values():
            chosen[title] = subset
    return chosen


def draw_case(path: Path, scene: Scene, masks: Mapping[str, np.ndarray], evidence: Evidence, case: str) -> None:
    """Write a PNG of a case: the reference alone, then the masks ``(rows, columns)`` of some subsets, by title."""
    chosen = choose_subsets(evidence.full[case])
    figure, panels = new_row(len(chosen) + 1)
    draw_panel(panels[0], scene, evidence.full[case], None, "reference")
    for panel, (title, subset) in zip(panels[1:], chosen.items(), strict=True):
        draw_panel(panel, scene, subset, masks[subset], f"{title}\n{describe(evidence, case, subset)}")
    save(figure, path, case)


def worst_rows(evidence: Evidence) -> list[Row]:
    """Return a row of each of the three (case, subset) pairs with the lowest mean Dice, of cases never trained on."""
    pairs: dict[tuple[str, str], list[Row]] = {}
    for row in evidence.rows:
        pairs.setdefault((row.case, row.subset), []).append(row)
    unseen = [rows for rows in pairs.values() if not rows[0].trained_on] or pairs.values()
    ranked = sorted(unseen, key=lambda rows: float(np.mean([row.dice for row in rows])))
    return [rows[0] for rows in ranked[:WORST]]


def draw_uncertainty(path: Path, scene: Scene, mask: np.ndarray, unsure: np.ndarray, subset: str, title: str) -> None:
    """Write a PNG of a mask, where it is wrong, and its uncertainty in bits, each ``(rows, columns)``."""
    figure, panels = new_row(3)
    draw_panel(panels[0], scene, subset, mask, "mask")
    draw_panel(panels[1], scene, subset, None, "wrong")
    wrong = np.ma.masked_equal(mask != scene.labels, False)
    panels[1].imshow(wrong, cmap="autumn", interpolation="nearest")
    picture = panels[2].imshow(unsure, cmap="inferno", vmin=0, vmax=1)
    panels[2].set(xticks=[], yticks=[])
    panels[2].set_title("uncertainty in bits", color="white", fontsize=8)
    figure.colorbar(picture, ax=panels[2], shrink=0.6).ax.tick_params(colors="white", labelsize=7)
    save(figure, path, title)


def draw_gallery(path: Path, scenes: Sequence[Scene], masks: Sequence[np.ndarray], evidence: Evidence) -> None:
    """Write a PNG of the worst pairs, in the order of :func:`worst_rows`."""
    figure, panels = new_row(len(scenes))
    for panel, scene, mask, row in zip(panels, scenes, masks, worst_rows(evidence), strict=True):
        title = f"{row.case}\n{row.subset}\n{describe(evidence, row.case, row.subset)}"
        draw_panel(panel, scene, row.subset, mask, title)
    save(figure, path, "The worst of all cases and subsets")


def describe(evidence: Evidence, case: str, subset: str) -> str:
    """Spell the Dice of a case's regions."""
    known = [(region, evidence.dice.get((case, subset, region))) for region in REGION_NAMES]
    return "  ".join(f"{region} {dice:.2f}" for region, dice in known if dice is not None)


def new_row(number: int) -> tuple[Figure, list[Any]]:
    """Make a figure with a row of panels."""
    figure = Figure(figsize=(2.2 * number, 3.5), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, number, squeeze=False)[0])


def draw_panel(panel: Any, scene: Scene, subset: str, mask: np.ndarray | None, title: str) -> None:
    """Draw the sequence of a subset that shows tumours best, a mask over it, and the reference's contours."""
    under = next(m for m in BEST_SEEN if m.value in subset.split("+"))
    grey = scene.image[MODALITY_NAMES.index(under.value)]
    shown = np.zeros_like(scene.labels) if mask is None else mask
    panel.imshow(blend(grey, shown), interpolation="nearest")
    for colour, values in CONTOURS.items():
        inside = np.isin(scene.labels, [int(value) for value in values])
        if inside.any():
            panel.contour(inside, levels=[0.5], colors=colour, linewidths=0.8)
    panel.set(xticks=[], yticks=[])
    panel.set_title(title, color="white", fontsize=8)
    panel.set_xlabel(f"over {under.value}", color="grey", fontsize=7)


def save(figure: Figure, path: Path, title: str) -> None:
    """Write a figure as PNG, with a legend."""
    figure.suptitle(title, color="white", fontsize=10)
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncol=3, labelcolor="white", frameon=False, fontsize=8)
    write_safely(path, lambda temporary: figure.savefig(temporary, format="png", dpi=80, facecolor="black"))
