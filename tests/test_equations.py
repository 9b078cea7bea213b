"""Each equation on numbers that can be checked by eye, then its properties."""

import math

import pytest
import torch

from metakd_monai.equations import (
    distillation,
    feature_distance,
    fill_error,
    fill_missing,
    filling_matrix,
    importance_ratio,
    normalize_importance,
    weight_by_importance,
)

POISON = [float("nan"), float("inf"), 1e6]


def test_fill_missing_by_hand_eq_2():
    features = torch.tensor([[[2.0], [9.0], [4.0], [9.0]]])  # (B=1, N=4, C=1); the 9s are absent
    available = torch.tensor([[True, False, True, False]])
    assert fill_missing(features, available).flatten().tolist() == [2, 3, 4, 3]


def test_fill_missing_is_a_mean_at_each_voxel():
    features = torch.tensor([1.0, 3.0, 5.0, 7.0, 0.0, 0.0]).reshape(1, 3, 1, 2)  # modalities (1,3), (5,7), absent
    filled = fill_missing(features, torch.tensor([[True, True, False]]))
    assert filled[0, 2, 0].tolist() == [3, 5]


def test_fill_missing_leaves_present_ones_untouched():
    features = torch.randn(2, 4, 3, 2, 2, 2)
    assert torch.equal(fill_missing(features, torch.ones(2, 4, dtype=torch.bool)), features)


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize("space", [(), (5,), (2, 2, 2)])
def test_absent_modality_cannot_leak(poison, space):
    features = torch.randn(2, 4, 3, *space)
    available = torch.tensor([[True, False, True, True], [False, False, True, False]])
    dirty = features.clone()
    dirty[~available] = poison
    assert torch.equal(fill_missing(dirty, available), fill_missing(features, available))
    assert torch.equal(feature_distance(dirty, available), feature_distance(features, available))


@pytest.mark.parametrize("poison", POISON)
def test_absent_modality_gets_no_gradient(poison):
    features = torch.randn(1, 2, 3)
    features[0, 1] = poison
    features.requires_grad_()
    available = torch.tensor([[True, False]])
    (fill_missing(features, available).sum() + distillation(features, available, torch.ones(2))).backward()
    assert features.grad[0, 0].tolist() == [2, 2, 2]  # itself and the copy that fills
    assert features.grad[0, 1].tolist() == [0, 0, 0]


def test_weight_by_importance_by_hand_eq_4():
    features = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    weighted = weight_by_importance(features, torch.tensor([0.5, 2.0]))
    assert weighted.tolist() == [[[0.5, 1.0], [6.0, 8.0]]]


def test_importance_ratio_by_hand_eq_4():
    ratio = importance_ratio(torch.tensor([0.8, 0.2]))
    torch.testing.assert_close(ratio, torch.tensor([[1.0, 4.0], [0.25, 1.0]]))  # row: teacher, column: student


def test_importance_ratio_stays_finite_at_zero():
    assert importance_ratio(torch.tensor([1.0, 0.0])).isfinite().all()


@pytest.mark.parametrize(("p", "expected"), [(1, 3.0), (2, 10.0)])
def test_feature_distance_by_hand_eq_5(p, expected):
    features = torch.tensor([[[0.0, 0.0], [2.0, 4.0]]])  # differences 2 and 4: mean 3, mean square 10
    distance = feature_distance(features, torch.tensor([[True, True]]), p)
    assert distance.tolist() == [[[0, expected], [expected, 0]]]


def test_feature_distance_is_zero_for_absent_ones():
    distance = feature_distance(torch.randn(1, 3, 4), torch.tensor([[True, False, True]]))
    assert distance[0, 1].tolist() == [0, 0, 0]
    assert distance[0, :, 1].tolist() == [0, 0, 0]
    assert distance[0, 0, 2] > 0


def test_feature_distance_refuses_another_norm():
    with pytest.raises(ValueError, match="p must be 1 or 2, got 3"):
        feature_distance(torch.randn(1, 2, 1), torch.tensor([[True, True]]), 3)


def test_distillation_by_hand():
    features = torch.tensor([[[0.0], [2.0]]])  # distance 2
    importance = torch.tensor([0.8, 0.2])  # ratios 4 and 1/4
    value = distillation(features, torch.tensor([[True, True]]), importance)
    assert value.item() == pytest.approx(4 * 2 + 0.25 * 2)


def test_distillation_is_a_mean_over_cases():
    features = torch.tensor([[[0.0], [2.0]], [[0.0], [2.0]]])
    available = torch.tensor([[True, True], [True, False]])
    assert distillation(features, available, torch.ones(2)).item() == pytest.approx((2 + 2) / 2)


