"""From weights to a file that runs without this package."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from monai.bundle import ConfigParser, trt_export
from monai.data import save_net_with_metadata
from monai.networks.utils import convert_to_torchscript
from monai.utils import optional_import
from torch.export import Dim

from metakd_monai.exports.origin import ORIGIN, Origin
from metakd_monai.files import write_safely
from metakd_monai.networks import GraphMetaKDUNet, MetaKDUNet, infer_architecture
from metakd_monai.networks.norm import STEPWISE_NORM
from metakd_monai.vocabulary import UserError
from metakd_monai.weights import checksum, load_network

OPSET = 20
TRT_WINDOW = (128, 128, 128)


def export_network(weights: str | Path, output: str | Path, format: str, bundle: str | Path) -> None:
    """Write a network with its weights in another format.

    Args:
        weights: see :func:`~metakd_monai.weights.load_network`.
        output: file to write, whole or not at all.
        format: ``"torchscript"``, ``"onnx"``, ``"torch-export"`` or ``"tensorrt"``.
        bundle: folder whose metadata and inference configuration go into TorchScript, as MONAI's ckpt_export does it.

    Raises:
        UserError: for an unknown format, unusable weights, a folder that is no bundle, missing packages, and for
            TensorRT without a GPU.
    """
    if format not in FORMATS:
        raise UserError(f"format: {format!r} found; expected one of {', '.join(FORMATS)}")
    network = load_network(weights, optimize="none")
    origin = Origin(checksum(weights), network.bytes_per_voxel(), network.factor)
    write = FORMATS[format]
    write_safely(Path(output), lambda temporary: write(network, temporary, origin, Path(bundle)))


def read_config(bundle: Path, name: str) -> dict[str, Any]:
    """Read one of a bundle's JSON files."""
    path = bundle / "configs" / name
    if not path.is_file():
        raise UserError(f"{bundle}: no bundle found ({path} is missing); expected its folder, --bundle FOLDER")
    return cast(dict[str, Any], ConfigParser.load_config_file(path))


def write_torchscript(network: MetaKDUNet, path: Path, origin: Origin, bundle: Path) -> None:
    """Script the network, control flow and all: it skips absent modalities as before."""
    metadata = {**read_config(bundle, "metadata.json"), ORIGIN: asdict(origin)}
    inference = read_config(bundle, "inference.json")
    inference["network_def"] = definition_of(network)
    extra = {"inference.json": json.dumps(inference, indent=4).encode()}
    save_net_with_metadata(convert_to_torchscript(network), str(path), meta_values=metadata, more_extra_files=extra)


def definition_of(network: MetaKDUNet) -> dict[str, Any]:
    """Return what a configuration says to build a network."""
    target = f"{MetaKDUNet.__module__}.{MetaKDUNet.__name__}"
    return {"_target_": target, **infer_architecture(network.state_dict()), "channels": list(network.channels)}


def graph_of(network: MetaKDUNet, norm: str) -> GraphMetaKDUNet:
    """Return the network as one graph with its weights, and a norm that computes the same."""
    arguments = cast(dict[str, Any], infer_architecture(network.state_dict()))
    graph = GraphMetaKDUNet(**arguments, norm=(norm, {"affine": True}))
    graph.load_state_dict(network.state_dict())
    return graph.eval()


def trace_program(network: MetaKDUNet, norm: str) -> torch.export.ExportedProgram:
    """Return the program of an image ``(1, N, *S)``, each axis 2 or more strides long, and availability ``(1, N)``."""
    graph, stride = graph_of(network, norm), network.factor
    image = torch.zeros(1, network.in_channels, 3 * stride, 2 * stride, 4 * stride)
    axes = {2 + axis: stride * Dim(name, min=2) for axis, name in enumerate(("depth", "height", "width"))}
    inputs = (image, torch.ones(1, network.in_channels, dtype=torch.bool))
    return torch.export.export(graph, inputs, dynamic_shapes={"x": axes, "available": None})


def write_torch_export(network: MetaKDUNet, path: Path, origin: Origin, bundle: Path) -> None:
    """Write a program of torch.export."""
    torch.export.save(trace_program(network, "instance"), path, extra_files={ORIGIN: json.dumps(asdict(origin))})


def write_onnx(network: MetaKDUNet, path: Path, origin: Origin, bundle: Path) -> None:
    """Write ONNX with the inputs ``image`` and ``available`` and the output ``logits``."""
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
    made.save(path, external_data=False)


def write_tensorrt(network: MetaKDUNet, path: Path, origin: Origin, bundle: Path) -> None:
    """Let MONAI's trt_export make a TensorRT engine of a fixed window, in TorchScript, for an image alone."""
    if not torch.cuda.is_available():
        raise UserError("tensorrt: no CUDA GPU found; expected one, as an engine is built for the GPU that it runs on")
    if not optional_import("torch_tensorrt")[1]:
        raise UserError("tensorrt: needs the package torch_tensorrt; install the version that fits your PyTorch")
    weights = path.with_suffix(".pt")
    torch.save(network.state_dict(), weights)
    try:
        trt_export(
            net_id="network_def",
            filepath=str(path),
            ckpt_file=str(weights),
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / "inference.json"),
            precision="fp32",
            input_shape=[1, network.in_channels, *TRT_WINDOW],
            use_trace=True,
            network_def={
                **definition_of(network),
                "_target_": f"{GraphMetaKDUNet.__module__}.{GraphMetaKDUNet.__name__}",
                "norm": ["instance", {"affine": True}],
            },
        )
    finally:
        weights.unlink()


FORMATS: dict[str, Callable[[MetaKDUNet, Path, Origin, Path], None]] = {
    "torchscript": write_torchscript,
    "onnx": write_onnx,
    "torch-export": write_torch_export,
    "tensorrt": write_tensorrt,
}
