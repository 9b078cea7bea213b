"""What earlier runs left: records that are damaged or odd, folders in the way, temporaries of processes that ended."""

import json
import shutil
import subprocess
import sys

import pytest
from spoilt import everything
from test_predict import predict, run

from metakd_monai.apps.predict.preview import printable
from metakd_monai.apps.submission.upload import read_manifest_files
from metakd_monai.data.files import read_record, write_safely
from metakd_monai.data.temporaries import remove_temporaries
from metakd_monai.errors import UserError

ODD = {
    "null": "null",
    "NaN": "NaN",
    "list": "[1, 2]",
    "string": '"settings"',
    "deep": "[" * 100_000,
    "settings null": '{"settings": null}',
    "settings list": '{"settings": [1]}',
    "settings string": '{"settings": "a"}',
    "settings NaN": '{"settings": NaN}',
    "cut": '{"settings": {"ver',
    "binary": b"\xff\xfe\x00",
    "empty": "",
}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_an_odd_record_is_none(tmp_path, content):
    write(tmp_path / "c.json", content)
    assert read_record(tmp_path / "c.json") == {}
    assert read_record(tmp_path / "nothing.json") == read_record(tmp_path) == {}


@pytest.mark.parametrize("kind", ["settings list", "deep"])
def test_an_odd_report_beside_a_mask_is_of_unknown_settings(tmp_path, cohort, weights, kind, caplog):
    case, output = cohort / "Simulated_000", tmp_path / "out"
    shutil.copytree(cohort / "Simulated_000", output)
    write(output / "Simulated_000.nii.gz", b"somebody's")
    write(output / "Simulated_000.json", ODD[kind])
    assert predict(case, output, weights, "--no-preview").exit_code == 1
    assert "made with other settings (weights_sha256, " in caplog.text
    assert (output / "Simulated_000.nii.gz").read_bytes() == b"somebody's"
    assert predict(case, output, weights, "--no-preview", "--overwrite").exit_code == 0


@pytest.mark.parametrize("end", [".nii.gz", ".json", ".png", "_uncertainty.nii.gz"])
def test_a_folder_where_a_file_of_a_case_goes_is_told_before_it_is_computed(tmp_path, cohort, weights, end, caplog):
    (tmp_path / "out" / f"Simulated_000{end}").mkdir(parents=True)
    assert predict(cohort / "Simulated_000", tmp_path / "out", weights).exit_code == 1
    assert f"Simulated_000{end}: is a folder; expected a file to replace, or nothing" in caplog.text
    assert everything(tmp_path / "out") == {f"Simulated_000{end}"}


def test_odd_hidden_files_and_folders_do_no_harm(tmp_path, cohort, weights, caplog):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    output = tmp_path / "out"
    odd = [f".{'9' * 21}.Simulated_000.json", ".0.Simulated_000.json", ".01.Simulated_000.png"]
    for name in odd:
        write(output / name, "")
    (output / f".{ended.pid}.Simulated_000.nii.gz").mkdir()
    write(output / f".{ended.pid}.Simulated_000.png", "")
    assert predict(cohort / "Simulated_000", output, weights, "--no-preview").exit_code == 0
    assert everything(output) == {
        *odd,
        f".{ended.pid}.Simulated_000.nii.gz",
        "Simulated_000.nii.gz",
        "Simulated_000.json",
    }
    (output / ".Simulated_000.nii.gz.unfinished").mkdir()
    assert predict(cohort / "Simulated_000", output, weights, "--overwrite").exit_code == 1
    assert ".Simulated_000.nii.gz.unfinished: cannot be written (a folder has this name)" in caplog.text


def test_what_a_killed_process_left_of_a_file_goes_when_it_is_written_again(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in ("a.csv", "b.csv"):
        write(tmp_path / f".{ended.pid}.{name}", "half")
    (tmp_path / f".{ended.pid}.upload.before").mkdir()
    write_safely(tmp_path / "a.csv", lambda path: path.touch())
    assert everything(tmp_path) == {"a.csv", f".{ended.pid}.b.csv", f".{ended.pid}.upload.before"}
    remove_temporaries(tmp_path, ["upload"], folders=True)
    assert everything(tmp_path) == {"a.csv", f".{ended.pid}.b.csv"}


@pytest.mark.parametrize("change", [*ODD, "a score"])
def test_a_damaged_record_of_a_benchmark_is_made_anew(benchmarked, change):
    path, arguments = benchmarked
    whole = json.loads(path.read_text())
    whole["scores"]["flair"]["none"]["Dice_ET"] = 1e9
    write(path, json.dumps(whole) if change == "a score" else ODD[change])
    result = run(*arguments)
    assert (result.exit_code, "1 of 1 cases done; results" in result.output) == (0, True), result.output
    assert json.loads(path.read_text())["scores"]["flair"]["none"]["Dice_ET"] <= 1
    assert "1 of 1 cases done (1 of them before)" in run(*arguments).output


@pytest.fixture
def benchmarked(tmp_path, cohort, weights):
    """The record of a case of a benchmark, and the command that made it."""
    arguments = (
        "benchmark",
        "--cases",
        cohort / "Simulated_000",
        "-o",
        tmp_path,
        "--weights",
        weights,
        "--device",
        "cpu",
    )
    assert run(*arguments).exit_code == 0
    return tmp_path / "cases" / "Simulated_000.json", arguments


@pytest.mark.parametrize("name", ["heatmap.png", "scores.csv", "manifest.json", "cases"])
def test_a_folder_or_file_in_the_way_of_a_benchmark(tmp_path, cohort, weights, name):
    if name == "cases":
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
    result = run(
        "benchmark", "--cases", cohort / "Simulated_000", "-o", tmp_path, "--weights", weights, "--device", "cpu"
    )
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert f"{name}" in result.output


@pytest.mark.parametrize("content", [*ODD.values(), '{"files": ["a"]}'])
def test_an_odd_manifest_lists_no_files(tmp_path, content):
    write(tmp_path / "upload_manifest.json", content)
    assert read_manifest_files(tmp_path / "upload") == set()


def test_names_that_no_file_can_have_are_refused(tmp_path):
    for name in ("a\0b", "\ud800", "n" * 300):
        with pytest.raises(UserError, match="cannot be written"):
            write_safely(tmp_path / name, lambda path: path.touch())


def test_case_names_are_drawn_as_they_are(tmp_path, cohort, weights):
    for name in ("$x_{1$", "$^", "a_b^c$"):
        shutil.copytree(cohort / "Simulated_000", tmp_path / "in" / name)
        for path in (tmp_path / "in" / name).iterdir():
            path.rename(path.with_name(path.name.replace("Simulated_000_", "")))
    assert predict(tmp_path / "in", tmp_path / "out", weights).exit_code == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    assert printable("a\udce9\tb\nc") == "a\ufffd\ufffdb\nc"
