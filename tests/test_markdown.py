"""Tables in Markdown, written out by hand."""

import pytest

from metakd_monai.data.markdown import markdown_table


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ("lr", "|---|--:|--:|--:|"),
        ("l", "|---|---|---|---|"),
        ("ccr", "|:-:|:-:|--:|--:|"),
        ("lrcl", "|---|--:|:-:|---|"),
    ],
)
def test_the_last_letter_goes_on_to_the_last_column(columns, rule):
    lines = markdown_table(["case", "WT", "TC", "ET"], [["a", "1", "2", ""], ["**mean**", "1", "2", "-"]], columns)
    assert lines == ["| case | WT | TC | ET |", rule, "| a | 1 | 2 |  |", "| **mean** | 1 | 2 | - |"]


def test_numbers_stand_right_of_the_first_column_and_rows_may_be_none():
    assert markdown_table(["case", "WT"], iter(())) == ["| case | WT |", "|---|--:|"]
