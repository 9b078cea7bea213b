"""What comes with the package: its bundles, found and copied from anywhere, and what a build of it takes."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import BUNDLE, REPOSITORY
from monai.bundle import ConfigParser

from metakd_monai.cli import main
from metakd_monai.shipped import SEGMENTATION_BUNDLE, shipped_bundle, shipped_bundles

BUNDLES = ["adni_metakd_classification", "avmnist_metakd_classification", SEGMENTATION_BUNDLE]


def run(*arguments):
    return CliRunner().invoke(main, ["bundle", *map(str, arguments)])


def tracked(folder):
    """Name the files of a folder that are in git."""
    if not (REPOSITORY / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git checkout: which files are the project's is not known")
    done = subprocess.run(["git", "ls-files", folder], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return sorted(str(Path(name).relative_to(folder)) for name in done.stdout.splitlines())


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def source(tmp_path):
    """A copy of what a build reads, with things in it that are nobody else's business."""
    folder = tmp_path / "source"
    private = shutil.ignore_patterns("__pycache__", "data", "eval")
    for name in ("bundles", "metakd_monai"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=private)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    for name in (
        f"bundles/{SEGMENTATION_BUNDLE}/models/checkpoint.pt",
        f"bundles/{SEGMENTATION_BUNDLE}/configs/our_hospital.json",
        f"bundles/{SEGMENTATION_BUNDLE}/data/patient/flair.nii.gz",
        f"bundles/{BUNDLES[0]}/models/model.pt",
        "bundles/mine/configs/metadata.json",
        "build/lib/metakd_monai/of_an_older_layout.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def build(source):
    command = [sys.executable, "setup.py", "--quiet", "build"]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)


def test_a_build_takes_the_bundles_that_are_in_git_and_nothing_else(source):
    done = build(source)
    assert done.returncode == 0, done.stderr
    package = source / "build" / "lib" / "metakd_monai"
    assert files_in(package / "bundles") == tracked("bundles")
    assert (package / "py.typed").is_file()
    assert (package / "networks" / "__init__.py").is_file()
    assert not (package / "of_an_older_layout.py").exists()


def test_a_build_refuses_weights_that_a_training_wrote_over_and_bundles_with_a_file_missing(source):
    weights = source / "bundles" / SEGMENTATION_BUNDLE / "models" / "model.pt"
    weights.write_bytes(b"somebody's")
    found = hashlib.sha256(b"somebody's").hexdigest()
    done = build(source)
    assert done.returncode != 0
    assert f"model.pt: SHA-256 {found} found; expected " in done.stderr
    (source / "bundles" / BUNDLES[1] / "LICENSE").unlink()
    assert f"bundles: ['{BUNDLES[1]}/LICENSE'] not found" in build(source).stderr


def test_the_bundles_are_found_from_any_folder_by_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert list(shipped_bundles()) == BUNDLES
    assert shipped_bundle() == BUNDLE
    assert run("--path").output == f"{BUNDLE}\n"
    assert run("--path", "--name", BUNDLES[0]).output == f"{BUNDLE.parent / BUNDLES[0]}\n"
    result = run("--path", "--name", "spleen_ct")
    assert (result.exit_code, result.output) == (
        2,
        f"metakd: bundle: 'spleen_ct' found; expected one of {', '.join(BUNDLES)}\n",
    )


@pytest.mark.parametrize("name", BUNDLES)
def test_a_copy_has_the_bundles_files_and_no_others(tmp_path, name):
    assert run(tmp_path / "a" / "copy", "--name", name).exit_code == 0
    assert files_in(tmp_path) == [f"a/copy/{file}" for file in tracked(f"bundles/{name}")]
    for file in files_in(tmp_path / "a" / "copy"):
        assert (tmp_path / "a" / "copy" / file).read_bytes() == (BUNDLE.parent / name / file).read_bytes()


def test_a_copy_replaces_only_when_told_and_only_what_is_a_bundles(tmp_path):
    copy = tmp_path / "copy"
    assert run(copy).exit_code == 0
    (copy / "LICENSE").write_text("another")
    result = run(copy)
    assert (result.exit_code, "exists already; expected a new folder, or --overwrite" in result.output) == (2, True)
    assert run(copy, "--overwrite").exit_code == 0
    assert (copy / "LICENSE").read_bytes() == (BUNDLE / "LICENSE").read_bytes()
    (copy / "models" / "checkpoint.pt").touch()
    result = run(copy, "--overwrite")
    assert (result.exit_code, f"holds {Path('models/checkpoint.pt')}" in result.output) == (2, True)
    assert (copy / "models" / "checkpoint.pt").exists()
    result = run(copy / "LICENSE", "--overwrite")
    assert (result.exit_code, "is a file; expected a folder" in result.output) == (2, True)


@pytest.mark.parametrize("existing", [False, True])
def test_a_copy_is_whole_or_not_there(tmp_path, monkeypatch, existing):
    copy = tmp_path / "copy"
    if existing:
        assert run(copy).exit_code == 0
        (copy / "LICENSE").write_text("another")
    written = []

    def fill_the_disk(source, target):
        if written:
            raise OSError(28, "No space left on device")
        written.append(target.write_bytes(source.read_bytes()))

    monkeypatch.setattr("metakd_monai.shipped.shutil.copyfile", fill_the_disk)
    result = run(copy, "--overwrite")
    assert (result.exit_code, result.output) == (
        2,
        f"metakd: {copy}: cannot be written (No space left on device); expected a writable place\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == (["copy"] if existing else [])
    assert not existing or (copy / "LICENSE").read_text() == "another"


@pytest.mark.parametrize("arguments", [[], ["somewhere", "--path"]])
def test_either_a_folder_or_path(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.exit_code, result.output) == (2, "metakd: bundle: expected either a folder to write, or --path\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize(("config", "folder"), [("train.json", "models"), ("inference.json", "eval")])
def test_runs_write_into_a_copy_and_never_into_the_package(tmp_path, monkeypatch, name, config, folder):
    parser = ConfigParser()
    parser.read_config(BUNDLE.parent / name / "configs" / config)
    parser["bundle_root"] = str(tmp_path)
    assert parser.get_parsed_content("output_dir") == str(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    parser.read_config(BUNDLE.parent / name / "configs" / config)
    parser["bundle_root"] = str(BUNDLE.parent / name)
    assert parser.get_parsed_content("output_dir") == str(tmp_path / f"metakd_{folder}")
