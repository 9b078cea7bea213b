import pytest
import torch
from conftest import CHANNELS
from monai.data import MetaTensor

from metakd_monai.networks import (
    ImportanceWeights,
    MetaKDUNet,
    WithFeatures,
    find_available,
    infer_architecture,
    segment_subsets,
)
from metakd_monai.networks.norm import ExactNorm, StepwiseNorm3d, VolumeNorm3d, norm_volume
from metakd_monai.vocabulary import Modality, modality_subsets

AVAILABLE = torch.tensor([[True, False, True, True], [False, False, True, False]])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e6])
def test_absent_modality_cannot_change_one_bit(poison, norm, training):
    network = MetaKDUNet(channels=CHANNELS, norm=norm).train(training)
    image = torch.randn(2, 4, 8, 8, 8)
    dirty = image.clone()
    dirty[~AVAILABLE] = poison
    assert torch.equal(network(image, AVAILABLE), network(dirty, AVAILABLE))


def test_present_modality_does_change_the_output(network):
    image = torch.randn(2, 4, 8, 8, 8)
    other = image.clone()
    other[0, 0] += 1.0 * torch.randn(8, 8, 8)
    assert not torch.equal(network(image, AVAILABLE)[0], network(other, AVAILABLE)[0])
    assert torch.equal(network(image, AVAILABLE)[1], network(other, AVAILABLE)[1])


@pytest.mark.parametrize(("norm", "runs"), [("instance", [1, 1, 1, 1]), ("batch", [4])])
def test_encoder_runs_on_present_modalities_only(norm, runs):
    network, seen = MetaKDUNet(channels=CHANNELS, norm=norm), []
    network.encoder[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    network(torch.randn(2, 4, 8, 8, 8), AVAILABLE)
    assert seen == [(rows, 1, 8, 8, 8) for rows in runs]  # 3 + 1 present, not 8; batch norm wants them together


def test_one_decode_for_each_subset_equals_whole_runs(network):
    network.eval()
    image = torch.randn(1, 4, 8, 8, 8)
    everything = torch.ones(1, 4, dtype=torch.bool)
    features = network.encode(image, everything)
    for subset in modality_subsets():
        mask = torch.tensor([[m in subset for m in Modality]])
        torch.testing.assert_close(
            network.decode(features, mask, encoded=everything), network(image, mask), atol=1e-5, rtol=1e-5
        )


def test_several_subsets_at_once_equal_one_after_the_other_and_encode_once():
    network, encoded = MetaKDUNet(channels=CHANNELS), []
    image = torch.randn(2, 4, 8, 8, 8)
    image[1, 3] = float("nan")  # no subset of the second sample has it
    subsets = torch.tensor([[[1, 0, 1, 1], [0, 0, 0, 1]], [[1, 1, 0, 0], [0, 1, 0, 0]]]).bool()
    network.encoder[0].register_forward_hook(lambda module, inputs, output: encoded.append(len(output)))
    logits, features, available = WithFeatures(network)(image, subsets)
    assert sum(encoded) == 5
    assert torch.equal(available, subsets.any(1))
    assert features.shape[:2] == (2, 4)
    apart = torch.cat([network(image, subsets[:, one]) for one in range(2)])
    torch.testing.assert_close(logits, apart, atol=1e-4, rtol=1e-4)


def test_equal_subsets_are_decoded_once_and_count_as_often_as_they_are_there():
    network, decoded = MetaKDUNet(channels=CHANNELS), []
    image = torch.randn(1, 4, 8, 8, 8)
    everything, flair = [1, 1, 1, 1], [1, 0, 0, 0]
    network.heads[0].register_forward_hook(lambda module, inputs, output: decoded.append(len(output)))
    logits, _, _ = segment_subsets(network, image, torch.tensor([[everything, flair, everything]]).bool())
    assert decoded == [1, 1]
    assert torch.equal(logits[0], logits[2])
    logits.square().sum().backward()
    bias = network.heads[0].conv.bias
    gradient = bias.grad.clone()
    network.zero_grad()
    twice, once = (network(image, torch.tensor([subset]).bool()).square().sum() for subset in (everything, flair))
    (2 * twice + once).backward()
    torch.testing.assert_close(gradient, bias.grad, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [(8, 8, 8), (1, 1, 1), (3, 3, 3), (9, 6, 5), (1, 17, 4)])
def test_any_spatial_size_3d(network, size):
    assert network(torch.randn(2, 4, *size), AVAILABLE).shape == (2, 3, *size)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (9, 6)])
