import pytest
import torch
from torch.nn import functional

from metakd_monai.equations import fill_missing, filling_matrix, weight_by_importance
from metakd_monai.networks.fusion import fill_kernel, fuse_rows, place_rows, scatter_rows
from metakd_monai.networks.norm import VolumeNorm2d, VolumeNorm3d

ENCODED = torch.tensor([[True, True, True, True], [False, False, True, True]])
AVAILABLE = torch.tensor([[True, False, True, True], [False, False, True, False]])
CONVOLUTIONS = {2: functional.conv2d, 3: functional.conv3d}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("importance", [None, torch.tensor([0.1, 0.2, 0.3, 0.4])])
def test_fusion_of_rows_is_the_convolution_of_all_filled_features(dims, importance):
    features = torch.randn(2, 4, 5, *[3] * dims, dtype=torch.float64)
    kernel = torch.randn(6, 20, *[1] * dims, dtype=torch.float64)
    filled = fill_missing(features, AVAILABLE)
    if importance is not None:
        filled = weight_by_importance(filled, importance.double())
    expected = CONVOLUTIONS[dims](filled.flatten(1, 2), kernel)
    rows = list(features[ENCODED].split(1))
    filling = filling_matrix(AVAILABLE, importance).double()
    found = fuse_rows(rows, place_rows(ENCODED, AVAILABLE), fill_kernel(kernel, filling))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_scattered_rows_stand_at_their_modality():
    features = torch.randn(2, 4, 3, 2, 2)
    found = scatter_rows(list(features[AVAILABLE].split(1)), AVAILABLE)
    assert torch.equal(found[AVAILABLE], features[AVAILABLE])
    assert not found[~AVAILABLE].any()


@pytest.mark.parametrize(("norm", "size"), [(VolumeNorm2d, (6, 5)), (VolumeNorm3d, (4, 5, 6))])
@pytest.mark.parametrize("batch", [1, 3])
def test_volume_norm_is_instance_norm_with_its_gradient(norm, size, batch):
    layer = norm(3, affine=True)
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(batch, 3, *size, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    found = layer(x)
    expected = functional.instance_norm(other, weight=layer.weight, bias=layer.bias)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), x), torch.autograd.grad(expected.square().sum(), other)
    )


@pytest.mark.parametrize("grad", [False, True])
def test_volume_norm_takes_the_place_of_its_input_where_no_gradient_is_asked_for(grad):
    plain, inplace = VolumeNorm3d(3, affine=True), VolumeNorm3d(3, affine=True, inplace=True)
    x = torch.randn(1, 3, 4, 5, 6)
    expected = plain(x)
    with torch.set_grad_enabled(grad):
        given = x.clone()
        found = inplace(given)
    torch.testing.assert_close(found, expected)
    assert (found.data_ptr() == given.data_ptr()) is not grad
