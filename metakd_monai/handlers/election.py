"""LCKD's teachers: the modalities that do best alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.metrics import compute_dice
from torch import Tensor, nn

from metakd_monai.handlers.meta_pass import MetaPassHandler
from metakd_monai.handlers.ranks import add_over_ranks
from metakd_monai.networks import ElectedTeachers, segment_subsets
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES


class ElectTeachersHandler(MetaPassHandler):
    """After every ``interval`` iterations, elect for each region the modality that segments it best by itself.

    Best means the highest mean Dice over the meta-validation cases that have the modality, on all processes. So there
    are one to three teachers. Until the first election, the initial ``teachers`` hold.

    Args:
        network: a :class:`~metakd_monai.networks.MetaKDUNet`; not the DDP wrapper.
        teachers: updated by the election.
        data_loader: see :class:`~metakd_monai.handlers.meta_pass.MetaPassHandler`; so are the other arguments.
        interval: iterations before the first election and between elections.
        prepare_batch: as for the trainer.
        names: of the modalities, for the log.
        regions: names of the network's channels.

    Source: Wang et al., Learnable Cross-modal Knowledge Distillation for Multi-modal Learning with Missing Modality,
    MICCAI 2023 (docs/explanation/methods.md).
    """

    def __init__(
        self,
        network: nn.Module,
        teachers: ElectedTeachers,
        data_loader: Any,
        interval: int = 100,
        prepare_batch: Callable | None = None,
        names: Sequence[str] = MODALITY_NAMES,
        regions: Sequence[str] = REGION_NAMES,
    ) -> None:
        super().__init__(network, data_loader, interval, prepare_batch, names)
        self.teachers, self.regions = teachers, tuple(regions)

    def is_due(self, engine: Engine, iteration: int) -> bool:
        """Tell whether this (1-based) iteration begins with an election; the first never does."""
        return iteration > 1 and super().is_due(engine, iteration)

    @torch.no_grad()
    def visit(self, batch: Mapping[str, Any] | None, engine: Engine) -> list[Tensor]:
        """Return :meth:`score` of each case."""
        if batch is None:
            return []
        image, label, (available,), _ = self.prepare_batch(batch, engine.state.device, False)
        return [self.score(*case) for case in zip(image, label, available, strict=True)]

    def score(self, image: Tensor, label: Tensor, available: Tensor) -> Tensor:
        """Score the mask from each modality alone, for one case.

        Args:
            image: ``(N, *S)``.
            label: ``(R, *S)``, a region where it is above 0.5.
            available: ``(N,)`` bool.

        Returns:
            ``(2, R, N)``: the Dice (1 where both are empty, 0 where one is), and 1 for each modality that is present.
        """
        alone = torch.diag(available)[available]  # (P, N): one for each present modality
        logits, _, _ = segment_subsets(self.network, image[None], alone[None])
        reference = (label > 0.5).expand_as(logits)
        found = logits.new_zeros(2, logits.shape[1], len(available))
        found[0, :, available] = compute_dice(logits > 0, reference, ignore_empty=False).T
        found[1, :, available] = 1
        return found

    def sum_up(self, found: list[Tensor]) -> dict[str, float]:
        """Elect the teachers by the sums of :meth:`score` over all cases; return mean Dice and teachers."""
        start = torch.zeros(2, len(self.regions), len(self.names), dtype=torch.float64, device=self.teachers().device)
        sums, numbers = add_over_ranks(sum((part.to(start) for part in found), start))
        dice = sums / numbers  # (R, N), NaN where no case has the modality
        self.teachers.elect(dice.nan_to_num(-1).argmax(dim=1))
        row = {
            f"dice_{region}_{name}": value
            for region, values in zip(self.regions, dice.tolist(), strict=True)
            for name, value in zip(self.names, values, strict=True)
        }
        return row | {f"teacher_{name}": v for name, v in zip(self.names, self.teachers().tolist(), strict=True)}