def test_any_spatial_size_2d(size):
    network = MetaKDUNet(spatial_dims=2, in_channels=3, out_channels=5, channels=CHANNELS)
    mask = torch.tensor([[True, True, False]])
    assert network(torch.randn(1, 3, *size), mask).shape == (1, 5, *size)


def test_default_widths():
    assert infer_architecture(MetaKDUNet().state_dict())["channels"] == (8, 32, 64, 128, 256)


def test_one_row_of_availability_serves_all_windows(network):
    image = torch.randn(3, 4, 8, 8, 8)
    row = torch.tensor([[True, False, True, False]])
    assert torch.equal(network(image, row), network(image, row.expand(3, -1)))


def test_availability_is_found_where_nobody_says():
    image = torch.randn(1, 4, 4, 4, 4)
    image[0, 1], image[0, 3] = 0, float("nan")
    image[0, 0, 0] = float("nan")  # part of a channel only
    assert find_available(image).tolist() == [[True, False, True, False]]


def test_network_without_availability_takes_zero_channels_for_absent(network):
    image = torch.randn(2, 4, 8, 8, 8)
    image[~AVAILABLE] = 0
    assert torch.equal(network(image), network(image, AVAILABLE))


def test_scripted_network_equals_the_eager_one(network):
    network.eval()
    with pytest.warns(DeprecationWarning, match="jit"):
        scripted = torch.jit.script(network)
    image = torch.randn(2, 4, 9, 8, 8)
    assert torch.equal(scripted(image), network(image))
    assert torch.equal(scripted(image, AVAILABLE), network(image, AVAILABLE))


@pytest.mark.parametrize("norm", [VolumeNorm3d, StepwiseNorm3d])
def test_norms_are_exact_on_a_volume_of_many_voxels(norm):
    image = torch.randn(1, 8, 64, 48, 64) * 0.4 + 0.1
    image[..., 32:] = 0.05  # as outside a brain
    image = image.contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        found = norm(8, affine=True)(image)
    torch.testing.assert_close(found.double(), torch.nn.functional.instance_norm(image.double()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 8, 144, 176, 144), (1, 4, 61, 67), (1, 3, 12, 13, 11), (1, 3, 5, 6, 5)])
def test_volume_norm_is_exact_in_training_where_channels_come_last(shape):
    """Beside float64; PyTorch's own batch norm of such a volume is wrong by 0.008 and its gradient by 0.002."""
    last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    image = (0.7 + torch.randn(shape)).contiguous(memory_format=last)
    slope = (0.3 + torch.randn(shape) + 0.2 * image).contiguous(memory_format=last)
    weight, bias = torch.rand(shape[1]) + 0.5, torch.randn(shape[1])
    results = []
    for dtype, norm in ((torch.float32, norm_volume), (torch.float64, instance_norm)):
        inputs = [value.to(dtype, copy=True).requires_grad_() for value in (image, weight, bias)]
        found = norm(*inputs, 1e-5)
        found.backward(slope.to(dtype))
        results.append([found.detach(), *(value.grad for value in inputs)])
    assert results[0][0].stride() == image.stride()
    for found, expected in zip(*results, strict=True):
        assert (found - expected).abs().max() < 3e-6 * expected.abs().max()


