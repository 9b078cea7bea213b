"""What pip installs works by itself: wheel and sdist in an empty environment, far from this checkout."""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest
from conftest import REPOSITORY
from spoilt import masks

pytestmark = pytest.mark.slow
LARGEST = 12_000_000  # bytes
BRIEF = ["--max_iterations", "2", "--meta_interval", "1", "--val_interval", "2", "--checkpoint_interval", "2"]
SMALL = ["--roi_size", "[16,16,16]", "--network_def#channels", "[4,8,16]", "--num_workers", "0", "--device", "cpu"]


def call(*command, cwd):
    """Run a program without this checkout in its path, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PIP_CONSTRAINT": str(REPOSITORY / "constraints.txt"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """A wheel (made of the sdist) and an sdist."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY, cwd=folder)
    return {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz"))}


@pytest.fixture(scope="module")
def programs(built) -> Iterator[Path]:
    """The programs of a new environment that has the wheel; 3 GB, so it is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        call(sys.executable, "-m", "venv", folder, cwd=folder)
        call(Path(folder, "bin", "pip"), "install", "--quiet", built["wheel"], cwd=folder)
        yield Path(folder, "bin")


@pytest.fixture(scope="module")
def root(programs) -> Path:
    """The installed bundle."""
    root = Path(call(programs / "metakd", "bundle", "--path", cwd=programs).strip())
    assert root.is_relative_to(programs.parent)
    return root


def test_both_are_small_and_their_metadata_is_whole(built):
    assert max(path.stat().st_size for path in built.values()) < LARGEST
    assert (
        call(sys.executable, "-m", "twine", "check", "--strict", *built.values(), cwd=REPOSITORY).count("PASSED") == 2
    )
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = wheel.namelist()
        metadata = Parser().parsestr(
            wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
        )
        notice = wheel.read(next(name for name in names if name.endswith("weights_license.txt"))).decode()
    assert metadata["License-Expression"] == "Apache-2.0 AND CC-BY-SA-4.0 AND BSD-2-Clause AND CC-BY-4.0"
    notices = [name.rsplit("/")[-1] for name in metadata.get_all("License-File")]
    assert notices == ["LICENSE", "weights_license.txt", "niivue.license.txt", "license.txt"]
    assert all(
        work in notice for work in ("CC BY-SA 4.0", "SRI24", "TCGA-DU-7294", "TCGA-FG-6692", "Colin27", "MNI152")
    )
    with tarfile.open(built["sdist"]) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    ours = {name.replace("metakd_monai/bundles/", "bundles/") for name in names if ".dist-info/" not in name}
    assert len(ours) > 100
    assert ours <= inside


def test_a_case_is_segmented_and_scored(programs, cohort, tmp_path):
    call(programs / "metakd", "predict", cohort, "--output", "out", "--device", "cpu", cwd=tmp_path)
    assert len(masks(tmp_path / "out")) == 6
    assert "6 of 6 cases scored" in call(
        programs / "metakd", "evaluate", "out", cohort, "--output", "scores.csv", cwd=tmp_path
    )


def test_monai_trains_with_the_installed_bundle_and_leaves_it_alone(programs, root, cohort, tmp_path):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    train = [programs / "python", "-m", "monai.bundle", "run", "training", "--config_file", root / "configs/train.json"]
    arguments = ["--dataset_dir", cohort, *BRIEF, *SMALL]
    call(*train, *arguments, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metakd_models"]
    assert len((tmp_path / "metakd_models" / "training.csv").read_text().splitlines()) == 1 + 2
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_copy_of_the_bundle_trains_into_itself(programs, cohort, tmp_path):
    call(programs / "metakd", "bundle", "copy", cwd=tmp_path)
    train = [programs / "python", "-m", "monai.bundle", "run", "training", "--config_file", "configs/train.json"]
    call(*train, "--dataset_dir", cohort, *BRIEF, *SMALL, cwd=tmp_path / "copy")
    assert (tmp_path / "copy" / "models" / "checkpoint.pt").is_file()


def test_the_sdist_installs_the_same(programs, root, built, tmp_path):
    def installed():
        files = {path for path in root.parents[1].rglob("*") if path.suffix != ".pyc" and path.is_file()}
        return {path: path.read_bytes() for path in files}

    before = installed()
    call(programs / "pip", "install", "--quiet", "--no-deps", "--force-reinstall", built["sdist"], cwd=tmp_path)
    assert installed() == before
    assert (root / "models" / "model.pt") in before
