"""What a network is trained with: the task's loss and the distillation of Eq. (4)."""

from metakd_monai.losses.distillation import DistillationLoss
from metakd_monai.losses.region import DiceBCELoss

__all__ = [
    "DiceBCELoss",
    "DistillationLoss",
]
