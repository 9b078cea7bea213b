"""Other distillations than Eq. (4)'s, tried on AV-MNIST; each is called like the printed one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from metakd_monai.equations import distillation, fill_missing, importance_ratio


class CosineDistillation(nn.Module):
    """The alpha term of Eq. (4) with another distance, 1 - cosine, and another ratio of importance.

    Args:
        power: of the ratio w_i / w_j: 1 as printed, 0 for none, -1 for the other direction.
        teacher: the only modality that teaches; None for all.
    """

    def __init__(self, power: float = 0.0, teacher: int | None = None) -> None:
        super().__init__()
        self.power, self.teacher = power, teacher

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``."""
        present = available[..., None]
        unit = nn.functional.normalize(torch.where(present, features, torch.zeros_like(features)), dim=-1)
        distance = 1 - unit.detach() @ unit.transpose(1, 2)  # (B, N, N): teacher i, student j
        both = available[:, :, None] & available[:, None, :] & ~torch.eye(available.shape[1], dtype=torch.bool)
        ratio = importance_ratio(importance.detach()) ** self.power
        if self.teacher is not None:
            both = both & (torch.arange(available.shape[1]) == self.teacher)[:, None]
        return (ratio * torch.where(both, distance, torch.zeros_like(distance))).sum(dim=(1, 2)).mean()


class PredictionDistillation(nn.Module):
    """Distil from the prediction of all modalities of a sample to the prediction of each alone.

    Args:
        network: whose ``decode`` classifies features.
        temperature: of both predictions.
    """

    def __init__(self, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.decode: Any = network.decode
        self.temperature = temperature

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``, not used."""
        several = available.sum(dim=1) > 1
        if not several.any():
            return features.new_zeros(())
        features, available = features[several], available[several]
        teacher = (self.decode(features, available).detach() / self.temperature).log_softmax(-1)
        total = features.new_zeros(())
        for n in range(available.shape[1]):
            alone = torch.zeros_like(available)
            alone[:, n] = available[:, n]
            student = (self.decode(features, alone) / self.temperature).log_softmax(-1)
            gap = nn.functional.kl_div(student, teacher, log_target=True, reduction="none").sum(-1)
            total = total + gap[available[:, n]].sum()
        return self.temperature**2 * total / len(several)


class HiddenDistillation(nn.Module):
    """The printed term on other features: the hidden layer of the head, of each modality alone.

    Args:
        network: whose ``head`` classifies filled features.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.head: Any = network.head

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``."""
        hidden = []
        for n in range(available.shape[1]):
            alone = torch.zeros_like(available)
            alone[:, n] = True
            hidden.append(self.head[:3](fill_missing(features, alone)))  # flattened, fully connected, ReLU
        return distillation(torch.stack(hidden, dim=1), available, importance)


class ScheduledDistillation(nn.Module):
    """The printed term, its weight rising linearly from 0 to 1 or falling from 1 to 0.

    Args:
        iterations: of the training.
        rising: whether the weight rises or falls.
    """

    def __init__(self, iterations: int, rising: bool) -> None:
        super().__init__()
        self.iterations, self.rising, self.past = iterations, rising, 0

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C)``, availability ``(B, N)`` and importance ``(N,)``."""
        share = min(1.0, self.past / self.iterations)
        self.past += 1
        return (share if self.rising else 1 - share) * distillation(features, available, importance)


class Both(nn.Module):
    """Sum of a distillation of predictions and one of features from the scarce modality alone.

    Args:
        network: see :class:`PredictionDistillation`.
        teacher: see :class:`CosineDistillation`.
        share: of the distillation of features.
    """

    def __init__(self, network: nn.Module, teacher: int, share: float) -> None:
        super().__init__()
        self.prediction, self.features = PredictionDistillation(network), CosineDistillation(0, teacher)
        self.share = share

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar, see the two."""
        loss: Tensor = self.prediction(features, available, importance)
        return loss + self.share * self.features(features, available, importance)
