import pytest
import torch
from monai.data import MetaTensor

from metakd_monai.inferers import OUTSIDE_LOGIT, ModalityInferer


class Recorder:
    """A network that notes what it is given and answers with the first channels."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, available):
        self.calls.append((tuple(x.shape), available.tolist()))
        return x[:, :3] + 1


def volume(size=(12, 12, 12)):
    image = torch.zeros(1, 4, *size)
    image[:, :, 4:8, 4:8, 4:8] = torch.rand(1, 4, 4, 4, 4) + 1
    return image


def test_availability_is_decided_once_for_the_volume():
    image = volume()
    image[:, 1] = 0
    image[:, 3] = float("nan")
    image[:, 0, 4:6] = 0  # empty in some windows, but there
    network = Recorder()
    ModalityInferer(roi_size=4, margin=0, overlap=0, crop_foreground=False)(image, network)
    assert len(network.calls) == 27
    assert all(available == [[True, False, True, False]] for _, available in network.calls)


def test_only_the_brain_s_box_is_computed_and_put_back():
    image, network = volume(), Recorder()
    logits = ModalityInferer(roi_size=8, margin=1)(image, network)
    assert network.calls == [((1, 4, 6, 6, 6), [[True] * 4])]
    expected = torch.full((1, 3, 12, 12, 12), OUTSIDE_LOGIT)
    expected[:, :, 3:9, 3:9, 3:9] = image[:, :3, 3:9, 3:9, 3:9] + 1
    assert torch.equal(logits, expected)


def test_box_ignores_absent_modalities():
    image, network = volume(), Recorder()
    image[:, 2] = 7  # not there: must not widen the box
    ModalityInferer(roi_size=8, margin=0)(image, network, torch.tensor([[True, True, False, True]]))
    assert network.calls[0][0] == (1, 4, 4, 4, 4)


def test_windows_cover_a_box_larger_than_the_roi():
    image = torch.rand(1, 4, 9, 9, 9) + 1
    logits = ModalityInferer(roi_size=5, overlap=0.25, mode="gaussian")(image, Recorder())
    torch.testing.assert_close(logits, image[:, :3] + 1)


def test_each_volume_of_a_batch_has_its_own_availability():
    image = torch.cat([volume(), volume()])
    image[1, 0] = 0
    network = Recorder()
    assert ModalityInferer(roi_size=8, margin=0)(image, network).shape == (2, 3, 12, 12, 12)
    assert [available for _, available in network.calls] == [[[True] * 4], [[False, True, True, True]]]


def test_meta_data_goes_through():
    image = MetaTensor(volume(), affine=torch.diag(torch.tensor([2.0, 2, 2, 1])))
    logits = ModalityInferer(roi_size=8)(image, Recorder())
    assert logits.affine[0, 0] == 2


def test_present_but_empty_volume_is_computed_whole():
    network = Recorder()
    ModalityInferer(roi_size=8)(torch.zeros(1, 4, 6, 6, 6), network, torch.ones(1, 4, dtype=torch.bool))
    assert network.calls[0][0] == (1, 4, 6, 6, 6)


def test_nothing_there():
    with pytest.raises(ValueError, match="no modality is present"):
        ModalityInferer(roi_size=8)(torch.zeros(1, 4, 6, 6, 6), Recorder())
