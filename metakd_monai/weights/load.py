"""Weights of a trained network: plain state dicts that determine the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from metakd_monai.errors import UserError, in_one_line
from metakd_monai.inferers import Window, parse_window
from metakd_monai.networks import MetaKDUNet, SegmentationNetwork, infer_architecture
from metakd_monai.networks.architecture import WINDOW, check_window
from metakd_monai.networks.methods import ARCHITECTURE, NETWORKS, read_note
from metakd_monai.vocabulary import Modality, Region

OPTIMIZATIONS = ("auto", "none", "compile")
LARGEST_STRIDE = 16  # images are padded to at least a multiple of it
WRAPPERS = ("network", "model", "state_dict")  # keys under which checkpoint.pt and other tools keep a state dict


def load_network(path: str | Path, device: str | torch.device = "cpu", optimize: str = "auto") -> SegmentationNetwork:
    """Build the network for a weights file, and load the weights strictly.

    Args:
        path: a state dict, such as the bundle's ``model.pt``, or a ``checkpoint.pt``.
        device: of the network.
        optimize: how to make it faster, see :func:`optimize_network`.

    Returns:
        The network, ready for evaluation.

    Raises:
        UserError: for an unknown ``optimize``, and for a missing file, a file without weights, or weights of another
            network.
    """
    state = read_state(Path(path))
    network = build_network(state, path)
    try:
        network.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise misfit(path, error) from None
    return optimize_network(network.to(device).eval(), optimize)


def network_for(weights: str | Path, **arguments: Any) -> SegmentationNetwork:
    """Build the network for a weights file without loading the weights; a configuration's handlers load them.

    Args:
        weights: see :func:`load_network`. Without such a file, the network is the default MetaKDUNet.
        arguments: MetaKDUNet's; if any is given, the file is not read.

    Raises:
        UserError: for a file that holds no weights of a segmentation network.
    """
    if arguments or not Path(weights).is_file():
        return MetaKDUNet(**arguments)
    return build_network(read_state(Path(weights)), weights)


def start_from(network: SegmentationNetwork, weights: str | Path | None, window: Window = None) -> SegmentationNetwork:
    """Return the network that training starts from.

    Args:
        network: a new one, used if ``weights`` is None.
        weights: see :func:`load_network`; they determine the network, with any width and ``input_stride``.
        window: sliding window for the weights, see :func:`~metakd_monai.inferers.parse_window`; None for
            the network's.

    Raises:
        UserError: as in :func:`load_network`; for weights of another network class, and for an invalid window.
    """
    started = network if weights is None else load_network(weights, optimize="none").train()
    if type(started) is not type(network):
        raise UserError(f"{weights}: {name_of(started)} found; expected weights of a {name_of(network)}, or none")
    given = parse_window(window)
    if given is not None:
        try:
            started.set_window(None if isinstance(given, str) else given)
        except ValueError as error:
            raise UserError(f"window: {error}") from None
    return started


def name_of(network: object) -> str:
    """Return the name of a network's class."""
    return type(network).__name__


def build_network(state: dict[str, torch.Tensor], path: str | Path) -> SegmentationNetwork:
    """Build the network that a state dict belongs to, without its weights.

    It is first built on the meta device and compared, so that impossible shapes cost no memory.

    Raises:
        UserError: for weights of another network; ``path`` is for the message.
    """
    try:
        network, arguments = read_architecture(state)
        with torch.device("meta"):
            blank = network(**arguments).state_dict()
        check_fit(state, blank)
        return network(**arguments)
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise misfit(path, error) from None


