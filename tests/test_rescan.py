"""Real images with other scanner effects: reproducible, each sequence its own, nothing outside of the brain."""

import pytest
import torch
from monai.transforms import NormalizeIntensity

from metakd_monai.apps.simulation.training import RandRescand, load_anatomies, simulate


@pytest.fixture(scope="module")
def images():
    found, _ = simulate(3, load_anatomies(6.0, brains=1), 6.0)
    return NormalizeIntensity(nonzero=True, channel_wise=True)(found)


def rescan(images, seed=0, prob=1.0):
    transform = RandRescand("image", prob=prob, spacing=6.0)
    transform.set_random_state(seed)
    return transform({"image": images})["image"]


def test_brain_mean_and_deviation_stay(images):
    found = rescan(images)
    assert torch.equal(found != 0, images != 0)
    for before, after in zip(images, found, strict=True):
        inside = before != 0
        torch.testing.assert_close(after[inside].mean(), before[inside].mean(), atol=1e-4, rtol=0)
        torch.testing.assert_close(after[inside].std(), before[inside].std(), atol=1e-4, rtol=1e-4)
        assert 0.3 < torch.corrcoef(torch.stack([before[inside], after[inside]]))[0, 1] < 0.9999


def test_a_seed_is_one_result(images):
    assert torch.equal(rescan(images, 1), rescan(images, 1))
    assert not torch.equal(rescan(images, 1), rescan(images, 2))


def test_each_sequence_is_drawn_for_itself(images):
    changed = {tuple((images != rescan(images, n, 0.5)).flatten(1).any(1).tolist()) for n in range(8)}
    assert len(changed) > 3
    assert torch.equal(rescan(images, prob=0.0), images)


def test_an_empty_sequence_stays_empty(images):
    images = images.clone()
    images[2] = 0
    found = rescan(images)
    assert not found[2].any()
    assert found.isfinite().all()
