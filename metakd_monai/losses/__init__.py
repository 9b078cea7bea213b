"""Training losses: the task's, the distillation of Eq. (4), and those of other methods."""

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
