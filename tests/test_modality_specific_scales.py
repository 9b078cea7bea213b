"""A network whose finest encoder blocks belong to one modality each."""

import pytest
import torch
from conftest import CHANNELS
from torch.nn import functional

from metakd_monai.equations import fill_missing
from metakd_monai.networks import GraphMetaKDUNet, MetaKDUNet, infer_architecture, scatter_rows
from metakd_monai.weights.load import load_network, network_for

AVAILABLE = torch.tensor([[True, False, True, True], [False, True, True, False]])
OWN = (1, 2)


def make(modality_specific_scales, **arguments):
    return MetaKDUNet(**{"channels": CHANNELS, "modality_specific_scales": modality_specific_scales, **arguments})


def by_hand(network, image, available):
    """Encode each modality with its own blocks and then the shared ones, fill, concatenate, decode."""
    rows = [[image[b : b + 1, n : n + 1] for n in range(4) if available[b, n]] for b in range(len(image))]
    numbers = [available[b].nonzero().flatten().tolist() for b in range(len(image))]
    fused = []
    for scale, fuse in enumerate(network.fusion):
        for sample, which in zip(rows, numbers, strict=True):
            for place, n in enumerate(which):
                block = [*network.own[n], *network.encoder][scale]
                sample[place] = block(sample[place])
        features = scatter_rows([row for sample in rows for row in sample], available)
        fused.append(fuse.finish(fuse.conv(fill_missing(features, available).flatten(1, 2))))
    return network.decode_fused(fused)


@pytest.mark.parametrize("modality_specific_scales", OWN)
@pytest.mark.parametrize("training", [True, False])
def test_each_modality_goes_its_own_way_and_then_the_shared_one(modality_specific_scales, training):
    network = make(modality_specific_scales, norm=("instance", {"affine": True})).train(training)
    image = torch.randn(2, 4, 8, 8, 8)
    expected = by_hand(network, image, AVAILABLE)
    torch.testing.assert_close(network(image, AVAILABLE), expected, atol=1e-5, rtol=1e-5)
    other = network(image.flip(1), AVAILABLE.flip(1)).detach()
    assert not torch.allclose(other, expected, atol=0.01)  # which is which matters, beyond the fusion's kernels


@pytest.mark.parametrize("modality_specific_scales", OWN)
def test_rows_of_several_samples_keep_their_order(modality_specific_scales):
    network = make(modality_specific_scales).eval()
    image = torch.randn(2, 4, 8, 8, 8)
    index = AVAILABLE.flatten().nonzero().flatten()
    together = network.encode_rows(image.flatten(0, 1)[index].unsqueeze(1), index % 4)  # as a GPU does
    for rows, scale in zip(network.encode(image, AVAILABLE), together, strict=True):
        torch.testing.assert_close(torch.cat(rows), scale, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_absent_modalities_reach_neither_the_output_nor_a_weight(norm):
    network = make(2, norm=norm).train()
    image = torch.randn(2, 4, 8, 8, 8)
    dirty = image.clone()
    dirty[~AVAILABLE] = float("nan")
    assert torch.equal(network(image, AVAILABLE), network(dirty, AVAILABLE))
    only = torch.tensor([[True, False, True, False]]).expand(2, -1)
    functional.mse_loss(network(dirty.nan_to_num(), only), torch.zeros(2, 3, 8, 8, 8)).backward()
    learned = [any(value.grad is not None for value in blocks.parameters()) for blocks in network.own]
    assert learned == [True, False, True, False]


def test_every_format_computes_the_same():
    network = make(2, input_stride=2).eval()
    image, row = torch.randn(1, 4, 16, 32, 16), AVAILABLE[:1]
    expected = network(image, row)
    with pytest.warns(DeprecationWarning, match="jit"):
        scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(image, row), expected)
    graph = GraphMetaKDUNet(**infer_architecture(network.state_dict()), norm=("instance", {"affine": True})).eval()
    graph.load_state_dict(network.state_dict())
    torch.testing.assert_close(graph(image, row), expected, atol=1e-4, rtol=1e-4)


def test_they_go_with_the_weights(tmp_path):
    network = make(2)
    assert infer_architecture(network.state_dict()) == {
        "spatial_dims": 3,
        "in_channels": 4,
        "out_channels": 3,
        "channels": CHANNELS,
        "deep_supervision": False,
        "input_stride": 1,
        "modality_specific_scales": 2,
        "window": None,
    }
    torch.save(network.state_dict(), tmp_path / "model.pt")
    image = torch.randn(1, 4, 8, 8, 8)
    assert torch.equal(load_network(tmp_path / "model.pt", optimize="none")(image), network.eval()(image))
    assert network_for(tmp_path / "model.pt").modality_specific_scales == 2
    with pytest.raises(RuntimeError, match=r"no encoder\.1\.conv1\.conv\.weight, .* and 57 more"):
        make(0).load_state_dict(network.state_dict(), strict=False)


@pytest.mark.parametrize("modality_specific_scales", [-1, len(CHANNELS)])
def test_one_scale_at_least_is_shared(modality_specific_scales):
    with pytest.raises(
        ValueError,
        match=rf"modality_specific_scales must be 0 or more, and less than 3 scales, got {modality_specific_scales}",
    ):
        make(modality_specific_scales)
