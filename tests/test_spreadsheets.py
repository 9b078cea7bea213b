"""CSV files: no cell runs in a spreadsheet program, and all that is written is read back."""

import csv
import math

import pytest
from click.testing import CliRunner
from test_files import save

from metakd_monai.cli import main
from metakd_monai.data.spreadsheets import read_csv, write_csv


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("'=1", "''=1"),
        ("'", "'"),
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000-000"),
        ("-1.5", "'-1.5"),
        ("+7", "'+7"),
        ("-inf", "'-inf"),
        ('a,b\n"c"', 'a,b\n"c"'),
    ],
)
def test_a_cell_that_would_be_a_formula_is_quoted_and_read_back(tmp_path, cell, written):
    write_csv(tmp_path / "a.csv", [["name", "value"], [cell, 1]])
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file))[1] == [written, "1"]
    assert read_csv(tmp_path / "a.csv") == (("name", "value"), [{"name": cell, "value": "1"}])


def test_numbers_have_ten_digits_nan_is_blank_and_names_that_are_no_text_are_spelled(tmp_path):
    write_csv(tmp_path / "a.csv", [[1 / 3, -2.0, -3, math.nan, "caf\udce9", "\r=1"]])
    assert (tmp_path / "a.csv").read_bytes() == b"0.3333333333,-2,-3,,caf\\udce9,\\r=1\n"


def test_what_is_no_table_is_a_value_error(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n"' + "x" * 200_000 + '",1\n')
    with pytest.raises(ValueError, match="field larger than field limit"):
        read_csv(tmp_path / "a.csv")


def test_odd_case_names_in_the_table_of_an_evaluation(tmp_path, caplog):
    for name in ("=1+1", "Mean", "b"):
        for folder in ("masks", "references"):
            save(tmp_path / folder / f"{name}.nii.gz", (8, 8, 8), value=0)
    arguments = ["evaluate", str(tmp_path / "masks"), str(tmp_path / "references"), "-o", str(tmp_path / "s.csv")]
    result = CliRunner().invoke(main, [*arguments, "--jobs", "1"])
    assert result.exit_code == 0, result.output
    with (tmp_path / "s.csv").open(newline="") as file:
        names = [row["Label"] for row in csv.DictReader(file)]
    assert names == ["'=1+1", "Mean (case)", "b", "Mean", "StdDev", "Median", "25quantile", "75quantile"]
    assert "Mean: a case is named as a row of the summary; its own row is called 'Mean (case)'" in caplog.text
