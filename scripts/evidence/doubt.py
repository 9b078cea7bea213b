"""Is the uncertainty map of use: is it higher where the mask is wrong?

AUROC is the probability that a wrong voxel is more uncertain than a right one, ties counted half: 0.5 says nothing, 1
finds every error. A voxel is wrong where any of ET, TC and WT differs from the reference. Voxels are those of the
brain, where a given sequence is not 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata

from evidence.pictures import read_upright
from metakd_monai.benchmark.subsets import name_subset
from metakd_monai.cases import Case
from metakd_monai.predict import Predictor
from metakd_monai.transforms import labels_to_regions, regions_to_labels
from metakd_monai.uncertainty import describe_uncertainty, entropy
from metakd_monai.vocabulary import Modality


class Doubt(NamedTuple):
    """What the uncertainty of one mask is worth; ``nan`` where no voxel is wrong.

    ``auroc_alone`` is that of the entropy of the mask's own probabilities, which costs nothing. The last two are mean
    uncertainty in bits.
    """

    case: str
    given: str
    method: str
    wrong_share: float
    auroc: float
    auroc_alone: float
    where_wrong: float
    where_right: float


def measure_doubt(predictor: Predictor, case: Case, reference: Path) -> Doubt:
    """Segment a case and compare its uncertainty, as ``metakd predict --save-uncertainty`` writes it, with its errors.

    Args:
        predictor: what to segment with, and from which sequences.
        case: of these.
        reference: its label map.
    """
    item = predictor.read(case)
    logits = predictor.segment(item)
    unsure = predictor.uncertainty(item, logits)[0]
    labels = regions_to_labels(logits > 0, case.et_label)
    truth = torch.from_numpy(read_upright(reference)[item["box"]].copy())[None]
    wrong = (labels_to_regions(labels) != labels_to_regions(truth)).any(dim=0)
    brain = (item["image"].as_tensor()[item["available"]] != 0).any(dim=0)
    alone = entropy(logits.sigmoid()[None])[0, 0]
    errors, bits, bits_alone = (part[brain].numpy() for part in (wrong, unsure, alone))
    there = item["available"].tolist()
    return Doubt(
        case.case_id,
        name_subset([m for m, present in zip(Modality, there, strict=True) if present]),
        describe_uncertainty(there)["method"],
        float(errors.mean()),
        auroc(bits, errors),
        auroc(bits_alone, errors),
        mean(bits[errors]),
        mean(bits[~errors]),
    )


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve of scores ``(V,)`` for a bool ``(V,)``, by ranks (Mann and Whitney)."""
    number = int(positive.sum())
    pairs = number * (len(positive) - number)
    if not pairs:
        return float("nan")
    ranks = rankdata(score)[positive].sum()
    return float((ranks - number * (number + 1) / 2) / pairs)


def mean(values: np.ndarray) -> float:
    """Return the mean, ``nan`` of nothing."""
    return float(values.mean()) if values.size else float("nan")


def doubt_lines(doubts: Sequence[Doubt]) -> list[str]:
    """Return the section of a report: each case, and the mean over cases by method."""
    lines = ["", "## Uncertainty", "", "In the brain; a voxel is wrong where any region differs from the reference."]
    lines += [
        "AUROC of the map for wrong voxels, beside that of the mask's own probabilities; mean uncertainty in bits."
    ]
    lines += ["", "| case | given | opinions | wrong voxels | AUROC | of the mask alone | where wrong | where right |"]
    lines += ["|---|---|---|--:|--:|--:|--:|--:|"]
    for one in doubts:
        lines.append(f"| {one.case} | {one.given} | {one.method} | {show(one[3:])} |")
    for method in dict.fromkeys(one.method for one in doubts):
        same = [one for one in doubts if one.method == method]
        means = [mean_known(column) for column in zip(*(one[3:] for one in same), strict=True)]
        lines.append(f"| **mean of {len(same)}** | | {method} | {show(means)} |")
    return lines


def mean_known(values: Iterable[float]) -> float:
    """Return the mean of what is a number, ``nan`` of nothing."""
    return mean(np.array([value for value in values if not np.isnan(value)]))


def show(values: Sequence[float]) -> str:
    """Show the share in % and the other numbers as cells."""
    share, *others = values
    return " | ".join([f"{100 * share:.2f} %", *(f"{value:.3f}" for value in others)])
