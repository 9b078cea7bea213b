"""The scores of one case, by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metakd_monai.data.boxes import bounding_box
from metakd_monai.metrics import brats2020, lesionwise
from metakd_monai.metrics.conventions import Convention, choose_hd95, find_convention, region_masks
from metakd_monai.metrics.region_scores import RegionScores, score_region
from metakd_monai.vocabulary import Region


@dataclass(frozen=True)
class Measured:
    """A row of scores by column, and in which regions HD95 is a distance and not a rule's value."""

    row: dict[str, float]
    scorable: dict[Region, bool]


def columns_of(convention: str) -> tuple[str, ...]:
    """Return the columns of a rule in their order; raises UserError for an unknown rule."""
    legacy = brats2020.COLUMNS
    return (*lesionwise.COLUMNS, *legacy) if find_convention(convention).name == "brats2023" else legacy


def score_case(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    convention: str = "brats2020",
    hd95: str | None = None,
) -> dict[str, float]:
    """Score a predicted label map against the reference.

    Args:
        prediction: ``(*S)``, integers.
        reference: ``(*S)``, integers.
        spacing: in mm.
        convention: ``"brats2020"`` (enhancing tumour is 4) or ``"brats2023"`` (3); other values are in no region.
        hd95: ``"pooled"``, ``"directed"`` or ``"surface"``; default the convention's own.

    Raises:
        UserError: for an unknown convention or kind of HD95.
        ValueError: when the shapes differ.
    """
    rule = find_convention(convention)
    return score_regions(region_masks(prediction, rule), region_masks(reference, rule), spacing, convention, hd95)


def score_regions(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    convention: str = "brats2020",
    hd95: str | None = None,
) -> dict[str, float]:
    """Score predicted region masks ``(R, *S)`` bool in the vocabulary's order; as :func:`score_case` otherwise."""
    rule = find_convention(convention)
    return measure(prediction, reference, spacing, rule, choose_hd95(hd95, rule)).row


def measure(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], convention: Convention, kind: str
) -> Measured:
    """Score region masks ``(R, *S)`` bool in the vocabulary's order; raises ValueError when their shapes differ."""
    if prediction.shape != reference.shape or len(prediction) != len(Region):
        raise ValueError(f"expected two arrays ({len(Region)}, *S), got {prediction.shape} and {reference.shape}.")
    shape = reference.shape[1:]
    box = tumour_box(prediction, reference)
    pairs = {region: (prediction[n][box], reference[n][box]) for n, region in enumerate(Region)}
    penalty, voxels = convention.penalty(shape, spacing), int(np.prod(shape))
    scores: dict[Region, RegionScores] = {
        region: score_region(*pair, spacing, penalty, kind, voxels) for region, pair in pairs.items()
    }
    row = brats2020.make_row(scores)
    if convention.name == "brats2023":
        lesions = {region: lesionwise.score_lesions(*pair, spacing, kind) for region, pair in pairs.items()}
        row = {**lesionwise.make_row(lesions), **row}
    return Measured(row, {region: score.scorable for region, score in scores.items()})


def tumour_box(prediction: np.ndarray, reference: np.ndarray) -> tuple[slice, ...]:
    """Return the box around all masks ``(R, *S)``, with room for the dilation of lesions; all where there is none."""
    together: np.ndarray = np.logical_or(prediction, reference).any(axis=0)
    if not together.any():
        return tuple(slice(0, size) for size in together.shape)
    return bounding_box(together, margin=lesionwise.DILATION)


def fail_case(reference: np.ndarray, spacing: Sequence[float], convention: Convention) -> Measured:
    """Return the row of a case without a usable prediction, given the reference's masks ``(R, *S)`` bool."""
    row = brats2020.failed_row(convention.penalty(reference.shape[1:], spacing))
    if convention.name == "brats2023":
        lesions = {region: lesionwise.fail_lesions(reference[n], spacing) for n, region in enumerate(Region)}
        row = {**lesionwise.make_row(lesions), **row}
    return Measured(row, dict.fromkeys(Region, False))
