"""The case that comes with the package, metakd demo and metakd doctor."""

import os
import re
import shlex
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from conftest import REPOSITORY
from report_cases import make_result
from test_predict import run

from metakd_monai import __version__
from metakd_monai.apps.report.demo_case import FOLDER, SHAPE, fold, unfold, write_demo_case
from metakd_monai.data.nifti import read_sequences
from metakd_monai.vocabulary import Modality

SCRIPT = REPOSITORY / "scripts" / "demo.sh"


def test_the_demo_case_is_small_whole_and_carries_its_licence(tmp_path):
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_100_000
    assert "CC BY 4.0" in (FOLDER / "license.txt").read_text()
    files, reference = write_demo_case(tmp_path)
    assert (tmp_path / "license.txt").read_text() == (FOLDER / "license.txt").read_text()
    read = read_sequences(files)
    assert list(read.channels) == list(Modality)
    assert read.shape == reference.shape == SHAPE
    assert set(np.unique(reference)) == {0, 1, 2, 4}
    brain = read.channels[Modality.T1] > 0
    assert 0.4 < brain.mean() < 0.6
    assert not reference[~brain].any()
    assert all(np.array_equal(image > 0, brain) for image in read.channels.values())


def test_slices_are_folded_and_unfolded():
    volume = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    assert np.array_equal(unfold(fold(volume)), volume)


@pytest.mark.slow
def test_the_demo_segments_three_times_and_reports(tmp_path):
    result = run("demo", "--output", tmp_path / "out", "--no-open")
    assert result.exit_code == 0, result.output
    dice = {
        name: [float(value) for value in values]
        for name, *values in re.findall(r"(\w+): Dice ET (\S+), TC (\S+), WT (\S+)", result.output)
    }
    assert list(dice) == ["all_four_sequences", "without_T1ce", "FLAIR_alone"]
    assert all(values[2] > 0.9 for values in dice.values())
    assert dice["all_four_sequences"][0] > 0.7 > dice["without_T1ce"][0]
    assert (tmp_path / "out" / "index.html").is_file()


@pytest.mark.parametrize("argument", ["--quick", "no_such_case"])
def test_the_demo_script_refuses_what_it_cannot_use_before_it_sets_up_anything(argument, tmp_path):
    done = subprocess.run([SCRIPT, argument], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"demo: .*{argument}.*\n", done.stderr)


@pytest.mark.slow
def test_the_demo_script_segments_trains_and_segments_again(tmp_path):
    """As it stands, but for the set-up and the length of the training; the tools are those of this checkout."""
    python = shlex.quote(sys.executable)
    text = SCRIPT.read_text(encoding="utf-8")
    assert "--max_iterations 200 " in text
    programs = {
        "scripts/demo.sh": text.replace("--max_iterations 200 ", "--max_iterations 2 "),
        "scripts/setup.sh": "#!/bin/sh\n",
        ".venv/bin/metakd": f'#!/bin/sh\nexec {python} -m metakd_monai "$@"\n',
        ".venv/bin/python": f'#!/bin/sh\nexec {python} "$@"\n',
    }
    for name, content in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    demo = tmp_path / "demo"
    command = [tmp_path / "scripts" / "demo.sh", demo / "report" / "case"]
    (demo / "report" / "case").mkdir(parents=True)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for page in ("report", "your_case", "training", "retrained"):
        assert (demo / page / "index.html").is_file()
        assert f"demo/{page}/index.html" in done.stdout
    assert len((demo / "training" / "training.csv").read_text().splitlines()) == 3
    assert (demo / "training" / "model.pt").is_file()


def test_doctor_says_what_an_issue_needs():
    result = run("doctor")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.output.splitlines())
    assert lines["metakd-monai"].startswith(f"{__version__}, code ")
    assert lines["torch"][0].isdigit()
    assert re.search(r"SHA-256 [0-9a-f]{64}", lines["weights"])
    assert lines["bf16"].startswith("cpu: ")
    assert "/" not in lines["weights"]  # no paths


def test_view_serves_the_page_until_it_is_told_to_end(tmp_path, cohort):
    make_result(cohort / "Simulated_000", tmp_path / "out", "A")
    command = [sys.executable, "-m", "metakd_monai", "view", str(tmp_path / "out" / "A"), "--serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = next(line for line in process.stdout if "http://" in line).split()[0]
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert b"<title>A: brain-tumour segmentation</title>" in answer.read()
        process.terminate()  # not Ctrl-C, which a shell's background jobs ignore
        assert process.wait(30) == 143, process.stderr.read()
