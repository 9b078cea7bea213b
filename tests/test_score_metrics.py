"""The scores as MONAI metrics: what is logged is what is reported."""

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.handlers import IgniteMetricHandler

from metakd_monai.errors import UserError
from metakd_monai.metrics import score_regions
from metakd_monai.metrics.region_metrics import RegionDice, RegionHausdorff95
from metakd_monai.vocabulary import Region

ISOTROPIC = (1.0, 1.0, 1.0)
TUMOUR = np.zeros((12, 12, 12), dtype=np.uint8)
TUMOUR[2:6, 2:6, 2:6], TUMOUR[3:5, 3:5, 3:5] = 2, 4


def region_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return three cases ``(3, R, *S)``: right, ET made up, ET in neither."""
    reference = np.stack([TUMOUR == 4, TUMOUR == 4, TUMOUR > 0])
    without = reference * np.array([False, True, True])[:, None, None, None]
    prediction = np.stack([reference, reference, without])
    return torch.from_numpy(prediction).float(), torch.from_numpy(np.stack([reference, without, without])).float()


def test_what_training_logs_is_what_is_reported() -> None:
    predictions, references = region_batch()
    rows = [
        score_regions(p.numpy() > 0, r.numpy() > 0, ISOTROPIC) for p, r in zip(predictions, references, strict=True)
    ]
    engine = Engine(lambda engine, batch: batch)
    metrics = {"Dice": RegionDice(reduction="mean_batch"), "Hausdorff95": RegionHausdorff95(reduction="mean_batch")}
    for name, metric in metrics.items():
        IgniteMetricHandler(metric_fn=metric, output_transform=lambda batch: batch).attach(engine, name)
    engine.run([(list(predictions[:2]), list(references[:2])), (predictions[2:], references[2:])])
    for name in metrics:
        expected = [np.mean([row[f"{name}_{region.value}"] for row in rows]) for region in Region]
        assert engine.state.metrics[name].tolist() == pytest.approx(expected)


def test_hd95_over_scorable_cases_comes_with_their_number() -> None:
    metric = RegionHausdorff95(scorable_only=True, reduction="mean_batch", get_not_nans=True)
    scores = metric(*region_batch())
    assert scores.isnan().tolist() == [[False] * 3, [True, False, False], [True, False, False]]
    mean, counts = metric.aggregate()
    assert (mean.tolist(), counts.tolist()) == ([0, 0, 0], [1, 3, 3])
    assert metric.get_buffer().isnan().sum() == 2  # reducing leaves the scores alone


@pytest.mark.parametrize("as_list", [True, False])
def test_metrics_take_the_spacing_of_the_reference(as_list: bool) -> None:
    prediction, reference = torch.zeros(2, 1, 6, 6, 6)
    prediction[0, 0, 0, 0] = reference[0, 0, 0, 4] = 1
    label = MetaTensor(reference, affine=torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0])))
    pair = ([prediction], [label]) if as_list else (prediction[None], label[None])
    assert float(RegionHausdorff95()(*pair)) == pytest.approx(12)
    assert float(RegionHausdorff95(spacing=ISOTROPIC)(*pair)) == pytest.approx(4)


def test_metrics_refuse_pairs_that_do_not_match() -> None:
    prediction, reference = region_batch()
    with pytest.raises(ValueError, match="of one shape"):
        RegionDice()(prediction, reference[:, :2])
    with pytest.raises(ValueError, match="of one shape"):
        RegionDice()(prediction)


@pytest.mark.parametrize("spacing", [(float("nan"), 1, 1), (0, 1, 1), (float("inf"), 1, 1)])
def test_a_spacing_is_finite_and_above_0(spacing):
    with pytest.raises(UserError, match=r"spacing: .* expected finite numbers above 0"):
        RegionHausdorff95(spacing=spacing)
