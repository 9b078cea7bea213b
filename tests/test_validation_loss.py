"""The validation loss is the mean over cases of the loss of the logits, in each run anew."""

import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Activationsd, AsDiscreted, Compose

from metakd_monai.handlers import ValidationLossHandler
from metakd_monai.losses import DiceBCELoss


def test_it_is_that_of_the_logits_before_post_processing():
    loss = DiceBCELoss()
    batches = [{"image": torch.randn(1, 3, 4, 4, 4), "label": torch.rand(1, 3, 4, 4, 4).round()} for _ in range(3)]
    masks = Compose([Activationsd("pred", sigmoid=True), AsDiscreted("pred", threshold=0.5)])
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=batches,
        network=torch.nn.Identity(),
        postprocessing=masks,
        val_handlers=[ValidationLossHandler(loss)],
    )
    for _ in range(2):
        evaluator.run()
        expected = sum(float(loss(batch["image"], batch["label"])) for batch in batches) / 3
        assert evaluator.state.metrics["val_loss"] == pytest.approx(expected)
