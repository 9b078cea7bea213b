"""Is the uncertainty map useful, that is, higher where the mask is wrong?

AUROC is the probability that a wrong voxel is more uncertain than a right one, ties counted half: 0.5 is chance, 1
finds every error. A voxel is wrong where any of ET, TC and WT differs from the reference. Voxels are those of the
brain, where a given sequence is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata

from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.uncertainty import MIRRORING, describe_uncertainty, entropy
from metakd_monai.apps.study.pictures import draw_uncertainty, make_scene, read_upright
from metakd_monai.data.cases import Case
from metakd_monai.data.files import read_json, write_json
from metakd_monai.errors import UserError
from metakd_monai.metrics.means import mean
from metakd_monai.transforms import labels_to_regions, regions_to_labels
from metakd_monai.vocabulary import Modality, name_subset


class UncertaintyRow(NamedTuple):
    """How well the uncertainty of one mask finds its errors; ``nan`` if no voxel is wrong.

    ``auroc_mirroring`` is that of the other method, ``auroc_alone`` that of the entropy of the mask's own
    probabilities, which costs nothing. The last two are mean uncertainty in bits.
    """

    case: str
    given: str
    method: str
    wrong_share: float
    auroc: float
    auroc_mirroring: float
    auroc_alone: float
    where_wrong: float
    where_right: float


@dataclass(frozen=True)
class ScoredMask:
    """A mask, its reference, and its uncertainty.

    Attributes:
        case: its name.
        item: what the predictor read.
        labels: of the mask, ``(*box)``.
        truth: of the reference, ``(*box)``.
        unsure: as ``metakd predict --save-uncertainty`` writes it, ``(*box)`` in bits.
        mirrored: the same, from the image and its mirror image.
        alone: the same, from the mask's own probabilities.
    """

    case: str
    item: dict[str, Any]
    labels: torch.Tensor
    truth: torch.Tensor
    unsure: torch.Tensor
    mirrored: torch.Tensor
    alone: torch.Tensor

    @property
    def available(self) -> list[bool]:
        """Which sequences were given."""
        there: list[bool] = self.item["available"].tolist()
        return there

    @property
    def given(self) -> str:
        """The subset that was given."""
        return name_subset([m for m, there in zip(Modality, self.available, strict=True) if there])


def segment_case(predictor: Predictor, case: Case, reference: Path) -> ScoredMask:
    """Segment a case.

    Args:
        predictor: what to segment with, and from which sequences.
        case: of these.
        reference: its label map.
    """
    item = predictor.read(case)
    logits = predictor.segment(item)
    labels = regions_to_labels(logits > 0, case.et_label)[0]
    truth = torch.from_numpy(read_upright(reference)[item["box"]].copy())
    unsure, mirrored = (predictor.uncertainty(item, logits, method)[0] for method in (None, MIRRORING))
    return ScoredMask(case.case_id, item, labels, truth, unsure, mirrored, entropy(logits.sigmoid()[None])[0, 0])


def score_uncertainty(scored: ScoredMask) -> UncertaintyRow:
    """Compare the uncertainty of a mask with its errors."""
    regions = [labels_to_regions(labels[None]) for labels in (scored.labels, scored.truth)]
    brain = (scored.item["image"].as_tensor()[scored.item["available"]] != 0).any(dim=0)
    wrong = (regions[0] != regions[1]).any(dim=0)
    errors, bits = wrong[brain].numpy(), scored.unsure[brain].numpy()
    return UncertaintyRow(
        scored.case,
        scored.given,
        describe_uncertainty(scored.available)["method"],
        float(errors.mean()),
        auroc(bits, errors),
        auroc(scored.mirrored[brain].numpy(), errors),
        auroc(scored.alone[brain].numpy(), errors),
        mean(bits[errors]),
        mean(bits[~errors]),
    )


def read_uncertainty(path: Path, weights_sha256: str) -> UncertaintyRow | None:
    """Return the record of :func:`write_uncertainty`; None if there is none, or it is of other weights."""
    try:
        record = read_json(path, "a record of an earlier run")
        return UncertaintyRow(**record["uncertainty"]) if record["weights_sha256"] == weights_sha256 else None
    except (UserError, KeyError, TypeError):
        return None


def write_uncertainty(path: Path, found: UncertaintyRow, weights_sha256: str) -> None:
    """Record the measurements, so that a stopped run continues where it was."""
    write_json(path, {"weights_sha256": weights_sha256, "uncertainty": found._asdict()})


def draw_scored(path: Path, scored: ScoredMask) -> None:
    """Write a PNG of a mask, its errors and its uncertainty."""
    scene = make_scene(scored.item["image"].numpy(), scored.available, scored.truth.numpy())
    mask, unsure = (scene.cut(volume.numpy()) for volume in (scored.labels, scored.unsure))
    draw_uncertainty(path, scene, mask, unsure, scored.given, f"{scored.case}, given {scored.given}")


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve of scores ``(V,)`` for a bool ``(V,)``, by ranks (Mann and Whitney)."""
    number = int(positive.sum())
    pairs = number * (len(positive) - number)
    if not pairs:
        return float("nan")
    ranks = rankdata(score)[positive].sum()
    return float((ranks - number * (number + 1) / 2) / pairs)


def picture_name(case: str, given: str) -> str:
    """Name the file of a picture of uncertainty."""
    return f"{case}_uncertainty_{given}.png"
