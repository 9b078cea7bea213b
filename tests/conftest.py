"""Small seeded things that the tests share."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from spoilt import masks

from metakd_monai.apps.cohort import predict_cases
from metakd_monai.apps.predict.outputs import Outputs
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.simulation.toy import simulate_cohort
from metakd_monai.data.cases import find_cases
from metakd_monai.networks import MetaKDUNet

REPOSITORY = Path(__file__).resolve().parents[1]
BUNDLE = REPOSITORY / "bundles" / "brats_mri_metakd_segmentation"
SHARED = REPOSITORY.parent / "shared"
CHANNELS = (4, 8, 16)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """One seed for each test; threads and search path, in which MONAI leaves bundles that it ran, as they were."""
    threads, path = torch.get_num_threads(), list(sys.path)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    sys.path[:] = path


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six simulated cases of 24x28x24 voxels of 6 mm."""
    folder = tmp_path_factory.mktemp("cohort")
    simulate_cohort(folder, cases=6, seed=3, shape=(24, 28, 24), spacing=6.0, progress=False)
    return folder


@pytest.fixture
def network() -> MetaKDUNet:
    return MetaKDUNet(channels=CHANNELS)


@pytest.fixture
def weights(tmp_path: Path, network: MetaKDUNet) -> Path:
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def serial(tmp_path: Path, cohort: Path, weights: Path) -> dict[str, bytes]:
    """The masks that one process makes of the cohort, one case after the other, with as many threads as workers have.

    bf16, which is taken where the CPU has it, shows another number of threads in a voxel here and there.
    """
    torch.set_num_threads(1)
    folder = tmp_path / "serial"
    assert predict_cases(partial(Predictor, weights), find_cases(cohort), Outputs(folder, preview=False)) == []
    return masks(folder)


def shared(*parts: str) -> Path:
    """Return a path in the shared real data, or skip the test and say so."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data not here: {'/'.join(parts)}")
    return path
