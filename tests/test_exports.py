"""Exported networks equal the eager one, whatever is missing, and stand in for model.pt."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import BUNDLE
from monai.bundle import ConfigComponent
from monai.data import load_net_with_metadata
from test_predict import mask, predict, run

from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor
from metakd_monai.errors import UserError
from metakd_monai.inferers import ModalityInferer
from metakd_monai.networks import GraphMetaKDUNet, MetaKDUNet
from metakd_monai.vocabulary import Modality, modality_subsets
from metakd_monai.weights.exports import load_any
from metakd_monai.weights.exports.origin import ORIGIN, Origin
from metakd_monai.weights.exports.read_export import Graph
from metakd_monai.weights.exports.write_export import FORMATS, export_network
from metakd_monai.weights.load import load_network

ENDS = {"torchscript": ".ts", "onnx": ".onnx", "torch-export": ".pt2"}
WINDOW = (64, 32, 48)
WIDTHS = (4, 8)  # two scales: tracing sizes symbolically takes seconds for each


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """Weights without their ending; beside them lies each format."""
    pytest.importorskip("onnxscript")
    return export_all(tmp_path_factory.mktemp("exported"), MetaKDUNet(channels=WIDTHS, input_stride=2, window=WINDOW))


def export_all(folder: Path, network: MetaKDUNet) -> Path:
    torch.manual_seed(0)
    torch.save(network.state_dict(), folder / "model.pt")
    for name, end in ENDS.items():
        export_network(folder / "model.pt", folder / f"model{end}", name, BUNDLE)
    return folder / "model"


def masks_of_subsets():
    return [torch.tensor([[m in subset for m in Modality]]) for subset in modality_subsets()]


def load_export(path: Path):
    """Load any export; a program of torch.export, which is one of our own here, by PyTorch's own means."""
    if path.suffix != ".pt2":
        return load_any(path)
    noted = {ORIGIN: ""}
    program = torch.export.load(path, extra_files=noted)
    return Graph(program.module(), Origin.parse(noted[ORIGIN]))


def assert_equals_eager(path: Path, end: str, sizes) -> None:
    eager, other = load_network(path.with_suffix(".pt")), load_export(path.with_suffix(end))
    for size in sizes:
        image = torch.randn(1, 4, *size)
        for available in masks_of_subsets():
            dirty = image.clone()
            dirty[~available] = float("nan")
            with torch.inference_mode():
                expected, found = eager(image, available), other(dirty, available)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("end", ENDS.values())
def test_all_subsets_equal_the_eager_network_at_any_size(exported, end):
    assert_equals_eager(exported, end, [(8, 6, 10), (9, 13, 7)])


@pytest.mark.slow
def test_all_subsets_equal_the_eager_network_with_the_real_widths(tmp_path):
    path = export_all(tmp_path, MetaKDUNet())
    for end in ENDS.values():
        assert_equals_eager(path, end, [(33, 40, 48)])


@pytest.mark.parametrize("end", [".ts", ".onnx"])
def test_predict_gives_the_same_mask(exported, cohort, tmp_path, end):
    options = ["--modalities", "flair,t1ce", "--no-preview", "--precision", "fp32"]  # all that graphs compute in
    for name, weights in (("eager", exported.with_suffix(".pt")), ("other", exported.with_suffix(end))):
        result = predict(cohort / "Simulated_000", tmp_path / name, weights, *options)
        assert result.exit_code == 0, result.output
    assert (mask(tmp_path / "eager") == mask(tmp_path / "other")).all()
    assert mask(tmp_path / "eager").any()


@pytest.mark.parametrize("end", ENDS.values())
def test_windows_are_those_of_the_eager_network(exported, end):
    eager, other = load_network(exported.with_suffix(".pt")), load_export(exported.with_suffix(end))
    assert other.bytes_per_voxel() == eager.bytes_per_voxel()
    assert other.factor == eager.factor == 4
    assert tuple(other.window) == eager.window == WINDOW


def test_sliding_windows_take_availability_from_the_volume(exported):
    eager, scripted = load_network(exported.with_suffix(".pt")), load_any(exported.with_suffix(".ts"))
    volume = torch.randn(1, 4, 24, 16, 16)
    volume[:, 1] = 0  # absent
    volume[:, 0, :12] = 0  # present, but not in the first windows
    inferer = ModalityInferer(roi_size=(12, 12, 12), crop_foreground=False)
    with torch.inference_mode():
        expected = inferer(volume, eager, torch.tensor([[True, False, True, True]]))
        torch.testing.assert_close(inferer(volume, scripted), expected)  # as MONAI Label and Deploy call it


def test_torchscript_alone_takes_zero_channels_for_absent(exported):
    scripted = torch.jit.load(str(exported.with_suffix(".ts")))
    image = torch.randn(1, 4, 8, 8, 8)
    image[:, 2] = 0
    with torch.inference_mode():
        assert torch.equal(scripted(image), scripted(image, torch.tensor([[True, True, False, True]])))