def read_architecture(state: dict[str, torch.Tensor]) -> tuple[type[SegmentationNetwork], dict[str, Any]]:
    """Infer a network's class and arguments from a state dict; raises ValueError for one of another task."""
    network: type[SegmentationNetwork] = MetaKDUNet
    if ARCHITECTURE in state:
        told = read_note(state[ARCHITECTURE])
        name = told.pop("network", None)
        if name not in NETWORKS:
            raise ValueError(f"found an {ARCHITECTURE} of {name!r}, expected one of {', '.join(NETWORKS)}")
        network = NETWORKS[name]
        arguments: dict[str, Any] = {"input_stride": 1, **told, "window": check_window(state.get(WINDOW))}
    else:
        arguments = {**infer_architecture(state)}
    expected = {"spatial_dims": 3, "in_channels": len(Modality), "out_channels": len(Region)}
    wrong = {name: arguments[name] for name, value in expected.items() if arguments.get(name, value) != value}
    if wrong:
        raise ValueError(f"found {wrong}, expected { ({name: expected[name] for name in wrong}) }")
    if arguments["input_stride"] > LARGEST_STRIDE:
        raise ValueError(f"found input_stride {arguments['input_stride']}, expected at most {LARGEST_STRIDE}")
    return network, arguments


def check_fit(state: Mapping[str, torch.Tensor], blank: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError for the first tensor of a state dict whose shape or dtype differs from the network's."""
    for name, expected in blank.items():
        found = state.get(name)
        if found is not None and found.shape != expected.shape:
            raise ValueError(f"found {name} of shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
        if found is not None and found.is_floating_point() != expected.is_floating_point():
            raise ValueError(f"found {name} of {found.dtype}, expected {expected.dtype}")


def misfit(path: str | Path, error: Exception) -> UserError:
    """Return the error for weights of another network."""
    return UserError(f"{path}: weights do not fit MetaKDUNet: {in_one_line(error, 300)}")


def optimize_network(network: SegmentationNetwork, optimize: str) -> SegmentationNetwork:
    """Prepare a network for fast evaluation; results change only by rounding.

    Args:
        network: changed in place.
        optimize: ``"none"``; ``"auto"``: channels-last kernels, with which PyTorch keeps features channels-last and
            convolutions are faster; ``"compile"``: the same and ``torch.compile`` of each block, which needs a C++
            compiler and takes a minute before the first case.

    Raises:
        UserError: for an unknown name, and for ``"compile"`` of a network without such blocks.
    """
    if optimize not in OPTIMIZATIONS:
        raise UserError(f"optimize: {optimize!r} found; expected one of {', '.join(OPTIMIZATIONS)}")
    if optimize == "compile" and not network.blocks():
        raise UserError(f"optimize: 'compile' found; expected auto or none for a {name_of(network)}")
    if optimize != "none":
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # PyTorch's stubs lack it
    if optimize == "compile":
        for block in network.blocks():
            block.compile(dynamic=True)
    return network


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict, with 16-bit floats as fp32; nothing in the file is executed.

    Raises:
        UserError: for an invalid file, and for tensors that cannot be weights: complex, sparse, larger than the file,
            NaN or infinite.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected weights, such as model.pt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # for a damaged archive PyTorch raises errors of many types
        raise UserError(f"{path}: unreadable; expected weights saved by torch.save as a state dict") from None
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(is_tensor(name, value) for name, value in content.items()):
        raise UserError(f"{path}: holds no state dict; expected weights of a MetaKDUNet")
    declared = sum(value.numel() * value.element_size() for value in content.values())
    if declared > path.stat().st_size:  # expanded views, which would grow when copied
        raise UserError(f"{path}: declares {declared} bytes of numbers and is smaller; expected weights as torch saves")
    state = {name: value.float() if value.is_floating_point() else value for name, value in content.items()}
    check_finite(state, path)
    return state


def is_tensor(name: object, value: object) -> bool:
    """Tell whether an entry of a state dict is a name with a plain tensor."""
    if not (isinstance(name, str) and isinstance(value, torch.Tensor)):
        return False
    plain = value.layout == torch.strided and not value.is_quantized and not value.is_complex()
    return plain and not value.is_meta


def check_finite(state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Raise UserError for NaN or infinite weights, which would make every mask empty."""
    for name, value in state.items():
        bad = int((~value.isfinite()).sum())
        if bad:
            raise UserError(
                f"{path}: {name} has {bad} of {value.numel()} numbers that are NaN or infinite; expected finite weights"
            )
