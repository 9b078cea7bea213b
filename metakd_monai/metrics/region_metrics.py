"""The scores of this package as MONAI metrics, so that training logs what an evaluation reports.

Kept out of ``metakd_monai.metrics`` itself: those who score files need not wait for PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric
from monai.metrics.utils import do_metric_reduction
from monai.utils import MetricReduction

from metakd_monai.data.boxes import bounding_box
from metakd_monai.errors import UserError
from metakd_monai.metrics.conventions import choose_hd95, find_convention
from metakd_monai.metrics.distances import hd95
from metakd_monai.metrics.region_scores import count_overlap


class RegionMetric(CumulativeIterationMetric):
    """Base of metrics on pairs of region masks, each region by itself.

    Called with predictions and references as ``(B, R, *S)`` or lists of ``(R, *S)``, true above 0.5, it returns
    ``(B, R)`` float32; ``nan`` marks what is not scored. Use it with ``monai.handlers.IgniteMetricHandler``.

    Args:
        reduction: of MONAI: ``"mean"``, ``"mean_batch"`` (one value for each region), ``"none"`` and so on.
        get_not_nans: also return how many scores the reduction is over.
    """

    def __init__(self, reduction: MetricReduction | str = MetricReduction.MEAN, get_not_nans: bool = False) -> None:
        super().__init__()
        self.reduction, self.get_not_nans = reduction, get_not_nans

    def score(self, prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> float:
        """Score one region's masks ``(*S)`` bool, spacing in mm."""
        raise NotImplementedError

    def spacing_of(self, reference: torch.Tensor) -> tuple[float, ...]:
        """Return the spacing in mm of one case ``(R, *S)``: that of its affine, or 1 where it has none."""
        if isinstance(reference, MetaTensor) and not reference.is_batch:
            return tuple(float(step) for step in reference.pixdim)
        return (1.0,) * (reference.ndim - 1)

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """Score a batch ``(B, R, *S)``, to ``(B, R)``; raises ValueError when the shapes differ."""
        if y is None or y_pred.shape != y.shape:
            raise ValueError(f"prediction {tuple(y_pred.shape)} and reference need to be of one shape (B, R, *S).")
        scores = torch.empty(y.shape[:2], dtype=torch.float32, device=y_pred.device)
        for batch, case in enumerate(y):
            spacing = self.spacing_of(case)
            masks = [(part.detach() > 0.5).cpu().numpy() for part in (y_pred[batch], case)]
            for region, (prediction, reference) in enumerate(zip(*masks, strict=True)):
                scores[batch, region] = self.score(prediction, reference, spacing)
        return scores

    def aggregate(
        self, reduction: MetricReduction | str | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Reduce all scores so far; with ``get_not_nans`` also return how many they are.

        Raises:
            ValueError: when nothing was scored yet.
        """
        data = self.get_buffer()
        if not isinstance(data, torch.Tensor):
            raise ValueError("nothing was scored yet.")
        value, counts = do_metric_reduction(data.clone(), reduction or self.reduction)
        return (value, counts) if self.get_not_nans else value


class RegionDice(RegionMetric):
    """Dice of region masks: 1 when both are empty, 0 when one is. See :class:`RegionMetric` for the arguments."""

    def score(self, prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> float:
        """Return the Dice of two masks ``(*S)`` bool."""
        return count_overlap(prediction, reference).dice


class RegionHausdorff95(RegionMetric):
    """HD95 of region masks in mm.

    Args:
        kind: ``"pooled"``, ``"directed"`` or ``"surface"``; default the convention's own.
        convention: ``"brats2020"`` (image diagonal where one mask is empty) or ``"brats2023"`` (374 mm).
        scorable_only: leave out cases where a mask is empty (``nan``) in place of 0 and the penalty.
        spacing: in mm, of every case; None to take each reference's own.
        reduction: see :class:`RegionMetric`.
        get_not_nans: see :class:`RegionMetric`.

    Raises:
        UserError: for an unknown kind or convention, and a spacing that is not finite or not above 0.
    """

    def __init__(
        self,
        kind: str | None = None,
        convention: str = "brats2020",
        scorable_only: bool = False,
        spacing: Sequence[float] | None = None,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        get_not_nans: bool = False,
    ) -> None:
        super().__init__(reduction, get_not_nans)
        self.convention = find_convention(convention)
        self.kind = choose_hd95(kind, self.convention)
        if spacing is not None and not all(0 < float(step) < math.inf for step in spacing):
            raise UserError(f"spacing: {list(spacing)} found; expected finite numbers above 0, in mm")
        self.scorable_only, self.spacing = scorable_only, spacing

    def spacing_of(self, reference: torch.Tensor) -> tuple[float, ...]:
        """Return the spacing in mm that was given, or else that of one case ``(R, *S)``."""
        return super().spacing_of(reference) if self.spacing is None else tuple(self.spacing)

    def score(self, prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> float:
        """Return the HD95 of two masks ``(*S)`` bool in mm."""
        there = bool(prediction.any()), bool(reference.any())
        if all(there):
            box = bounding_box(prediction | reference)
            return hd95(prediction[box], reference[box], spacing, self.kind)
        if self.scorable_only:
            return float("nan")
        return self.convention.penalty(reference.shape, spacing) if any(there) else 0.0
