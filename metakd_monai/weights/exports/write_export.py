"""From weights to a file that runs without this package."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import torch
from monai.bundle import trt_export
from monai.data import save_net_with_metadata
from monai.networks.utils import convert_to_torchscript
from monai.utils import optional_import
from torch.export import Dim

from metakd_monai.data.files import checksum, read_json, write_bytes
from metakd_monai.errors import UserError
from metakd_monai.networks import GraphMetaKDUNet, MetaKDUNet, SegmentationNetwork, infer_architecture
from metakd_monai.networks.norm import STEPWISE_NORM
from metakd_monai.weights.exports.origin import ORIGIN, Origin
from metakd_monai.weights.load import load_network

OPSET = 20
TRT_WINDOW = (128, 128, 128)


def export_network(weights: str | Path, output: str | Path, format: str, bundle: str | Path) -> None:
    """Write a network with its weights in another format.

    It is written to memory first: PyTorch's own writer aborts the process when a disk is full.

    Args:
        weights: see :func:`~metakd_monai.weights.load.load_network`.
        output: file to write, completely or not at all.
        format: ``"torchscript"``, ``"onnx"``, ``"torch-export"`` or ``"tensorrt"``.
        bundle: folder whose metadata and inference configuration go into TorchScript, as with MONAI's ckpt_export.

    Raises:
        UserError: for an unknown format, one that the network does not support, unusable weights, a folder without a
            bundle, missing packages, and TensorRT without a GPU.
    """
    if format not in FORMATS:
        raise UserError(f"format: {format!r} found; expected one of {', '.join(FORMATS)}")
    network = load_network(weights, optimize="none")
    if format != "torchscript" and not isinstance(network, MetaKDUNet):
        raise UserError(f"format: {format!r} found; expected torchscript for a {type(network).__name__}")
    origin = Origin(checksum(weights), network.bytes_per_voxel(), network.factor, network.window)
    content = FORMATS[format](network, origin, Path(bundle))
    write_bytes(Path(output), content)


def read_config(bundle: Path, name: str) -> dict[str, Any]:
    """Read one of a bundle's JSON files."""
    path = bundle / "configs" / name
    if not path.is_file():
        raise UserError(f"{bundle}: no bundle found ({path} is missing); expected its folder, --bundle FOLDER")
    content = read_json(path, "a bundle's configuration")
    if not isinstance(content, dict):
        raise UserError(f"{path}: no JSON object found; expected a bundle's configuration")
    return content


def make_torchscript(network: SegmentationNetwork, origin: Origin, bundle: Path) -> bytes:
    """Script the network with its control flow, so that absent modalities are still skipped."""
    metadata = {**read_config(bundle, "metadata.json"), ORIGIN: asdict(origin)}
    inference = read_config(bundle, "inference.json")
    inference["network_def"] = definition_of(network)
    extra = {"inference.json": json.dumps(inference, indent=4).encode()}
    buffer = BytesIO()
    save_net_with_metadata(convert_to_torchscript(network), buffer, meta_values=metadata, more_extra_files=extra)
    return buffer.getvalue()


def definition_of(network: SegmentationNetwork) -> dict[str, Any]:
    """Return the definition of the network in a configuration."""
    return {"_target_": f"{type(network).__module__}.{type(network).__name__}", **network.describe()}


def graph_of(network: MetaKDUNet, norm: str) -> GraphMetaKDUNet:
    """Return the network as one graph with its weights and an equivalent norm."""
    arguments = cast(dict[str, Any], infer_architecture(network.state_dict()))
    graph = GraphMetaKDUNet(**arguments, norm=(norm, {"affine": True}))
    graph.load_state_dict(network.state_dict())
    return graph.eval()


def trace_program(network: MetaKDUNet, norm: str) -> torch.export.ExportedProgram:
    """Return the program for an image ``(1, N, *S)``, each axis 2 or more strides long, and availability ``(1, N)``."""
    graph, stride = graph_of(network, norm), network.factor
    image = torch.zeros(1, network.in_channels, 3 * stride, 2 * stride, 4 * stride)
    axes = {2 + axis: stride * Dim(name, min=2) for axis, name in enumerate(("depth", "height", "width"))}
    inputs = (image, torch.ones(1, network.in_channels, dtype=torch.bool))
    return torch.export.export(graph, inputs, dynamic_shapes={"x": axes, "available": None})


def make_torch_export(network: MetaKDUNet, origin: Origin, bundle: Path) -> bytes:
    """Make a program of torch.export."""
    buffer = BytesIO()
    torch.export.save(trace_program(network, "instance"), buffer, extra_files={ORIGIN: json.dumps(asdict(origin))})
    return buffer.getvalue()


def make_onnx(network: MetaKDUNet, origin: Origin, bundle: Path) -> bytes:
    """Make ONNX with the inputs ``image`` and ``available`` and the output ``logits``."""
    for name in ("onnx", "onnxscript"):
        if not optional_import(name)[1]:
            raise UserError(f"onnx: needs the package {name}; install it with pip install 'metakd-monai[export]'")
    made = torch.onnx.export(
        trace_program(network, STEPWISE_NORM),
        input_names=["image", "available"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
        external_data=False,
    )
    assert made is not None
    made.model.metadata_props[ORIGIN] = json.dumps(asdict(origin))
    return cast(bytes, made.model_proto.SerializeToString())


def make_tensorrt(network: MetaKDUNet, origin: Origin, bundle: Path) -> bytes:
    """Make a TensorRT engine for an image of a fixed window, in TorchScript, with MONAI's trt_export."""
    if not torch.cuda.is_available():
        raise UserError("tensorrt: no CUDA GPU found; expected one, as an engine is built for the GPU that it runs on")
    if not optional_import("torch_tensorrt")[1]:
        raise UserError("tensorrt: needs the package torch_tensorrt; install the version that fits your PyTorch")
    with tempfile.TemporaryDirectory() as folder:
        weights, engine = Path(folder, "model.pt"), Path(folder, "model.ts")
        torch.save(network.state_dict(), weights)
        trt_export(
            net_id="network_def",
            filepath=str(engine),
            ckpt_file=str(weights),
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / "inference.json"),
            precision="fp32",
            input_shape=[1, network.in_channels, *trt_window(network)],
            use_trace=True,
            network_def={
                **definition_of(network),
                "_target_": f"{GraphMetaKDUNet.__module__}.{GraphMetaKDUNet.__name__}",
                "norm": ["instance", {"affine": True}],
            },
        )
        return engine.read_bytes()


def trt_window(network: MetaKDUNet) -> list[int]:
    """Return the window of an engine: the weights' own, rounded to whole strides."""
    stride = network.factor
    return [stride * math.ceil(length / stride) for length in network.window or TRT_WINDOW]


FORMATS: dict[str, Callable[[Any, Origin, Path], bytes]] = {
    "torchscript": make_torchscript,
    "onnx": make_onnx,
    "torch-export": make_torch_export,
    "tensorrt": make_tensorrt,
}
