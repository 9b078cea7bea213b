"""The distillation between features, Eq. (4) and (5), with teachers weighted as in MetaKD or as in LCKD."""

from torch import Tensor, nn

from metakd_monai.equations import importance_ratio, sum_distances, teacher_matrix

COUNTS = {"ratio": importance_ratio, "teachers": teacher_matrix}


class DistillationLoss(nn.Module):
    """The alpha term of Eq. (4); see :func:`metakd_monai.equations.distillation`.

    Args:
        p: norm of Eq. (5), 1 or 2.
        counts: how much teacher i counts for student j: ``"ratio"``, w_i / w_j of their importance; ``"teachers"``, 1
            where i is an elected teacher and else 0, as in LCKD.

    Raises:
        ValueError: for another p or other counts.
    """

    def __init__(self, p: int = 1, counts: str = "ratio") -> None:
        super().__init__()
        if p not in (1, 2):
            raise ValueError(f"p must be 1 or 2, got {p!r}.")
        if counts not in COUNTS:
            raise ValueError(f"counts must be 'ratio' or 'teachers', got {counts!r}.")
        self.p, self.counts = p, counts

    def forward(self, features: Tensor, available: Tensor, importance: Tensor) -> Tensor:
        """Return a scalar.

        Args:
            features: ``(B, N, C, *S)``.
            available: ``(B, N)`` bool.
            importance: ``(N,)``, or the elected teachers as 0 and 1; gets no gradient.
        """
        return sum_distances(features, available, COUNTS[self.counts](importance.detach()), self.p)
