"""A network trained on voxels k times as long as those of the images."""

import pytest
import torch
from conftest import CHANNELS
from torch.nn import functional

from metakd_monai.apps.predict.subset_predictor import DecodeAll
from metakd_monai.data.memory_limit import BASE_BYTES, GIB, VOLUME_BYTES
from metakd_monai.errors import UserError
from metakd_monai.inferers import ModalityInferer
from metakd_monai.inferers.memory import window_step
from metakd_monai.networks import MetaKDUNet, infer_architecture
from metakd_monai.weights.load import load_network, network_for

AVAILABLE = torch.tensor([[True, False, True, True], [False, False, True, False]])


def pair(k=2, **arguments):
    """Return a network with an input_stride and the same one without."""
    arguments = {"channels": CHANNELS, **arguments}
    strided, plain = MetaKDUNet(input_stride=k, **arguments), MetaKDUNet(**arguments)
    strided.load_state_dict({**plain.state_dict(), "input_stride": torch.tensor(k)})
    return strided, plain


def by_hand(plain, image, available, k):
    """Pad, pool, segment, interpolate, crop."""
    factor = k * 2 ** (len(CHANNELS) - 1)
    size = image.shape[2:]
    far = [-length % factor for length in size]
    padded = functional.pad(image, [part for length in reversed(far) for part in (0, length)])
    windows = padded
    for axis in range(2, image.dim()):  # the mean of k voxels along each axis
        windows = windows.unflatten(axis, (-1, k)).mean(axis + 1)
    mode = "trilinear" if image.dim() == 5 else "bilinear"
    logits = functional.interpolate(plain(windows, available), scale_factor=k, mode=mode, align_corners=False)
    return logits[(..., *(slice(0, length) for length in size))]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("k", "size"), [(2, (16, 16, 16)), (2, (17, 9, 20)), (3, (25, 12, 13))])
def test_it_pools_segments_and_interpolates(k, size, training):
    strided, plain = pair(k)
    image = torch.randn(2, 4, *size)
    found = strided.train(training)(image, AVAILABLE)
    assert found.shape == (2, 3, *size)
    torch.testing.assert_close(found, by_hand(plain.train(training), image, AVAILABLE, k), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, plain(image, AVAILABLE), atol=0.1)


def test_in_two_dimensions():
    strided, plain = pair(spatial_dims=2)
    image = torch.randn(2, 4, 19, 24)
    torch.testing.assert_close(
        strided.eval()(image, AVAILABLE), by_hand(plain.eval(), image, AVAILABLE, 2), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("training", [True, False])
def test_absent_modalities_cannot_change_one_bit(training):
    network, _ = pair()
    network.train(training)
    image = torch.randn(2, 4, 18, 16, 16)
    dirty = image.clone()
    dirty[~AVAILABLE] = float("nan")
    assert torch.equal(network(image, AVAILABLE), network(dirty, AVAILABLE))
    assert network(dirty, AVAILABLE).isfinite().all()


def test_all_paths_give_the_same_logits():
    network, _ = pair()
    network.eval()
    image, row = torch.randn(1, 4, 17, 16, 12), AVAILABLE[:1]
    expected = network(image, row)
    importance = torch.full((4,), 0.25)
    torch.testing.assert_close(network.forward_weighted(image, row, importance)[0], expected, atol=1e-3, rtol=1e-3)
    together = DecodeAll(network, [row, AVAILABLE[1:]])
    assert (together.factor, together.bytes_per_voxel()) == (network.factor, network.bytes_per_voxel())
    torch.testing.assert_close(together(image, torch.ones_like(row))[:, :3], expected, atol=1e-5, rtol=1e-5)
    _, features, _ = network.forward_features(image, row)
    assert features.shape == (1, 4, CHANNELS[-1], 3, 2, 2)  # strides of 8 voxels


def test_deep_supervision_has_all_heads_at_full_size():
    network = MetaKDUNet(channels=(4, 8, 8, 8, 8), deep_supervision=True, input_stride=2)
    image = torch.randn(1, 4, 33, 32, 32)
    assert network.train()(image).shape == (1, 3, 3, 33, 32, 32)
    assert network.eval()(image).shape == (1, 3, 33, 32, 32)


def test_torchscript():
    network, _ = pair()
    network.eval()
    with pytest.warns(DeprecationWarning, match="jit"):
        scripted = torch.jit.script(network)
    image = torch.randn(2, 4, 17, 16, 16)
    torch.testing.assert_close(scripted(image, AVAILABLE), network(image, AVAILABLE))
    assert (scripted.factor, scripted.bytes_per_voxel()) == (network.factor, network.bytes_per_voxel())


def test_the_stride_goes_with_the_weights(tmp_path):
    network, plain = pair(3)
    assert "input_stride" not in plain.state_dict()
    assert infer_architecture(network.state_dict())["input_stride"] == 3
    torch.save(network.state_dict(), tmp_path / "model.pt")
    image = torch.randn(1, 4, 24, 12, 12)
    assert torch.equal(load_network(tmp_path / "model.pt", optimize="none")(image), network.eval()(image))
    built = network_for(tmp_path / "model.pt")
    assert (built.pooling, built.channels) == (3, CHANNELS)
    assert network_for(tmp_path / "model.pt", channels=(4, 8)).channels == (4, 8)
    assert network_for(tmp_path / "none.pt").channels == MetaKDUNet().channels
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt: weights do not fit MetaKDUNet: not a state dict"):
        network_for(tmp_path / "other.pt")


def test_weights_of_another_stride_are_refused():
    (two, plain), (three, _) = pair(2), pair(3)
    for network, state, message in (
        (two, plain, "no input_stride"),
        (plain, two, "an unknown input_stride"),
        (two, three, "found an input_stride of 3; expected 2"),
    ):
        with pytest.raises(RuntimeError, match=message):
            network.load_state_dict(state.state_dict(), strict=False)
    with pytest.raises(ValueError, match="input_stride must be 1 or more, got 0"):
        MetaKDUNet(input_stride=0)


def test_weights_in_fp16_load_as_fp32(tmp_path):
    network, _ = pair()
    torch.save(network.half().state_dict(), tmp_path / "model.pt")
    loaded = load_network(tmp_path / "model.pt", optimize="none")
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    image = torch.randn(1, 4, 16, 16, 16)
    torch.testing.assert_close(loaded(image), network.float().eval()(image))


def test_windows_are_multiples_of_the_stride_and_fit_in_memory():
    network = MetaKDUNet(channels=(2, 2, 2, 2, 2), input_stride=2).eval()
    assert window_step(network) == network.factor == 32
    assert network.bytes_per_voxel() < MetaKDUNet(channels=(2, 2, 2, 2, 2)).bytes_per_voxel()
    seen = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))
    image = torch.rand(1, 4, 80, 64, 64) + 1
    limit = (BASE_BYTES + VOLUME_BYTES * 80 * 64 * 64 + network.bytes_per_voxel() * 64**3) / GIB
    with torch.inference_mode():
        logits = ModalityInferer(memory_limit=limit, overlap=0.25, mode="gaussian")(image, network)
    assert logits.shape == (1, 3, 80, 64, 64)
    assert set(seen) == {(64, 64, 64)}
