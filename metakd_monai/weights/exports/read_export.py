"""Exported networks, called like the network itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.utils import optional_import
from torch import Tensor
from torch.nn import functional

from metakd_monai.data.files import checksum
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.inferers import choose_precision
from metakd_monai.networks.geometry import crop
from metakd_monai.weights.exports.origin import ORIGIN, Origin, load_object
from metakd_monai.weights.load import check_finite, load_network

Network = Callable[..., Tensor]
METADATA = "metadata.json"  # where MONAI puts the note in TorchScript
ONNX_INPUTS = ["image", "available"]
PROGRAM = ".pt2"


def load_any(path: str | Path, device: str | torch.device = "cpu", optimize: str = "auto") -> Network:
    """Load weights or an exported network, by the file's extension: ``.ts``, ``.onnx``, else weights.

    Weights and ONNX are data. **TorchScript is a program**: use ``.ts`` files only from sources that you trust. A
    ``.pt2`` is a program too, and PyTorch runs parts of it when it reads the file (pickles, sympy expressions), so it
    is refused.

    Args:
        path: of the file.
        device: where to run.
        optimize: see :func:`~metakd_monai.weights.load.optimize_network`; of exported networks only TorchScript can be
            optimised, and none can be compiled.

    Returns:
        A callable that takes images ``(1, N, *S)`` and availability ``(1, N)``, returns logits ``(1, R, *S)``, and has
        ``bytes_per_voxel()`` and ``window``.

    Raises:
        UserError: for a file that ``metakd export`` did not write, weights that are not finite, a device or
            ``optimize`` that its format does not support, a ``.pt2``, and missing packages.
    """
    end = Path(path).suffix.lower()
    if end == PROGRAM:
        raise UserError(f"{path}: a program, parts of which run when it is read; expected model.pt, .ts or .onnx")
    read = READERS.get(end)
    if read is None:
        return load_network(path, device, optimize)
    if optimize == "compile":
        raise UserError(f"optimize: 'compile' found; expected auto or none for {path}, which is exported already")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; expected one that metakd export wrote")
    return read(Path(path), torch.device(device), optimize)


def refuse(path: Path, reason: object) -> UserError:
    """Return the error for a file that ``metakd export`` did not write."""
    line = in_one_line(reason)
    return UserError(f"{path}: not readable as a MetaKD network ({line}); expected a file that metakd export wrote")


def read_torchscript(path: Path, device: torch.device, optimize: str) -> Network:
    """Load TorchScript; absent modalities cost no time, as in the network itself."""
    extra = {METADATA: ""}
    try:
        network = torch.jit.load(str(path), map_location=device, _extra_files=extra)
        if not hasattr(network, "bytes_per_voxel"):
            raise ValueError("it does not say its bytes_per_voxel")
        network.origin = read_origin(extra[METADATA])
        check_finite(network.state_dict(), path)
    except UserError:
        raise
    except Exception as error:  # for another archive PyTorch raises errors of many types
        raise refuse(path, error) from None
    if optimize == "auto":
        network.to(memory_format=torch.channels_last_3d)
    return network


def read_origin(metadata: str | bytes) -> Origin | None:
    """Read the note of ``metakd export`` in TorchScript's metadata; None for MONAI's ckpt_export, which has none."""
    noted = load_object(metadata)
    return Origin.of(noted[ORIGIN]) if ORIGIN in noted else None


def weights_checksum(network: Network, path: str | Path) -> str:
    """Return the SHA-256 of a network's weights, see :func:`load_any`: of the file or of those exported into it."""
    origin = getattr(network, "origin", None)
    return checksum(path) if origin is None else str(origin.weights_sha256)


