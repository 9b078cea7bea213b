"""Weights of a trained network: plain state dicts, from which the architecture is read."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch

from metakd_monai.networks import MetaKDUNet, infer_architecture
from metakd_monai.shipped import SEGMENTATION_BUNDLE, bundle_root, shipped_bundles
from metakd_monai.vocabulary import Modality, Region, UserError, in_one_line

OPTIMIZATIONS = ("auto", "none", "compile")
WRAPPERS = ("network", "model", "state_dict")  # checkpoint.pt, and what other tools wrap a state dict in


def load_network(path: str | Path, device: str | torch.device = "cpu", optimize: str = "auto") -> MetaKDUNet:
    """Build the network that a file of weights belongs to, and load them strictly.

    Args:
        path: a state dict, as the bundle's ``model.pt``, or a ``checkpoint.pt``.
        device: where to.
        optimize: how to run it faster, see :func:`optimize_network`.

    Returns:
        The network, ready for evaluation.

    Raises:
        UserError: for an unknown ``optimize``, and when the file is missing, is no weights file, or holds weights of
            another network.
    """
    state = read_state(Path(path))
    try:
        network = MetaKDUNet(**read_architecture(state))
        network.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise misfit(path, error) from None
    return optimize_network(network.to(device).eval(), optimize)


def network_for(weights: str | Path, **arguments: Any) -> MetaKDUNet:
    """Build the network that a file of weights belongs to, without them: a configuration's handlers load them.

    Args:
        weights: see :func:`load_network`. Where there is no such file, the network is MetaKDUNet's default.
        arguments: MetaKDUNet's; where any is given the file is not asked.

    Raises:
        UserError: for a file that holds no weights of a segmentation network.
    """
    if arguments or not Path(weights).is_file():
        return MetaKDUNet(**arguments)
    try:
        return MetaKDUNet(**read_architecture(read_state(Path(weights))))
    except ValueError as error:
        raise misfit(weights, error) from None


def start_from(network: MetaKDUNet, weights: str | Path | None) -> MetaKDUNet:
    """Return the network that training begins with.

    Args:
        network: a new one, for ``weights`` None.
        weights: see :func:`load_network`; what is trained is then the network that they belong to, of whatever width
            and ``input_stride``.

    Raises:
        UserError: as :func:`load_network`.
    """
    return network if weights is None else load_network(weights, optimize="none").train()


def read_architecture(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Read MetaKDUNet's arguments off a state dict; raises ValueError for one of another task."""
    arguments = cast(dict[str, Any], infer_architecture(state))
    expected = {"spatial_dims": 3, "in_channels": len(Modality), "out_channels": len(Region)}
    wrong = {name: arguments[name] for name, value in expected.items() if arguments[name] != value}
    if wrong:
        raise ValueError(f"found {wrong}, expected { ({name: expected[name] for name in wrong}) }")
    return arguments


def misfit(path: str | Path, error: Exception) -> UserError:
    """Return the error of weights that are of another network."""
    return UserError(f"{path}: weights do not fit MetaKDUNet: {in_one_line(error, 300)}")


def optimize_network(network: MetaKDUNet, optimize: str) -> MetaKDUNet:
    """Prepare a network for fast evaluation; results are the same up to rounding.

    Args:
        network: changed in place.
        optimize: ``"none"``; ``"auto"``: kernels channels-last, so that PyTorch keeps features channels-last, which
            convolutions read faster; ``"compile"``: that, and ``torch.compile`` of each block, which needs a C++
            compiler and takes a minute before the first case.

    Raises:
        UserError: for another name.
    """
    if optimize not in OPTIMIZATIONS:
        raise UserError(f"optimize: {optimize!r} found; expected one of {', '.join(OPTIMIZATIONS)}")
    if optimize != "none":
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # PyTorch's stubs lack it
    if optimize == "compile":
        for block in (*chain.from_iterable(network.own), *network.encoder, *network.decoder):
            block.compile(dynamic=True)
    return network


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict, numbers of 16 bits as fp32; raises UserError for anything else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected weights, such as model.pt") from None
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError):
        raise UserError(f"{path}: unreadable; expected weights saved by torch.save as a state dict") from None
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"{path}: holds no state dict; expected weights of a MetaKDUNet")
    return {name: value.float() if value.is_floating_point() else value for name, value in content.items()}


def find_weights(given: str | Path | None) -> Path:
    """Return the weights that were given, or those that come with this package, whatever the current folder is.

    Raises:
        UserError: when there are none, saying where to get or make some.
    """
    if given is not None:
        path = Path(given)
        if not path.is_file():
            raise UserError(f"weights: {path} not found; expected a file such as model.pt")
        return path
    # A zoo bundle carries this package inside, and no bundles in it: then it is the folder that is being run.
    path = Path(shipped_bundles().get(SEGMENTATION_BUNDLE, bundle_root())) / "models" / "model.pt"
    if not path.is_file():
        raise UserError(
            f"weights: none found at {path}; give some with --weights FILE, install the project again, which brings"
            " its own (pip install), or train yours (README, 'Train')"
        )
    return path


def checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
