"""The importance weight vector, and LCKD's elected teachers in its place."""

from typing import Any

import torch
from torch import Tensor, nn

from metakd_monai.equations import normalize_importance


class ImportanceWeights(nn.Module):
    """The importance weight vector w, Eq. (4), normalised by Eq. (6) whenever it is read.

    Args:
        num_modalities: N.
        normalization: see :func:`~metakd_monai.equations.normalize_importance`.
        seed: for random initial weights, uniform in [0, 1); None for equal weights.
    """

    def __init__(self, num_modalities: int = 4, normalization: str = "softmax", seed: int | None = 0) -> None:
        super().__init__()
        start = torch.zeros(num_modalities)
        if seed is not None:
            start = torch.rand(num_modalities, generator=torch.Generator().manual_seed(seed))
        normalize_importance(start, normalization)  # an unknown name raises now, not at the first step
        self.normalization = normalization
        self.weights = nn.Parameter(start)

    def forward(self) -> Tensor:
        """Return the normalised importance, ``(N,)``."""
        return normalize_importance(self.weights, self.normalization)


class ElectedTeachers(nn.Module):
    """Which modalities teach the others; :class:`~metakd_monai.handlers.ElectTeachersHandler` elects them.

    It replaces the importance in the trainer and the checkpoint; it has nothing to optimise.

    Args:
        num_modalities: N.
        start: the teacher before the first election; 0 is FLAIR.
    """

    def __init__(self, num_modalities: int = 4, start: int = 0) -> None:
        super().__init__()
        self.teachers = nn.Parameter(torch.zeros(num_modalities), requires_grad=False)
        self.elect(torch.tensor(start))

    def forward(self) -> Tensor:
        """Return 1 for each teacher and 0 for the others, ``(N,)``."""
        return self.teachers.clone()

    def elect(self, best: Tensor) -> None:
        """Make the modalities with these indices the teachers; an index may occur more than once."""
        self.teachers.zero_()
        self.teachers[best.flatten()] = 1


class WithImportance(nn.Module):
    """A network and the importance in one state dict, which the sites of federated learning exchange.

    MONAI's MonaiAlgo exchanges the state dict of the trainer's network, and gives the evaluator the same. So this
    module holds both: in training it returns the same as :class:`~metakd_monai.networks.WithFeatures`, else the logits.

    Args:
        network: has ``forward_features``.
        importance: trained beside it.
    """

    def __init__(self, network: nn.Module, importance: ImportanceWeights) -> None:
        super().__init__()
        self.network: Any = network
        self.importance = importance

    def forward(self, x: Tensor, available: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Return logits ``(B, R, *S)``; in training features ``(B, N, C, *S)`` and availability ``(B, N)`` too."""
        found: tuple[Tensor, Tensor, Tensor] = self.network.forward_features(x, available)
        return found if self.training else found[0]
