"""What must hold of the segmentation bundle in every form that is passed on: folder, copy, wheel, zip, export."""

import json
import zipfile

import pytest
import torch
from conftest import BUNDLE, CHANNELS
from monai.data import load_net_with_metadata
from test_shipped import build, source  # noqa: F401  # a fixture
from test_zoo_bundle import call

from metakd_monai.bundle.root import copy_bundle
from metakd_monai.data.files import checksum
from metakd_monai.networks import MetaKDUNet
from metakd_monai.transforms import regions_to_labels
from metakd_monai.weights.exports.write_export import export_network

NAMES = {"background": 0, "necrosis": 1, "oedema": 2, "enhancing tumour": 3}
WORKS = ("BraTS2021_00002", "Brats18_TCIA01_201", "SRI24", "TCGA-DU-7294", "TCGA-FG-6692", "MNI152", "Colin27")
LARGEST = 25 * 2**20  # bytes of a file that the Model Zoo takes as it is


@pytest.fixture(params=["checkout", "copy", "wheel", "zip"])
def bundle(request, tmp_path):
    if request.param == "checkout":
        return BUNDLE
    if request.param == "copy":
        copy_bundle(tmp_path / "copy")
        return tmp_path / "copy"
    if request.param == "zip":
        done = call("build_zoo_bundle.py", tmp_path / "bundle.zip")
        assert done.returncode == 0, done.stderr
        zipfile.ZipFile(tmp_path / "bundle.zip").extractall(tmp_path)
        return tmp_path / BUNDLE.name
    done = build(request.getfixturevalue("source"))
    assert done.returncode == 0, done.stderr
    return tmp_path / "source/build/lib/metakd_monai/bundles" / BUNDLE.name


def test_licences_and_expectations_travel_with_the_weights(bundle):
    text = {
        path: (bundle / path).read_text() for path in ("LICENSE", "docs/weights_license.txt", "docs/data_license.txt")
    }
    assert "Apache License" in text["LICENSE"]
    assert "models/model.pt" in text["LICENSE"]
    assert all("CC BY-SA 4.0" in text[path] for path in ("LICENSE", "docs/weights_license.txt"))
    assert all(work in text["docs/weights_license.txt"] for work in WORKS)
    assert "docs/weights_license.txt" in text["docs/data_license.txt"]
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    assert all(licence in metadata["copyright"] for licence in ("Apache-2.0", "CC BY-SA 4.0"))
    assert "BraTS-2021" in metadata["data_source"]
    expected = json.loads((bundle / "models/expected.json").read_text())
    assert expected["weights_sha256"] == checksum(bundle / "models/model.pt")


def test_no_file_is_larger_than_the_zoo_takes(bundle):
    names = [path for path in bundle.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in names) <= LARGEST
    assert not list(bundle.glob("large_files.*"))  # which would need an address


def check_labels(metadata, inference):
    """See that what is written is what the metadata name, counted through as clients of MONAI Label do."""
    found = {
        name: int(value) for value, name in metadata["network_data_format"]["outputs"]["pred"]["channel_def"].items()
    }
    assert found == NAMES
    regions = torch.tensor([[0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]])  # ET, TC, WT
    assert regions_to_labels(regions, inference["et_label"])[0].tolist() == [found[name] for name in NAMES]
    rules = [t["et_label"] for t in inference["postprocessing"]["transforms"] if "et_label" in t]
    assert rules == ["@et_label"] * 2


def test_names_and_values_of_labels_agree(bundle):
    check_labels(*(json.loads((bundle / f"configs/{name}.json").read_text()) for name in ("metadata", "inference")))


def test_names_and_values_of_labels_agree_in_an_export(tmp_path):
    torch.save(MetaKDUNet(channels=CHANNELS).state_dict(), tmp_path / "model.pt")
    export_network(tmp_path / "model.pt", tmp_path / "model.ts", "torchscript", BUNDLE)
    _, metadata, extra = load_net_with_metadata(str(tmp_path / "model.ts"), more_extra_files=("inference.json",))
    check_labels(metadata, json.loads(extra["inference.json"]))
