"""The task loss for regions that overlap."""

from monai.losses import DeepSupervisionLoss, DiceLoss
from torch import Tensor, nn


class DiceBCELoss(nn.Module):
    """Dice plus binary cross-entropy for each region, the l_task and l_meta of Eq. (4) for segmentation.

    ET, TC and WT overlap, so each channel is a yes-or-no question of its own. MONAI's DiceCELoss would take the three
    channels for exclusive classes (softmax cross-entropy), which is wrong here.

    Args:
        smooth_nr: added to Dice's numerator.
        smooth_dr: added to Dice's denominator.
    """

    def __init__(self, smooth_nr: float = 1e-5, smooth_dr: float = 1e-5) -> None:
        super().__init__()
        self.dice = DiceLoss(sigmoid=True, smooth_nr=smooth_nr, smooth_dr=smooth_dr)
        self.bce = nn.BCEWithLogitsLoss()
        self.all_scales = DeepSupervisionLoss(self.one_scale)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over regions and cases.

        Args:
            logits: ``(B, R, *S)``, or ``(B, heads, R, *S)`` with deep supervision, whose weights halve with each head.
            target: region masks ``(B, R, *S)``, 0 or 1.
        """
        if logits.dim() == target.dim() + 1:
            return self.all_scales(list(logits.unbind(1)), target)
        return self.one_scale(logits, target)

    def one_scale(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of one head, both arguments ``(B, R, *S)``."""
        target = target.to(logits)
        return self.dice(logits, target) + self.bce(logits, target)
