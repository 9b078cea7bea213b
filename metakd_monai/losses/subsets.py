"""Losses between predictions for one sample, from more and from fewer of its modalities."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from metakd_monai.errors import UserError


class SelfDistillationLoss(nn.Module):
    """Kullback-Leibler divergence of each region's probability from fewer modalities to that from more.

    Each voxel of each region is a yes-or-no question, so this is binary cross-entropy less the teacher's entropy: the
    same gradient, but 0 where the two agree, so that the logged number tells how much they differ. The prediction
    from more modalities is the teacher and gets no gradient.

    Args:
        weight: of the mean over voxels, regions and samples.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar for logits of K subsets, ``(K, B, R, *S)``, the teacher's first; the label is not read."""
        check_subsets(logits)
        students = logits[1:]
        teacher = logits[:1].detach().expand_as(students)
        probability = teacher.sigmoid()
        cross_entropy, entropy = (
            functional.binary_cross_entropy_with_logits(one, probability) for one in (students, teacher)
        )
        return self.weight * (cross_entropy - entropy)


class RankingLoss(nn.Module):
    """SimMLM's ranking loss: by how much the task loss with more modalities exceeds that with fewer.

    Both get gradients. Keep ``weight`` below 0.5 (of the mean of two subsets): otherwise this loss outweighs the task
    loss of the smaller subset and makes its prediction worse.

    Args:
        loss_function: the task loss, ``(pred, label)`` to scalar.
        weight: of the mean over samples.
    """

    def __init__(self, loss_function: Callable[[Tensor, Tensor], Tensor], weight: float = 0.1) -> None:
        super().__init__()
        self.loss_function, self.weight = loss_function, weight

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return a scalar.

        Args:
            logits: of K subsets, each nested in the one before, ``(K, B, R, *S)``.
            label: ``(B, R, *S)``.
        """
        check_subsets(logits)
        samples = [
            [self.loss_function(one[None], mask[None]) for one, mask in zip(row, label, strict=True)] for row in logits
        ]
        losses = torch.stack([torch.stack(row) for row in samples])  # (K, B)
        return self.weight * functional.relu(losses[:-1] - losses[1:]).mean()


def check_subsets(logits: Tensor) -> None:
    """Raise UserError for a single subset: there is nothing to compare."""
    if len(logits) < 2:
        raise UserError("subset_loss: 1 subset of each sample found; expected 2, as the dropping handler's pair draws")
