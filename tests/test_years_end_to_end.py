"""Each year's download, through the documented commands: datalist, two epochs, 15 subsets, submission."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from layouts import make_layout
from test_bundle_run import CONFIGS, SMALL, bundle, rows

from metakd_monai.cli import main
from metakd_monai.cli.submission import SUBMITTED
from metakd_monai.data.years import YEARS


def metakd(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("year", YEARS)
def test_from_a_download_to_a_table_and_an_upload(year: str, tmp_path: Path):
    download, datalist, output = tmp_path / "download", tmp_path / "datalist.json", tmp_path / "run"
    make_layout(download, year, cases=10)
    metakd("datalist", download, "--output", datalist, "--year", year, "--folds", 2)
    cases = sum(item["fold"] != 0 for item in json.loads(datalist.read_text())["training"])
    epochs = ["--max_iterations", 2 * cases, "--meta_interval", cases, "--val_interval", 2 * cases, "--batch_size", 1]
    bundle(str(CONFIGS / "train.json"), "--datalist", datalist, "--output_dir", output, *SMALL, *epochs)
    assert len(rows(output / "training.csv")) == 2 * cases

    weights = ["--weights", output / "model.pt", "--device", "cpu"]
    printed = metakd("benchmark", "--datalist", datalist, *weights, "--output", tmp_path / "table")
    assert "**mean of 15**" in printed
    assert "2 of 2 cases done" in printed
    settings = json.loads((tmp_path / "table" / "manifest.json").read_text())["settings"]
    assert settings["convention"] == ("brats2023" if year in ("2023", "2024") else "brats2020")

    if year in SUBMITTED:
        make_layout(tmp_path / "validation", year, cases=2, labelled=False)
        metakd("predict", tmp_path / "validation", *weights, "--output", tmp_path / "masks", "--no-preview")
        arguments = ["--inputs", tmp_path / "validation", "--year", year, "--output", tmp_path / "upload.zip"]
        assert "2 label maps for 2 cases" in metakd("submission", tmp_path / "masks", *arguments)
