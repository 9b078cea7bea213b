"""The Deploy app as a MONAI Application Package lays it out, started there by its environment alone, without Docker."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

from metakd_monai import __version__
from metakd_monai.data.cases import find_cases

APP = REPOSITORY / "examples" / "deploy_app"


@pytest.fixture
def package(tmp_path, weights):
    """A container's folders: opt/holoscan/app, opt/holoscan/models/<bundle>, var/holoscan/input and output."""
    shutil.copytree(APP, tmp_path / "opt" / "holoscan" / "app", ignore=shutil.ignore_patterns("__pycache__"))
    bundle = tmp_path / "opt" / "holoscan" / "models" / "a_bundle" / "models"
    bundle.mkdir(parents=True)
    shutil.copy(weights, bundle)
    for name in ("input", "output"):
        (tmp_path / "var" / "holoscan" / name).mkdir(parents=True)
    return tmp_path


def start(package: Path, **settings) -> subprocess.CompletedProcess:
    """Start the application as its container does, with settings of its own."""
    content = yaml.safe_load((APP / "app.yaml").read_text())
    content["metakd"] |= settings
    work = package / "var" / "holoscan"
    (work / "app.yaml").write_text(yaml.safe_dump(content))
    places = {
        "HOLOSCAN_INPUT_PATH": work / "input",
        "HOLOSCAN_OUTPUT_PATH": work / "output",
        "HOLOSCAN_MODEL_PATH": package / "opt" / "holoscan" / "models",
        "HOLOSCAN_CONFIG_PATH": work / "app.yaml",
    }
    (package / "sitecustomize.py").write_text("import deploy_stub\n\ndeploy_stub.install()\n")
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (package, REPOSITORY / "tests", REPOSITORY)))
    command = [sys.executable, str(package / "opt" / "holoscan" / "app")]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)


def test_it_segments_what_lies_in_its_input_folder(package, cohort):
    case = find_cases(cohort)[0]
    output = package / "var" / "holoscan" / "output"
    for path in case.files.values():
        shutil.copy(path, package / "var" / "holoscan" / "input")
    done = start(package)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in output.iterdir()} == {f"{case.case_id}{end}" for end in (".nii.gz", ".json", ".png")}
    report = json.loads((output / f"{case.case_id}.json").read_text())
    assert report["modalities"]["missing"] == []
    assert set(report["volumes_ml"]) == {"ET", "TC", "WT"}


def test_what_is_wrong_is_told_in_one_line(package):
    done = start(package)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"deploy_app: .*input: no modality found; expected files such as .*\n", done.stderr)
    assert not list((package / "var" / "holoscan" / "output").iterdir())


def test_one_bad_examination_is_counted_and_does_not_stop_the_others(package, cohort):
    folder = package / "var" / "holoscan" / "input"
    for case in find_cases(cohort)[:2]:
        shutil.copytree(next(iter(case.files.values())).parent, folder / case.case_id)
    (package / "var" / "holoscan" / "output" / "Simulated_000.nii.gz").mkdir()  # no mask can be written there
    done = start(package)
    assert done.returncode == 1, done.stderr
    assert (package / "var" / "holoscan" / "output" / "Simulated_001.nii.gz").is_file()


def test_its_description_and_requirements_are_those_of_the_package():
    content = yaml.safe_load((APP / "app.yaml").read_text())
    assert content["application"]["version"] == __version__
    assert content["metakd"]["pseudonyms"] is True
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    extras = config["options.extras_require"]
    needed = "\n".join([config["options"]["install_requires"], extras["raw"], extras["dicom"]])
    own = {re.split(r"[<>=]", line)[0] for line in (APP / "requirements.txt").read_text().splitlines()}
    assert {re.split(r"[<>=]", line)[0] for line in needed.split() if line[:1].isalpha() and "=" in line} - own == set()
