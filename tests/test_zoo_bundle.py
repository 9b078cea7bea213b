"""What the Model Zoo asks of a bundle, and the bundle that brings its package along."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import BUNDLE, REPOSITORY

SCRIPTS = REPOSITORY / "scripts" / "deploy"
FOREIGN = re.compile(r"(?<!scripts\.)\bmetakd_monai\b")


def call(script, *arguments, **kwargs):
    command = [sys.executable, "-W", "ignore", str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


@pytest.fixture(scope="module")
def zoo_bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    done = call("build_zoo_bundle.py", folder / "bundle.zip")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.zip"]
    zipfile.ZipFile(folder / "bundle.zip").extractall(folder)
    return folder / BUNDLE.name


def test_the_zip_refers_to_its_own_package_alone(zoo_bundle):
    files = [*zoo_bundle.rglob("*.py"), *zoo_bundle.rglob("*.json")]
    assert [path for path in files if FOREIGN.search(path.read_text())] == []
    mine = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "metakd_monai").rglob("*.py")}
    assert {path.relative_to(zoo_bundle / "scripts") for path in zoo_bundle.rglob("*/metakd_monai/**/*.py")} == mine


def test_the_zip_requires_what_a_registry_has(zoo_bundle):
    metadata = json.loads((zoo_bundle / "configs" / "metadata.json").read_text())
    required = metadata["required_packages_version"]
    assert {"nibabel", "pytorch-ignite", "tqdm"} <= required.keys()
    assert not {"metakd-monai", "monai", "numpy", "torch"} & required.keys()


def test_every_target_is_found_in_the_bundle_s_own_folder(zoo_bundle):
    targets = sorted(
        {
            t
            for path in (zoo_bundle / "configs").glob("*.json")
            for t in re.findall(r'"(scripts\.[\w.]+)"', path.read_text())
        }
    )
    assert len(targets) > 20
    program = (
        "import sys; sys.modules['metakd_monai'] = None\n"
        "from monai.utils.module import instantiate; from pydoc import locate\n"
        f"assert all(locate(name) is not None for name in {targets})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=zoo_bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_build_refuses(tmp_path):
    assert "expected a name that ends with .zip" in call("build_zoo_bundle.py", tmp_path / "bundle.tar").stderr


@pytest.mark.slow
def test_all_checks_pass_on_both_bundles(zoo_bundle, cohort):
    for bundle in (BUNDLE, zoo_bundle):
        done = call("verify_bundle.py", bundle, "--dataset-dir", cohort)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\nok ") + done.stdout.startswith("ok ") == 6


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda bundle: (bundle / "LICENSE").unlink(), "LICENSE is missing"),
        (lambda bundle: change(bundle, version="9.9.9"), "version 9.9.9 is not in the changelog"),
    ],
)
def test_checks_find_what_is_wrong(tmp_path, spoil, message):
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("models", "eval")))
    spoil(bundle)
    done = call("verify_bundle.py", bundle, "--dataset-dir", tmp_path)
    assert done.returncode == 1
    assert message in done.stderr


def change(bundle: Path, **values) -> None:
    path = bundle / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
