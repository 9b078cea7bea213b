"""The importance weight vector."""

import torch
from torch import Tensor, nn

from metakd_monai.equations import normalize_importance


class ImportanceWeights(nn.Module):
    """The importance weight vector w, Eq. (4), normalised by Eq. (6) whenever it is read.

    Args:
        num_modalities: N.
        normalization: see :func:`~metakd_monai.equations.normalize_importance`.
        seed: of the random start, uniform in [0, 1).
    """

    def __init__(self, num_modalities: int = 4, normalization: str = "softmax", seed: int = 0) -> None:
        super().__init__()
        start = torch.rand(num_modalities, generator=torch.Generator().manual_seed(seed))
        normalize_importance(start, normalization)  # refuses an unknown name now, not at the first step
        self.normalization = normalization
        self.weights = nn.Parameter(start)

    def forward(self) -> Tensor:
        """Return the normalised importance, ``(N,)``."""
        return normalize_importance(self.weights, self.normalization)
