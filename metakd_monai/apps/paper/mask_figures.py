"""Masks of one case: from each sequence alone beside its importance (Fig. 1), of several networks (Fig. 4, 7, 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metakd_monai.apps.benchmark import SubsetPredictor
from metakd_monai.apps.benchmark.figures import new_figure
from metakd_monai.apps.paper.captions import describe_run, save_figure
from metakd_monai.apps.paper.run_curves import IMPORTANCE, read_columns
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.preview import blend
from metakd_monai.apps.study.pictures import Scene, make_scene, read_upright
from metakd_monai.data.cases import Case
from metakd_monai.errors import UserError
from metakd_monai.metrics.region_scores import count_overlap
from metakd_monai.transforms import labels_to_regions
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES, Modality, name_subset, parse_modalities

SIZE = 2.1  # inches of a panel


@dataclass(frozen=True)
class Shown:
    """A case to draw: the slice with the largest tumour, and the label map ``(*S)``."""

    case: Case
    scene: Scene
    labels: np.ndarray


def open_case(case: Case, predictor: Predictor) -> Shown:
    """Read a case.

    Raises:
        UserError: for one that lacks a sequence or the label map.
    """
    if case.label is None or not isinstance(case.files, Mapping) or len(case.files) < len(Modality):
        raise UserError(f"{case.case_id}: sequences or label missing; expected all four sequences and a label map")
    loaded, labels = predictor.load(case.as_item()), read_upright(case.label)
    return Shown(case, make_scene(loaded["image"].numpy(), loaded["available"].tolist(), labels), labels)


def segment(predictor: Predictor, case: Case) -> dict[str, np.ndarray]:
    """Return the label map ``(*S)`` of a case from each subset of its sequences, by the subset's name."""
    maps = SubsetPredictor(predictor).label_maps(predictor.read(case), case.et_label)
    return {name_subset(subset): labels for subset, labels in maps.items()}


def draw_modalities(run: Path, case: Case, path: Path, device: str = "cpu") -> list[Path]:
    """Draw a case's sequences, and below each the mask from it alone with its importance and Dice (Fig. 1).

    Args:
        run: folder of a finished training.
        case: with all four sequences and a label map.
        path: of the files, without ending.
        device: to compute on.
    """
    columns = read_columns(run / "meta.csv")
    predictor = Predictor(run / "model.pt", device)
    shown, maps = open_case(case, predictor), segment(predictor, case)
    figure = new_figure((SIZE * (len(Modality) + 1), SIZE * 2.4))
    panels = figure.subplots(2, len(Modality) + 1)
    flair = shown.scene.image[0]
    draw(panels[0, 0], flair, shown.scene.labels, "reference")
    panels[1, 0].axis("off")
    for n, name in enumerate(MODALITY_NAMES):
        grey = shown.scene.image[n]
        weight = columns.get(f"{IMPORTANCE}{name}")
        told = "" if weight is None else f"w {weight[-1]:.3f}\n"
        draw(panels[0, n + 1], grey, None, name)
        draw(panels[1, n + 1], grey, shown.scene.cut(maps[name]), told + dice_of(maps[name], shown.labels))
    told_below = [
        describe_run(run),
        "Each mask is made from the sequence above it alone; w: its importance, normalised.",
    ]
    title = f"{case.case_id}: each sequence alone"
    return save_figure(figure, path, title, told_below, [run / "model.pt", run / "meta.csv"])


def draw_networks(
    networks: Mapping[str, Path], case: Case, path: Path, given: str = "t1", device: str = "cpu"
) -> list[Path]:
    """Draw the masks that several networks make of a case from the same sequences (Fig. 4, 7 and 8).

    Args:
        networks: weights, by name.
        case: with all four sequences and a label map.
        path: of the files, without ending.
        given: the given sequences, such as ``"flair+t1"``.
        device: to compute on.
    """
    subset = parse_modalities(given.split("+"))
    name, first = name_subset(subset), MODALITY_NAMES.index(subset[0].value)
    figure = new_figure((SIZE * (len(networks) + 3), SIZE * 1.5))
    panels = figure.subplots(1, len(networks) + 3)
    for panel, (title, weights) in zip(panels[3:], networks.items(), strict=True):
        predictor = Predictor(weights, device)
        shown, mask = open_case(case, predictor), segment(predictor, case)[name]
        draw(panel, shown.scene.image[first], shown.scene.cut(mask), f"{title}\n{dice_of(mask, shown.labels)}")
    t1ce = MODALITY_NAMES.index(Modality.T1CE.value)
    draw(panels[0], shown.scene.image[first], None, f"{subset[0].value}, given")
    draw(panels[1], shown.scene.image[t1ce], None, "t1ce, for comparison" if t1ce != first else "t1ce")
    draw(panels[2], shown.scene.image[first], shown.scene.labels, "reference")
    told = [f"Networks: {', '.join(networks)}. Each gets {name} alone. Dice of the whole case."]
    return save_figure(figure, path, f"{case.case_id} given {name}", told, networks.values())


def draw(panel: Any, grey: np.ndarray, labels: np.ndarray | None, title: str) -> None:
    """Draw a slice, labels over it."""
    panel.imshow(blend(grey, np.zeros(grey.shape, np.uint8) if labels is None else labels), interpolation="nearest")
    panel.set(xticks=[], yticks=[])
    panel.set_title(title, fontsize=7)


def dice_of(mask: np.ndarray, labels: np.ndarray) -> str:
    """Spell the Dice of two label maps' regions."""
    found, truth = (labels_to_regions(torch.from_numpy(np.asarray(m, np.uint8))[None]).bool() for m in (mask, labels))
    pairs = zip(REGION_NAMES, found.numpy(), truth.numpy(), strict=True)
    return "  ".join(f"{region} {count_overlap(a, b).dice:.2f}" for region, a, b in pairs)
