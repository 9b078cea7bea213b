"""Ranges that hold for a new case."""

import numpy as np
import pytest

from metakd_monai.metrics.conformal import predictive_range, summarise_range


@pytest.mark.parametrize(
    ("cases", "low", "high"),
    [(9, 0, 8), (18, 0, 17), (19, 1, 17), (28, 1, 26), (29, 2, 26)],
)
def test_order_statistics_by_hand(cases, low, high):
    values = np.random.default_rng(0).permutation(cases).astype(float)
    assert predictive_range(values, [str(n) for n in range(cases)]) == (low, high)


def test_of_eight_cases_there_is_none():
    dice = {str(n): n / 10 for n in range(8)}
    assert predictive_range(list(dice.values()), list(dice)) is None
    assert summarise_range(dice) == {"cases": 8, "median": 0.35}
    assert summarise_range({**dice, "8": 0.8}) == {"cases": 9, "median": 0.4, "low": 0.0, "high": 0.8}


def test_many_values_of_few_cases_are_few_cases():
    assert predictive_range(np.arange(800.0), [str(n % 8) for n in range(800)]) is None


def test_a_case_with_many_values_counts_as_one():
    cases = [*map(str, range(9)), *["9"] * 1000]
    low, high = predictive_range([*range(9), *[100.0] * 1000], cases)
    assert (low, high) == (0, 100)
    assert predictive_range([*range(28), *[100.0] * 999], [*map(str, range(28)), *["0"] * 999]) == (2, 27)


def test_new_cases_lie_in_the_range_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(400):
        center = rng.normal(size=21)  # what the values of one case have in common
        values = center[:, None] + 0.3 * rng.normal(size=(21, 15))
        low, high = predictive_range(values[1:].ravel(), np.repeat(np.arange(20).astype(str), 15))
        inside += ((low <= values[0]) & (values[0] <= high)).tolist()
    assert 0.8 <= np.mean(inside) <= 0.95
