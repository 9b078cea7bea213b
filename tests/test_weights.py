"""Files of weights: what is sound is loaded, all else is refused in one line, and nothing in them is executed."""

import json
import os
import pickle
import zipfile

import pytest
import torch
from conftest import CHANNELS
from test_predict import predict

from metakd_monai.errors import UserError
from metakd_monai.networks import MetaKDUNet
from metakd_monai.weights.exports import check_shareable, load_any
from metakd_monai.weights.exports.origin import Origin
from metakd_monai.weights.load import load_network, start_from

HEAD = "heads.0.conv.bias"
KERNEL = "encoder.0.conv1.conv.weight"
SHA = "0" * 64


def with_change(weights, change):
    state = torch.load(weights)
    change(state)
    torch.save(state, weights)
    return weights


def put(name, value):
    return lambda state: state.__setitem__(name, value(state[name]) if callable(value) else value)


def first(value):
    def spoil(tensor):
        tensor.flatten()[0] = value
        return tensor

    return spoil


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(HEAD, first(float("nan"))), f"{HEAD} has 1 of 3 numbers that are NaN or infinite"),
        (put(KERNEL, first(float("inf"))), f"{KERNEL} has 1 of 108 numbers that are NaN"),
        (put(HEAD, lambda t: t.double() * 0 + 1e300), f"{HEAD} has 3 of 3 numbers"),  # infinite as fp32
        (put(HEAD, lambda t: t.to(torch.complex64)), "holds no state dict"),
        (put(HEAD, lambda t: t.to_sparse()), "holds no state dict"),
        (put(HEAD, lambda t: t.to("meta")), "holds no state dict"),
        (put(7, torch.zeros(1)), "holds no state dict"),
        (put(KERNEL, torch.tensor(1.0)), "do not fit MetaKDUNet"),
        (put("heads.0.conv.weight", torch.zeros(())), "do not fit MetaKDUNet"),
        (put(KERNEL, torch.zeros(1).expand(10**6, 1, 3, 3, 3)), "declares 108"),
        (put(KERNEL, torch.zeros(10**9, 0)), "do not fit MetaKDUNet"),
        (put(KERNEL, torch.zeros(0, 1, 3, 3, 3)), "do not fit MetaKDUNet"),
        (put(HEAD, torch.zeros(3, dtype=torch.int64)), f"found {HEAD} of torch.int64"),
        (put("input_stride", torch.tensor(10**9)), "found input_stride 1000000000, expected at most 16"),
        (put("input_stride", torch.tensor([1, 2])), "do not fit MetaKDUNet"),
        (put("voxels_of_window", torch.tensor([1.0, 2.0, 3.0])), "window must be three lengths of 8 to 2048"),
        (put("voxels_of_window", torch.tensor([16.0])), "window must be three lengths"),
        (put("surplus", torch.zeros(1)), "an unknown surplus"),
    ],
)
def test_weights_that_are_none_cost_one_line(weights, change, message):
    with pytest.raises(UserError, match=f"{weights.name}: .*{message}") as caught:
        load_network(with_change(weights, change))
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_make_no_mask(cohort, weights, tmp_path):
    result = predict(cohort / "Simulated_000", tmp_path / "out", with_change(weights, put(HEAD, first(float("nan")))))
    assert result.exit_code == 2
    assert result.output.strip().endswith("numbers that are NaN or infinite; expected finite weights")
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_what_is_no_file_of_weights(tmp_path):
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "text.pt").write_text("[" * 100_000)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50 << 20))
    for name, message in (
        ("none.pt", "no such file"),
        ("folder.pt", "no such file"),
        ("pipe.pt", "no such file"),
        ("text.pt", "unreadable"),
        ("bomb.pt", "unreadable"),
    ):
        with pytest.raises(UserError, match=f"{name}: {message}"):
            load_network(tmp_path / name)


