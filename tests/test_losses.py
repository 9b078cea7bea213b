import pytest
import torch
from torch.nn import functional

from metakd_monai.equations import distillation
from metakd_monai.losses import DiceBCELoss, DistillationLoss


def by_hand(logits, target):
    """Dice and BCE of each region on its own, then the mean."""
    values = []
    for region in range(logits.shape[1]):
        p, t = logits[:, region].sigmoid(), target[:, region]
        dice = 1 - 2 * (p * t).sum() / (p.sum() + t.sum())
        values.append(dice + functional.binary_cross_entropy(p, t))
    return torch.stack(values).mean()


def test_dice_bce_by_hand_on_overlapping_regions():
    target = torch.zeros(1, 3, 4, 4, 4)
    target[:, 0, :1], target[:, 1, :2], target[:, 2, :3] = 1, 1, 1  # nested, as ET, TC, WT are
    logits = torch.randn(1, 3, 4, 4, 4)
    assert DiceBCELoss()(logits, target).item() == pytest.approx(by_hand(logits, target).item(), abs=1e-4)


def test_perfect_overlapping_prediction_costs_nothing():
    target = torch.zeros(1, 3, 4, 4, 4)
    target[:, :, :2] = 1  # all three regions everywhere at once: exclusive classes could never fit this
    assert DiceBCELoss()(40 * target - 20, target).item() < 1e-4


def test_deep_supervision_halves_the_weight_of_each_head():
    target = (torch.rand(1, 3, 4, 4, 4) > 0.5).float()
    heads = torch.randn(1, 2, 3, 4, 4, 4)
    loss = DiceBCELoss()
    expected = loss(heads[:, 0], target) + 0.5 * loss(heads[:, 1], target)
    assert loss(heads, target).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("p", [1, 2])
def test_distillation_loss_is_the_equation(p):
    features, available, importance = torch.randn(2, 4, 3), torch.rand(2, 4) > 0.3, torch.rand(4)
    loss = DistillationLoss(p)(features, available, importance)
    assert torch.equal(loss, distillation(features, available, importance, p))


def test_distillation_loss_refuses_another_norm():
    with pytest.raises(ValueError, match="p must be 1 or 2, got 0"):
        DistillationLoss(0)
