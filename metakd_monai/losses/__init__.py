"""What a network is trained with: the task's loss, the distillation of Eq. (4), and what other methods add."""

from metakd_monai.losses.auxiliary import AuxiliaryLoss
from metakd_monai.losses.distillation import DistillationLoss
from metakd_monai.losses.region import DiceBCELoss
from metakd_monai.losses.subsets import RankingLoss, SelfDistillationLoss

__all__ = [
    "AuxiliaryLoss",
    "DiceBCELoss",
    "DistillationLoss",
    "RankingLoss",
    "SelfDistillationLoss",
]
