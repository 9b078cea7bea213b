import csv

import pytest
from conftest import shared

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import MODALITY_NAMES, Modality, modality_subsets, parse_modalities

F, T1, T1CE, T2 = Modality


def test_channel_order_is_that_of_msd_task01():
    assert MODALITY_NAMES == ("flair", "t1", "t1ce", "t2")


def test_fifteen_subsets_in_the_order_of_table_1():
    subsets = modality_subsets()
    assert len(subsets) == len(set(subsets)) == 15
    assert subsets[:6] == [(F,), (T1,), (T1CE,), (T2,), (F, T1), (F, T1CE)]
    assert subsets[-1] == tuple(Modality)


def test_subsets_agree_with_the_paper_s_table_as_data():
    with shared("paper", "table1_brats2018.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) % 15 == 0


def test_subsets_of_what_a_case_has():
    assert modality_subsets([T1CE, F]) == [(F,), (T1CE,), (F, T1CE)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, tuple(Modality)),
        ("t1ce,flair", (F, T1CE)),
        ("T1c, t2w", (T1CE, T2)),
        (["t2f", "t1n"], (F, T1)),
        ((Modality.T2,), (T2,)),
    ],
)
def test_parse_modalities(given, expected):
    assert parse_modalities(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [("flare", "did you mean 'flair'"), ("t1,qqqq", "unknown modality 'qqqq'; expected some of"), (" , ", "empty")],
)
def test_parse_modalities_refuses(given, message):
    with pytest.raises(UserError, match=message):
        parse_modalities(given)