class Graph:
    """A network of :class:`~metakd_monai.networks.GraphMetaKDUNet`, for images of any size.

    Args:
        run: takes an image ``(1, N, *S)``, each axis of S a multiple of the network's stride, and availability.
        origin: the note of ``metakd export``.
    """

    def __init__(self, run: Callable[[Tensor, Tensor], Tensor], origin: Origin) -> None:
        self.run, self.origin = run, origin
        self.factor, self.window = origin.stride, origin.window

    def __call__(self, x: Tensor, available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)`` for images ``(B, N, *S)`` and availability ``(B or 1, N)``.

        Raises:
            UserError: for an axis that is not longer than the stride.
        """
        size, stride = list(x.shape[2:]), self.origin.stride
        if min(size) <= stride:
            raise UserError(f"image: {size} voxels found; expected more than {stride} along each axis, or model.pt")
        far = [stride * math.ceil(length / stride) - length for length in size]
        padded = functional.pad(x, [part for length in reversed(far) for part in (0, length)])
        mask = available.expand(len(x), -1)
        logits = torch.cat([self.run(padded[b : b + 1], mask[b : b + 1]) for b in range(len(x))])
        return crop(logits, size)

    def bytes_per_voxel(self) -> float:
        """Return the memory needed per voxel of a window."""
        return self.origin.bytes_per_voxel


def settle_precision(network: Network, wanted: str, device: torch.device) -> str:
    """Return ``"fp32"`` or ``"bf16"``, see :func:`~metakd_monai.inferers.choose_precision`; a graph is always fp32.

    Raises:
        UserError: for bf16 with a graph.
    """
    settled = choose_precision(wanted, device)
    if not isinstance(network, Graph):
        return settled
    if wanted == "bf16":
        raise UserError("precision: 'bf16' found; expected auto or fp32: ONNX files compute in fp32")
    return "fp32"


def read_onnx(path: Path, device: torch.device, optimize: str) -> Network:
    """Load ONNX into ONNX Runtime, on a CPU, or on a GPU if its GPU package is installed."""
    for name in ("onnxruntime", "onnx"):
        if not optional_import(name)[1]:
            raise UserError(f"{path}: needs {name}; install it with pip install 'metakd-monai[export]'")
    onnxruntime, _ = optional_import("onnxruntime")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device.type)
    if provider not in onnxruntime.get_available_providers():
        raise UserError(f"device: {device} found; expected one of this onnxruntime, which has {providers(onnxruntime)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_cpu_mem_arena = False  # it would never free the memory of the largest window
    try:
        check_finite(initial_values(path), path)
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        origin = Origin.parse(session.get_modelmeta().custom_metadata_map.get(ORIGIN, "{}"))
        names = [given.name for given in session.get_inputs()]
        if names != ONNX_INPUTS:
            raise ValueError(f"inputs {names}, expected {ONNX_INPUTS}")
    except UserError:
        raise
    except Exception as error:  # ONNX Runtime's own errors have no common base
        raise refuse(path, error) from None

    def run(x: Tensor, available: Tensor) -> Tensor:
        (logits,) = session.run(None, dict(zip(ONNX_INPUTS, (x.cpu().numpy(), available.cpu().numpy()), strict=True)))
        return torch.from_numpy(logits).to(x.device)

    return Graph(run, origin)


def initial_values(path: Path) -> dict[str, Tensor]:
    """Return ONNX's tensors by name; raises ValueError if they are in another file."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    constants = [
        (node.output[0], value.t) for node in model.graph.node for value in node.attribute if value.HasField("t")
    ]
    every = [*((value.name, value) for value in model.graph.initializer), *constants]
    outside = [name for name, value in every if value.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise ValueError(f"{outside[0]} lies in another file")
    arrays = {name: onnx.numpy_helper.to_array(value) for name, value in every}
    return {name: torch.tensor(array) for name, array in arrays.items() if array.dtype.kind == "f"}


def providers(onnxruntime: Any) -> str:
    """List the devices of the installed ONNX Runtime."""
    names = [name.removesuffix("ExecutionProvider").lower() for name in onnxruntime.get_available_providers()]
    return ", ".join(names)


READERS: dict[str, Callable[[Path, torch.device, str], Network]] = {
    ".ts": read_torchscript,
    ".onnx": read_onnx,
}


def check_shareable(path: str | Path) -> None:
    """Raise UserError for an exported network, whose features cannot be reused for several subsets."""
    if Path(path).suffix.lower() in (*READERS, PROGRAM):
        raise UserError(f"{path}: exported network found; expected weights such as model.pt for uncertainty or subsets")