def instance_norm(x, weight, bias, eps):
    """The definition, in float64."""
    axes = list(range(2, x.dim()))
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    shape = (1, -1, *[1] * len(axes))
    return (x - mean) / (variance + eps).sqrt() * weight.reshape(shape) + bias.reshape(shape)


def test_gradient_of_the_volume_norm():
    image = torch.randn(1, 2, 4, 3, 5, dtype=torch.double).contiguous(memory_format=torch.channels_last_3d)
    weight, bias = torch.rand(2, dtype=torch.double), torch.randn(2, dtype=torch.double)
    inputs = [value.requires_grad_() for value in (image, weight, bias)]
    assert torch.autograd.gradcheck(lambda *values: ExactNorm.apply(*values, 1e-5), inputs)
    assert torch.autograd.gradcheck(lambda x: ExactNorm.apply(x, None, None, 1e-5), inputs[:1])
    with torch.no_grad():
        assert torch.equal(norm_volume(image.clone(), weight, bias, 1e-5, inplace=True), ExactNorm.apply(*inputs, 1e-5))


def test_plain_state_dict_loads_strictly_with_weights_only(network, weights):
    other = MetaKDUNet(channels=CHANNELS)
    other.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    image = torch.randn(1, 4, 8, 8, 8)
    assert torch.equal(other.eval()(image), network.eval()(image))


def test_deep_supervision_stacks_heads_in_training_only():
    network = MetaKDUNet(channels=(4, 8, 8, 8, 8), deep_supervision=True)
    image = torch.randn(1, 4, 17, 16, 16)
    assert network.train()(image).shape == (1, 3, 3, 17, 16, 16)
    assert network.eval()(image).shape == (1, 3, 17, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"), ({"channels": (8,)}, "at least two scales")],
)
def test_ill_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MetaKDUNet(**arguments)


def test_wrong_channels_and_nothing_present(network):
    with pytest.raises(ValueError, match="expected 4 channels, one for each modality, got 3"):
        network(torch.randn(1, 3, 8, 8, 8), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="no modality is present"):
        network(torch.zeros(1, 4, 8, 8, 8))


def test_with_features_gives_the_bottleneck(network):
    logits, features, available = WithFeatures(network)(torch.randn(2, 4, 8, 8, 8), AVAILABLE)
    assert logits.shape == (2, 3, 8, 8, 8)
    assert features.shape == (2, 4, 16, 2, 2, 2)
    assert torch.equal(available, AVAILABLE)
    assert features[~available].abs().sum() == 0


def test_importance_starts_seeded_and_sums_to_one():
    first, again, other = ImportanceWeights(seed=1), ImportanceWeights(seed=1), ImportanceWeights(seed=2)
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.weights, other.weights)
    assert ((first.weights >= 0) & (first.weights < 1)).all()
    assert first().sum().item() == pytest.approx(1)


def test_importance_refuses_an_unknown_normalization():
    with pytest.raises(ValueError, match="normalization must be"):
        ImportanceWeights(normalization="max")


def test_infer_architecture_reads_shapes_back():
    network = MetaKDUNet(2, 3, 5, (4, 6, 8, 10), deep_supervision=True)
    found = infer_architecture(network.state_dict())
    assert found == {
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 5,
        "channels": (4, 6, 8, 10),
        "deep_supervision": True,
        "input_stride": 1,
        "modality_specific_scales": 0,
        "window": None,
    }


def test_infer_architecture_refuses_other_networks():
    with pytest.raises(ValueError, match="not a state dict of a MetaKDUNet"):
        infer_architecture(torch.nn.Conv3d(1, 1, 1).state_dict())


def test_a_meta_tensor_is_normed_in_training():
    """MONAI's croppers hand them over; what follows works in place."""
    image = MetaTensor(torch.randn(1, 4, 16, 16, 16)).to(memory_format=torch.channels_last_3d)
    network = MetaKDUNet(channels=(4, 8, 16)).to(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(image, torch.ones(1, 4, dtype=torch.bool)).square().mean()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