class Evil:
    """What writes a file when a pickle of it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.ckpt", "m.ts", "m.onnx", "m.pt2", "m.joblib", "m.PT2"])
@pytest.mark.parametrize("save", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))])
def test_a_pickle_is_never_executed_whatever_its_name(tmp_path, name, save):
    save({"state_dict": Evil(tmp_path / "executed")}, tmp_path / name)
    with pytest.raises(UserError, match="expected"):
        load_any(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["model.pt2", "model.PT2"])
def test_a_program_of_torch_export_is_not_even_opened(tmp_path, cohort, monkeypatch, name):
    """PyTorch runs the pickles and sympy expressions of a .pt2 when it reads it."""
    monkeypatch.setattr(torch.export, "load", None)
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("model/data/sample_inputs/model.pt", pickle.dumps(Evil(tmp_path / "executed")))
    result = predict(cohort / "Simulated_000", tmp_path / "out", tmp_path / name)
    assert result.exit_code == 2
    assert "a program, parts of which run when it is read; expected model.pt, .ts or .onnx" in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "executed").exists()
    with pytest.raises(UserError, match="exported network found"):
        check_shareable(tmp_path / name)


NOTE = {"weights_sha256": SHA, "bytes_per_voxel": 9.0, "stride": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "its metadata is not JSON"),
        ("[" * 100_000, "its metadata is not JSON"),
        ("[]", "its metadata is not a JSON object"),
        (json.dumps({"weights_sha256": SHA}), "has no bytes_per_voxel"),
        (json.dumps({**NOTE, "foo": 1}), "has an unknown foo"),
        *(
            (json.dumps({**NOTE, **change}), f"its {next(iter(change))} is no")
            for change in (
                {"weights_sha256": 3},
                {"weights_sha256": "x" * 64},
                {"bytes_per_voxel": float("nan")},
                {"bytes_per_voxel": -1},
                {"bytes_per_voxel": "9"},
                {"stride": 0},
                {"stride": 2.5},
                {"stride": True},
                {"stride": 10**400},
                {"version": None},
                {"window": "abc"},
            )
        ),
        (json.dumps({**NOTE, "window": [1, 2, 3]}), "window must be three lengths"),
        (json.dumps({**NOTE, "window": [16, 16]}), "window must be three lengths"),
    ],
)
def test_a_note_of_an_export_that_is_none(text, message):
    with pytest.raises(ValueError, match=message):
        Origin.parse(text)


def test_a_note_of_an_export():
    assert Origin.parse(json.dumps(NOTE)).window is None  # as 0.1.0 wrote it
    assert Origin.parse(json.dumps({**NOTE, "window": [16, 24, 32]})).window == (16, 24, 32)


def scripted(path, note, value=1.0):
    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([float(value)]))

        def forward(self, x, available):
            return x * self.weight

        @torch.jit.export
        def bytes_per_voxel(self) -> float:
            return 9.0

    torch.jit.save(torch.jit.script(Small()), str(path), _extra_files={"metadata.json": note})
    return path


@pytest.mark.parametrize(
    ("note", "value", "message"),
    [
        ("{", 1, "is not JSON"),
        ("[1]", 1, "not a JSON object"),
        ('{"metakd_export": "text"}', 1, "is not an object"),
        ('{"metakd_export": {"foo": 1}}', 1, "an unknown foo"),
        ("[" * 100_000, 1, "is not JSON"),
        (b"\xff\xfe\x00", 1, "not readable as a MetaKD network"),
        ("{}", float("nan"), "weight has 1 of 1 numbers that are NaN or infinite"),
    ],
)
def test_torchscript_that_is_no_export(tmp_path, note, value, message):
    with pytest.raises(UserError, match=message) as caught:
        load_any(scripted(tmp_path / "model.ts", note, value))
    assert "\n" not in str(caught.value)


def test_a_network_takes_the_window_of_the_weights_that_it_loads():
    with_one, without = MetaKDUNet(channels=CHANNELS, window=(16, 24, 32)), MetaKDUNet(channels=CHANNELS)
    for strict in (True, False):
        network = MetaKDUNet(channels=CHANNELS)
        network.load_state_dict(with_one.state_dict(), strict=strict)
        assert network.window == (16, 24, 32)
        network.load_state_dict(MetaKDUNet(channels=CHANNELS, window=(8, 8, 8)).state_dict(), strict=strict)
        assert network.window == (8, 8, 8)
        network.load_state_dict(without.state_dict(), strict=strict)
        assert network.window is None
        assert network.state_dict().keys() == without.state_dict().keys()


def test_training_notes_the_window_that_its_weights_are_run_on(weights):
    assert start_from(MetaKDUNet(channels=CHANNELS), None, [16, 24, 32]).window == (16, 24, 32)
    assert start_from(MetaKDUNet(channels=CHANNELS), weights, "16,24,32").window == (16, 24, 32)
    assert start_from(MetaKDUNet(channels=CHANNELS, window=(16, 16, 16)), None, "whole").window is None
    assert start_from(MetaKDUNet(channels=CHANNELS, window=(16, 16, 16)), None).window == (16, 16, 16)
    for wrong in ("16,24", "a,b,c", [1, 2, 3], [0, 16, 16], "16,16,4096"):
        with pytest.raises(UserError, match="window"):
            start_from(MetaKDUNet(channels=CHANNELS), None, wrong)