def test_ratio_of_importances_weighs_each_pair():
    features = torch.tensor([[[0.0], [1.0], [3.0]]])
    available = torch.ones(1, 3, dtype=torch.bool)
    importance = torch.tensor([0.5, 0.3, 0.2])
    distance = {(0, 1): 1, (0, 2): 3, (1, 2): 2}
    expected = sum(
        d * (importance[i] / importance[j] + importance[j] / importance[i]) for (i, j), d in distance.items()
    )
    assert distillation(features, available, importance).item() == pytest.approx(float(expected))


def test_gradient_reaches_students_only():
    features = torch.tensor([[[0.0], [2.0]]], requires_grad=True)
    importance = torch.tensor([0.8, 0.2], requires_grad=True)
    distillation(features, torch.tensor([[True, True]]), importance).backward()
    # Student 1 is pulled down to teacher 0 with ratio 4, student 0 up to teacher 1 with ratio 1/4; nothing else.
    torch.testing.assert_close(features.grad.flatten(), torch.tensor([-0.25, 4.0]))
    assert importance.grad is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("softmax", [0.5, 0.25, 0.25]), ("sigmoid", [2 / 3, 0.5, 0.5]), ("relu", [0.6931, 0.0347, 0.0347])],
)
def test_normalize_importance_by_hand_eq_6(name, expected):
    weights = torch.tensor([2.0, 1.0, 1.0]).log()  # exp: 2, 1, 1; sigmoid of log 2: 2/3
    torch.testing.assert_close(normalize_importance(weights, name), torch.tensor(expected), atol=1e-4, rtol=0)


def test_normalize_importance_refuses_another_name():
    with pytest.raises(ValueError, match="must be 'softmax', 'sigmoid' or 'relu', got 'max'"):
        normalize_importance(torch.zeros(4), "max")


def test_fill_error_by_hand_fig_6():
    features = torch.tensor([[[3.0, 0.0], [0.0, 3.0], [3.0, 3.0]]])  # the third is absent
    distance, similarity = fill_error(features, torch.tensor([[True, True, False]]))
    assert distance[:2].tolist() == [3, 3]  # each would be filled by the other: sqrt((9 + 9) / 2)
    assert similarity[:2].tolist() == [0, 0]
    assert distance[2].isnan()


def test_fill_error_of_modalities_that_are_missing_together():
    features = torch.tensor([[[3.0, 0.0], [0.0, 3.0], [3.0, 3.0]], [[9.0, 9.0]] * 3])
    available = torch.tensor([[True, True, True], [True, True, False]])
    distance, similarity = fill_error(features, available, [[0, 1], [1], [0, 1, 2]])
    assert distance[0] == pytest.approx(math.sqrt(9 / 2))  # both are filled by the third, in the case that has it
    assert similarity[0] == pytest.approx(math.sqrt(0.5))
    assert distance[1] == pytest.approx(math.sqrt((9 + 2.25) / 2) / 2)  # (3, 1.5) for (0, 3); 0 in the second case
    assert distance[2].isnan()


def test_equations_serve_classification():
    features = torch.randn(3, 2, 160)  # no spatial axes
    available = torch.tensor([[True, True], [True, False], [False, True]])
    assert fill_missing(features, available).shape == features.shape
    assert weight_by_importance(features, torch.rand(2)).shape == features.shape
    assert feature_distance(features, available).shape == (3, 2, 2)


@pytest.mark.parametrize("importance", [None, torch.tensor([0.1, 0.2, 0.3, 0.4])])
def test_filling_matrix_is_filling_and_weighing_at_once(importance):
    features = torch.randn(2, 4, 3, 2, 2)
    available = torch.tensor([[True, False, True, True], [False, False, True, False]])
    expected = fill_missing(features, available)
    if importance is not None:
        expected = weight_by_importance(expected, importance)
    found = torch.einsum("bmn,bncxy->bmcxy", filling_matrix(available, importance), features)
    torch.testing.assert_close(found, expected)


def test_filling_matrix_by_hand():
    found = filling_matrix(torch.tensor([[True, False, True]]))
    assert found.tolist() == [[[1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]]]


def test_ratios_with_relu_are_bounded():
    """As they are, w_i / w_j would be 6e5 here, and a loss of that size; Table 6 has a training that works."""
    weights = torch.tensor([0.7, -3.0, 0.0, 0.01], requires_grad=True)
    importance = normalize_importance(weights, "relu")
    torch.testing.assert_close(importance, torch.tensor([0.7, 0.035, 0.035, 0.035]))
    assert importance_ratio(importance).max().item() == pytest.approx(20)
    importance.sum().backward()
    assert weights.grad.tolist() == [1, 0, 0, 0]
    assert normalize_importance(torch.tensor([-1.0, -2.0]), "relu").tolist() == [1, 1]
    assert normalize_importance(torch.tensor([0.2, 0.4]), "relu").tolist() == pytest.approx([0.2, 0.4])
