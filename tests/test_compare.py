"""Differences and paired t-tests against published tables and other runs."""

import math

import numpy as np
import pytest
from conftest import shared
from scipy.stats import ttest_rel

from metakd_monai.apps.benchmark.comparison import compare, paired_p, read_reference, write_comparison
from metakd_monai.apps.benchmark.subset_tables import (
    MEAN,
    SUBSET_NAMES,
    Score,
    ScoreTable,
    read_scores,
    write_scores,
    write_wide,
)
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import REGION_NAMES


def make_table(shift: float = 0.0, subsets: tuple[str, ...] = SUBSET_NAMES, cases: tuple[str, ...] = ("a", "b")):
    """Dice that grows with the subset, and from case to case by 0.01."""
    rows = [
        Score(case, subset, region, "none", metric, value)
        for c, case in enumerate(cases)
        for s, subset in enumerate(subsets)
        for r, region in enumerate(REGION_NAMES)
        for metric, value in (
            ("Dice", 0.3 + 0.02 * s + 0.1 * r + 0.01 * c + shift * (s % 3)),
            ("Hausdorff95", 374.0 if c else 5.0),
            ("Scorable", float(c == 0)),
        )
    ]
    return ScoreTable(tuple(rows))


def test_means_by_hand():
    means = make_table().means("Dice", "none")
    assert means["flair", "ET"] == pytest.approx(30.5)
    assert means[SUBSET_NAMES[-1], "WT"] == pytest.approx(78.5)
    assert means[MEAN, "TC"] == pytest.approx(40.5 + 2 * 7)
    distances = make_table().means("Hausdorff95_scorable", "none")
    assert distances["t1", "ET"] == 5.0
    assert make_table().means("Hausdorff95", "none")["t1", "ET"] == pytest.approx(189.5)


def test_subsets_that_no_case_has_are_left_out_of_the_mean():
    means = make_table(subsets=SUBSET_NAMES[:2]).means("Dice", "none")
    assert math.isnan(means["t2", "ET"])
    assert means[MEAN, "ET"] == pytest.approx(31.5)


def test_scores_are_read_as_they_were_written(tmp_path):
    table = make_table()
    write_scores(tmp_path / "scores.csv", table)
    assert read_scores(tmp_path / "scores.csv").means("Dice", "none") == pytest.approx(table.means("Dice", "none"))


def test_the_test_is_scipy_s_over_the_subsets(tmp_path):
    ours, theirs = make_table(shift=0.01), make_table()
    write_scores(tmp_path / "scores.csv", theirs)
    (found,) = compare(ours, read_reference(tmp_path))
    a, b = ([t.means("Dice", "none")[name, "ET"] for name in SUBSET_NAMES] for t in (ours, theirs))
    test = found.tests["ET"]
    assert test.pairs == 15
    assert test.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert test.p == pytest.approx(ttest_rel(a, b, alternative="greater").pvalue, rel=1e-6)
    a, b = [*a, np.mean(a)], [*b, np.mean(b)]
    assert test.p_with_average == pytest.approx(ttest_rel(a, b, alternative="greater").pvalue, rel=1e-6)


def test_no_p_without_a_spread():
    assert math.isnan(paired_p([2.0, 3.0], [1.0, 2.0]))
    assert math.isnan(paired_p([2.0], [1.0]))


def test_a_wide_table_serves_too_and_other_cases_are_said(tmp_path):
    write_wide(tmp_path / "table.csv", make_table())
    reference = read_reference(tmp_path / "table.csv")
    assert reference.means["none"]["flair", "ET"] == pytest.approx(30.5)
    write_scores(tmp_path / "scores.csv", make_table(cases=("b", "c")))
    write_comparison(tmp_path / "out", make_table(shift=0.01), read_reference(tmp_path / "scores.csv"))
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "**Not the same cases**: 2 here, 2 there, 1 in both." in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "columns a, b cannot be used"),
        ("modalities,region,method,dice_percent\nflair,ET,X,1\n", "no method 'MetaKD'; expected one of X"),
        ("modalities,region,method,dice_percent\nflair,ET,MetaKD,high\n", "cannot be used"),
        ("modalities,region,method,dice_percent\nt9,ET,MetaKD,50\n", r"t\.csv: modalities: unknown modality 't9'"),
        ("case,subset,region,postprocessing,metric,value\n", "no scores found"),
        ("case,subset,region,postprocessing,metric,value\na,pet,ET,none,Dice,1\n", "pet found"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_reference(tmp_path / "t.csv")


def test_a_table_that_is_not_there():
    with pytest.raises(UserError, match=r"^nowhere\.csv: no such file; expected a table \(CSV\)$"):
        read_reference("nowhere.csv")


def test_a_table_cut_within_its_last_number_is_refused(tmp_path):
    whole = shared("paper", "table1_brats2018.csv").read_bytes()
    for lost in (2, 3, 4):  # its lines end in two
        (tmp_path / "t.csv").write_bytes(whole[:-lost])
        with pytest.raises(UserError, match=r"t\.csv: cut short"):
            read_reference(tmp_path / "t.csv")


def test_the_paper_s_tables_are_read_in_its_order():
    reference = read_reference(shared("paper", "table1_brats2018.csv"))
    means = reference.means[""]
    assert set(means) == {(name, region) for name in SUBSET_NAMES for region in REGION_NAMES}
    assert read_reference(shared("paper", "table1_brats2018.csv"), "ShaSpec").means[""] != means


def test_the_paper_s_tables_are_there_and_their_means_are_those_printed():
    printed = {"table1": (63.74, 79.15, 86.90), "table4": (59.41, 78.01, 86.31), "table5": (62.80, 79.39, 88.08)}
    for name, expected in printed.items():
        means = read_reference(f"paper:{name}").means[""]
        found = [np.mean([means[subset, region] for subset in SUBSET_NAMES]) for region in REGION_NAMES]
        assert found == pytest.approx(expected, abs=0.011)
    with pytest.raises(UserError, match="paper:table7: no table of the paper; expected paper:table1, paper:table2"):
        read_reference("paper:table7")


def test_doubtful_values_of_the_paper_are_named(tmp_path):
    reference = read_reference("paper:table5", "SFusion")
    assert set(reference.doubts) == {(name, r) for name in ("flair+t1ce", "t1+t2") for r in REGION_NAMES}
    assert read_reference("paper:table1").doubts == {}
    write_comparison(tmp_path, make_table(), reference)
    assert "**Doubtful**: ET of flair+t1ce: copied?" in (tmp_path / "comparison.md").read_text()


def test_values_that_the_paper_has_not_are_left_out_of_the_test(tmp_path):
    reference = read_reference("paper:table4", "U-HVED")
    assert math.isnan(reference.means[""][SUBSET_NAMES[-1], "ET"])
    (found,) = compare(make_table(), reference)
    assert found.tests["ET"].pairs == 14
