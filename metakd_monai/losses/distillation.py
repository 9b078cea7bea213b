"""The importance-weighted distillation of Eq. (4) and (5)."""

from torch import Tensor, nn

from metakd_monai.equations import distillation


class DistillationLoss(nn.Module):
    """The alpha term of Eq. (4); see :func:`metakd_monai.equations.distillation`.

    Args:
        p: norm of Eq. (5), 1 or 2.
    """

    def __init__(self, p: int = 1) -> None:
        super().__init__()
        if p not in (1, 2):
            raise ValueError(f"p must be 1 or 2, got {p!r}.")
        self.p = p

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar for features ``(B, N, C, *S)``, availability ``(B, N)`` and importance ``(N,)``."""
        return distillation(features, available, importance, self.p)