def test_torchscript_carries_metadata_and_inference_configuration(exported):
    _, metadata, extra = load_net_with_metadata(str(exported.with_suffix(".ts")), more_extra_files=("inference.json",))
    assert metadata["network_data_format"]["inputs"]["image"]["num_channels"] == len(Modality)
    network = ConfigComponent(json.loads(extra["inference.json"])["network_def"]).instantiate()
    assert (network.channels, network.pooling) == (WIDTHS, 2)


def test_a_trace_for_tensorrt_finds_out_what_is_there(exported):
    eager = load_network(exported.with_suffix(".pt"))
    graph = GraphMetaKDUNet(channels=WIDTHS, input_stride=2, window=WINDOW, norm=("instance", {"affine": True})).eval()
    graph.load_state_dict(eager.state_dict())
    with torch.inference_mode():
        traced = torch.jit.trace(graph, torch.rand(1, 4, 8, 8, 8), check_trace=False)
        for available in masks_of_subsets():
            image = torch.where(available.reshape(1, 4, 1, 1, 1), torch.randn(1, 4, 8, 8, 8), torch.zeros(()))
            torch.testing.assert_close(traced(image), eager(image, available), atol=1e-5, rtol=0)


def test_the_command_writes_beside_the_weights(exported, tmp_path):
    weights = shutil.copy(exported.with_suffix(".pt"), tmp_path / "mine.pt")
    result = run("export", "--weights", weights)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"torchscript: {tmp_path / 'mine.ts'}")
    assert {path.name for path in tmp_path.iterdir()} == {"mine.pt", "mine.ts"}


def test_what_was_installed_is_exported_to_the_current_folder(exported, monkeypatch, tmp_path):
    installed = shutil.copytree(BUNDLE / "configs", tmp_path / "installed" / BUNDLE.name / "configs").parent
    (installed / "models").mkdir()
    shutil.copy(exported.with_suffix(".pt"), installed / "models" / "model.pt")
    monkeypatch.setattr("metakd_monai.bundle.root.PLACES", [tmp_path / "installed"])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = run("export")
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["model.ts"]
    assert [path.name for path in (installed / "models").iterdir()] == ["model.pt"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_tensorrt_without_a_gpu_costs_one_line(weights):
    result = run("export", "--weights", weights, "--format", "tensorrt")
    assert result.exit_code == 2
    assert result.output.strip().splitlines() == [
        "metakd: tensorrt: no CUDA GPU found; expected one, as an engine is built for the GPU that it runs on"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "model.onnx"], "model.onnx found; expected a name that ends with .ts, or --format onnx\n"),
        (["--output", "a.pt2", "--format", "onnx"], "expected a name that ends with .onnx, or --format torch-export\n"),
        (["--output", "model.x"], "model.x found; expected a name that ends with .ts\n"),
        (["--bundle", "nowhere"], "nowhere: no bundle found"),
        (["--weights", "none.pt"], "none.pt not found"),
    ],
)
def test_the_command_refuses(weights, options, message):
    result = run("export", "--weights", weights, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_unknown_format(weights, tmp_path):
    assert FORMATS.keys() == {*ENDS, "tensorrt"}
    with pytest.raises(UserError, match="format: 'caffe' found; expected one of torchscript, onnx"):
        export_network(weights, tmp_path / "model.x", "caffe", BUNDLE)


@pytest.mark.parametrize("end", [".ts", ".onnx"])
def test_what_is_no_export_is_refused(tmp_path, end):
    path = tmp_path / f"model{end}"
    with pytest.raises(UserError, match="no such file"):
        load_any(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not readable as a MetaKD network"):
        load_any(path)


def test_another_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), str(tmp_path / "model.ts"))
    with pytest.raises(UserError, match="does not say its bytes_per_voxel"):
        load_any(tmp_path / "model.ts")


def test_what_exports_cannot_do_is_refused(exported, cohort, tmp_path):
    onnx, case = exported.with_suffix(".onnx"), cohort / "Simulated_000"
    for options, message in (
        (["--precision", "bf16"], "precision: 'bf16' found; expected auto or fp32"),
        (["--optimize", "compile"], "optimize: 'compile' found; expected auto or none"),
    ):
        result = predict(case, tmp_path / "out", onnx, *options)
        assert result.exit_code != 0
        assert message in result.output
    with pytest.raises(UserError, match="is exported; expected weights such as"):
        SubsetPredictor(Predictor(onnx))
    with pytest.raises(UserError, match=r"\[8, 8, 2\] voxels found; expected more than 4 along each axis"):
        load_any(onnx)(torch.zeros(1, 4, 8, 8, 2), torch.ones(1, 4, dtype=torch.bool))
    with pytest.raises(UserError, match="device: meta found"):
        load_any(onnx, "meta")
