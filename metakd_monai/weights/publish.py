"""Publish a trained network: its state dict in fp16, with its stride, scales, window and thresholds.

The same weights give the same bytes, and so the same SHA-256.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch

from metakd_monai.data.files import checksum, write_bytes
from metakd_monai.errors import UserError
from metakd_monai.inferers import WHOLE, Window
from metakd_monai.networks import MetaKDUNet, SegmentationNetwork
from metakd_monai.networks.architecture import WINDOW
from metakd_monai.networks.methods import ARCHITECTURE
from metakd_monai.weights.load import load_network, read_architecture, read_state, start_from

LARGEST = 25_000_000  # bytes


def read_mean(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Return the mean weights of several trainings that started from the same weights, or those of one training.

    Source: Wortsman et al. 2022, "Model soups".

    Raises:
        UserError: for weights whose names, shapes or settings differ from the first's.
    """
    states = [read_state(path) for path in paths]
    first = states[0]
    for path, state in zip(paths, states, strict=True):
        alike = state.keys() == first.keys() and all(state[name].shape == one.shape for name, one in first.items())
        settings = [name for name, one in first.items() if not one.is_floating_point() or name == WINDOW]
        if not alike or any(not torch.equal(state[name], first[name]) for name in settings):
            raise UserError(f"{path}: weights differ in network from {paths[0]}; expected weights of one recipe")
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if one.is_floating_point() else one
        for name, one in first.items()
    }


def convert(
    paths: Sequence[Path], stride: int | None, modality_specific_scales: int | None, window: Window = None
) -> SegmentationNetwork:
    """Return a network with given weights and a new stride, modality-specific scales or window; None keeps theirs.

    With a new stride, the window is rescaled to the new voxels. Several files are averaged.

    Raises:
        UserError: for fewer modality_specific_scales than the weights have, because different encoders cannot be
            merged; for any in a network other than MetaKDUNet; see :func:`read_mean`.
    """
    state = read_mean(paths)
    network, arguments = read_architecture(state)
    found = arguments.get("modality_specific_scales", 0)
    scales = found if modality_specific_scales is None else modality_specific_scales
    if scales < found:
        raise UserError(f"{paths[0]}: modality_specific_scales {found} found; expected at most the {scales} requested")
    if scales > 0 and network is not MetaKDUNet:
        raise UserError(f"{paths[0]}: a {network.__name__} found; expected a MetaKDUNet for modality_specific_scales")
    stride = stride or arguments["input_stride"]
    if arguments["window"] is not None:
        arguments["window"] = [length * stride // arguments["input_stride"] for length in arguments["window"]]
    if network is MetaKDUNet:
        arguments["modality_specific_scales"] = scales
    made = start_from(network(**{**arguments, "input_stride": stride}), None, window)
    sources = {name: source_of(name, scales, found) if scales else name for name in made.state_dict()}
    note = dict.fromkeys((ARCHITECTURE, WINDOW, "input_stride"))  # of the new network
    made.load_state_dict(
        {name: value if name in note else state[sources[name]] for name, value in made.state_dict().items()}
    )
    return made


def source_of(name: str, modality_specific_scales: int, found: int) -> str:
    """Return where weights with ``found`` modality-specific scales hold a parameter of a network with more of them."""
    part, *rest = name.split(".")
    if part == "encoder":
        return ".".join([part, str(int(rest[0]) + modality_specific_scales - found), *rest[1:]])
    if part == "own" and int(rest[1]) >= found:
        return ".".join(["encoder", str(int(rest[1]) - found), *rest[2:]])
    return name


def move_thresholds(network: SegmentationNetwork, thresholds: Sequence[float]) -> None:
    """Shift the logits of each region so that the given probability becomes 0.5.

    The threshold that maximises Dice is about half the attainable Dice (Lipton et al. 2014, "Optimal Thresholding of
    Classifiers to Maximize F1 Measure"), which is below 0.5 if little of a region is found.

    Raises:
        UserError: for thresholds that are not between 0 and 1.
    """
    wrong = [value for value in thresholds if not 0 < value < 1]
    if wrong:
        raise UserError(f"thresholds: {wrong[0]} found; expected numbers between 0 and 1")
    with torch.no_grad():
        for layer in network.last_layers():
            layer.get_parameter("bias").sub_(torch.tensor(thresholds).logit())


def pack(network: SegmentationNetwork, largest: float = LARGEST) -> bytes:
    """Return the file of a network's weights.

    Args:
        network: the network.
        largest: largest size of the file in bytes.

    Raises:
        UserError: for weights that are not finite in fp16, and for a file that is too large.
    """
    state = network.state_dict()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    spoilt = [name for name, value in halves.items() if not bool(value.isfinite().all())]
    if spoilt:
        raise UserError(f"weights: {spoilt[0]} is not finite in fp16; expected numbers within 65504")
    buffer = io.BytesIO()  # torch.save would write the file's name into the file
    torch.save(halves, buffer)
    size = buffer.tell()
    if size > largest:
        raise UserError(f"weights: {size / 1e6:.1f} MB found; expected at most {largest / 1e6:.0f} MB")
    return buffer.getvalue()


def publish(
    source: Path | Sequence[Path],
    output: Path,
    stride: int | None = None,
    modality_specific_scales: int | None = None,
    thresholds: Sequence[float] | None = None,
    window: Window = None,
    largest: float = LARGEST,
) -> str:
    """Write the weights, and return a description in two lines.

    Args:
        source: a checkpoint or weights; several are averaged, see :func:`read_mean`.
        output: file to write.
        stride: ``input_stride``; None for that of the source, as below.
        modality_specific_scales: number of scales copied for each modality.
        thresholds: probabilities that become 0.5, one for each region.
        window: sliding window for the weights.
        largest: largest size of the file in bytes; the default suits a code repository.

    Raises:
        UserError: if the source cannot be read or converted, or the output not written.
        ValueError: for invalid arguments of the network.
    """
    network = convert([source] if isinstance(source, Path) else source, stride, modality_specific_scales, window)
    if thresholds is not None:
        move_thresholds(network, thresholds)
    content = pack(network, largest)
    write_bytes(output, content)
    network = load_network(output)
    own = getattr(network, "modality_specific_scales", 0)
    return (
        f"{output}: {len(content) / 1e6:.1f} MB, channels {network.channels}, input_stride {network.pooling},"
        f" modality_specific_scales {own}, window {network.window or WHOLE}\n"
        f"SHA-256 {checksum(output)}"
    )
