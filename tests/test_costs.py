"""What prediction costs, in numbers that do not depend on the machine; seconds are for scripts/benchmark."""

import itertools
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from test_files import BRATS_AFFINE
from torch.profiler import ProfilerActivity, profile

from metakd_monai.apps.predict.predictor import Compute, Predictor
from metakd_monai.data.cases import Case
from metakd_monai.data.nifti import gzip_stream
from metakd_monai.networks.operations import count_operations
from metakd_monai.transforms import LoadImageModalitiesd
from metakd_monai.vocabulary import Modality
from metakd_monai.weights.load import load_network
from metakd_monai.weights.locate import find_weights

SHAPE = (64, 72, 56)
PEAK_FOR_A_VOXEL = 480  # bytes, with four sequences
# Packages that prediction can do without, each a tenth of a second or more.
NEEDLESS = {"ignite", "itk", "jsonschema", "matplotlib", "pandas", "pydicom", "ray", "requests", "tensorboard"}
MODULES = """
import sys
from click.testing import CliRunner
from metakd_monai.cli import main
result = CliRunner().invoke(main, ["predict", *sys.argv[1:]], obj="own process")
print(result.exit_code, *sys.modules)
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A case of noise in half of its volume, which gzip can hardly pack."""
    folder, random = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    files = {}
    for modality in Modality:
        voxels = np.zeros(SHAPE, np.int16)
        voxels[:, :36] = random.integers(1, 30000, (64, 36, 56))
        files[modality] = folder / f"noise_{modality.value}.nii.gz"
        nib.save(nib.Nifti1Image(voxels, BRATS_AFFINE), files[modality])
    return Case("noise", files)


def test_modules_that_predict_imports(case, tmp_path):
    given = [sys.executable, "-c", MODULES, str(case.files[Modality.T1].parent), "-o", str(tmp_path / "out")]
    status, *modules = subprocess.run(given, capture_output=True, text=True, check=True).stdout.split()
    assert status == "0"
    tops = Counter(name.partition(".")[0] for name in modules)
    assert not NEEDLESS & set(tops)
    assert tops["metakd_monai"] <= 135
    assert tops["scipy"] <= 160


def test_operations_of_the_shipped_network():
    """TFLOP of 128x128x128 voxels; the same for each sequence more."""
    network = load_network(find_weights(None), optimize="none")
    found = [count_operations(network, number) for number in (1, 2, 3, 4)]
    assert found[0] == pytest.approx(0.01295, rel=0.001)
    assert np.diff(found) == pytest.approx([0.00382] * 3, rel=0.001)


@pytest.mark.parametrize("names", [["t1"], ["flair", "t1ce"], ["flair", "t1", "t1ce", "t2"]])
def test_each_sequence_is_encoded_once(case, names, monkeypatch):
    predictor = Predictor(find_weights(None), modalities=[Modality(name) for name in names])
    calls, encode = [], predictor.network.encode_rows
    monkeypatch.setattr(predictor.network, "encode_rows", lambda *a: calls.append(len(a[0])) or encode(*a))
    predictor.segment(predictor.read(case))
    assert calls == [1] * len(names)


def test_each_file_is_read_once_and_its_header_beforehand(case, monkeypatch):
    predictor, read = Predictor(find_weights(None)), Counter()

    class Counting:
        def __init__(self, path: Path) -> None:
            self.path, self.file = path, path.open("rb")

        def __enter__(self) -> "Counting":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def read(self, size: int) -> bytes:
            content = self.file.read(size)
            read[self.path] += len(content)
            return content

    monkeypatch.setattr(gzip_stream, "open_file", Counting)
    predictor.read(case)
    for path in case.files.values():
        assert read[path] <= path.stat().st_size + gzip_stream.CHUNK


def test_peak_of_what_reading_allocates(case, tmp_path):
    """Of each sequence the image in float32 once, 4 bytes a voxel, and up to 3 for the stored int16 or for masks."""
    load = LoadImageModalitiesd()
    load(case.as_item())  # imports what it needs
    image = nib.load(case.files[Modality.T1])
    voxels = np.tile(np.asarray(image.dataobj), (2, 2, 2))
    nib.save(nib.Nifti1Image(voxels, image.affine), tmp_path / "large.nii.gz")
    tracemalloc.start()
    load({"image": dict.fromkeys(case.files, tmp_path / "large.nii.gz")})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 4 * 4 * voxels.size < peak < 4 * (4 + 3) * voxels.size + 4 * gzip_stream.MOST < 4 * (4 + 4) * voxels.size


def test_peak_of_what_the_network_allocates(case):
    """Bytes beyond the image, whatever the machine; one window in fp32."""
    predictor = Predictor(find_weights(None), compute=Compute(precision="fp32"))
    item = predictor.read(case)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        predictor.segment(item)
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    peak = max(itertools.accumulate(changes))
    assert 20 * item["image"][0].numel() < peak < PEAK_FOR_A_VOXEL * item["image"][0].numel()
