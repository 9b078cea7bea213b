"""Write the weights that the bundle ships: a trained network's state dict in numbers of 16 bits, with its stride.

Usage: publish_weights.py CHECKPOINT_OR_MODEL --output models/model.pt [--input-stride 2] [--modality-specific-scales 2]
           [--window X,Y,Z|whole] [--thresholds ET TC WT] [--expected FILE] [--cases FOLDER ...]

Beside them goes expected.json (metakd_monai.apps.predict.expectations), for what metakd predict says of a case: the
Dice of --expected, as scripts/evaluate_real.py writes it, and the ranges that the cases of the folders span, which
are to be as those of the training were. The same weights give the same bytes, so the same SHA-256: publish, evaluate,
publish again with --expected. Of these two parts, one that is not given stays as it is in an expected.json of the
same weights.
"""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from metakd_monai.apps.predict.appearance import Look, measure_look
from metakd_monai.apps.predict.expectations import FILE, merge_looks, read_expectations
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import write_json, write_safely
from metakd_monai.errors import UserError
from metakd_monai.inferers import WHOLE, Window
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import Region
from metakd_monai.weights.load import checksum, load_network, read_architecture, read_state, start_from

LARGEST = 25_000_000  # bytes


def convert(path: Path, stride: int | None, modality_specific_scales: int | None, window: Window = None) -> MetaKDUNet:
    """Return a network with given weights and another stride, modality-specific scales or window; None for theirs.

    With another stride the same window has other voxels.

    Raises:
        UserError: for fewer modality_specific_scales than the weights have: what differs cannot be shared.
    """
    state = read_state(path)
    arguments = read_architecture(state)
    found = arguments["modality_specific_scales"]
    modality_specific_scales = found if modality_specific_scales is None else modality_specific_scales
    if modality_specific_scales < found:
        raise UserError(
            f"{path}: modality_specific_scales {found} found; expected at most the {modality_specific_scales} asked for"
        )
    stride = stride or arguments["input_stride"]
    if arguments["window"] is not None:
        arguments["window"] = [length * stride // arguments["input_stride"] for length in arguments["window"]]
    network = start_from(
        MetaKDUNet(**{**arguments, "input_stride": stride, "modality_specific_scales": modality_specific_scales}),
        None,
        window,
    )
    shared_from = {name: source_of(name, modality_specific_scales, found) for name, _ in network.named_parameters()}
    network.load_state_dict(
        {name: state[source] for name, source in shared_from.items()} | dict(network.named_buffers())
    )
    return network


def source_of(name: str, modality_specific_scales: int, found: int) -> str:
    """Return where a parameter of a network with so many scales stands among weights that have ``found`` of them."""
    part, *rest = name.split(".")
    if part == "encoder":
        return ".".join([part, str(int(rest[0]) + modality_specific_scales - found), *rest[1:]])
    if part == "own" and int(rest[1]) >= found:
        return ".".join(["encoder", str(int(rest[1]) - found), *rest[2:]])
    return name


def move_thresholds(network: MetaKDUNet, thresholds: Sequence[float]) -> None:
    """Shift the logits of each region so that what had the given probability has 0.5 afterwards.

    Dice wants a voxel in the mask from about half the Dice on that can be had (Lipton et al. 2014, "Optimal
    Thresholding of Classifiers to Maximize F1 Measure"), which is below 0.5 where little of a region is found.

    Raises:
        UserError: for thresholds that are not between 0 and 1.
    """
    wrong = [value for value in thresholds if not 0 < value < 1]
    if wrong:
        raise UserError(f"thresholds: {wrong[0]} found; expected numbers between 0 and 1")
    with torch.no_grad():
        for head in network.heads:
            head.get_submodule("conv").get_parameter("bias").sub_(torch.tensor(thresholds).logit())


def pack(network: MetaKDUNet) -> bytes:
    """Return the file of a network's weights.

    Raises:
        UserError: for weights that are not finite in fp16, and for a file that is too large.
    """
    state = network.state_dict()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    spoilt = [name for name, value in halves.items() if not bool(value.isfinite().all())]
    if spoilt:
        raise UserError(f"weights: {spoilt[0]} is not finite in fp16; expected numbers within 65504")
    buffer = io.BytesIO()  # torch.save writes a file's own name into it
    torch.save(halves, buffer)
    size = buffer.tell()
    if size > LARGEST:
        raise UserError(f"weights: {size / 1e6:.1f} MB found; expected at most {LARGEST / 1e6:.0f} MB")
    return buffer.getvalue()


def publish(
    source: Path,
    output: Path,
    stride: int | None = None,
    modality_specific_scales: int | None = None,
    thresholds: Sequence[float] | None = None,
    window: Window = None,
) -> None:
    """Write the weights and say what they are."""
    network = convert(source, stride, modality_specific_scales, window)
    if thresholds is not None:
        move_thresholds(network, thresholds)
    content = pack(network)
    write_safely(output, lambda path: path.write_bytes(content))
    network = load_network(output)
    print(
        f"{output}: {len(content) / 1e6:.1f} MB, channels {network.channels}, input_stride {network.pooling},"
        f" modality_specific_scales {network.modality_specific_scales}, window {network.window or WHOLE}"
    )
    print(f"SHA-256 {checksum(output)}")


def publish_expectations(weights: Path, expected: Path | None, folders: Sequence[Path]) -> None:
    """Write ``expected.json`` beside weights.

    Raises:
        UserError: for a file that is none, or is about other weights, and for folders without cases.
    """
    path, sha256 = weights.with_name(FILE), checksum(weights)
    kept = read_json(path) if path.is_file() else {}
    content = kept if kept.get("weights_sha256") == sha256 else {}
    content["weights_sha256"] = sha256
    if expected is not None:
        found = read_json(expected)
        if found.get("weights_sha256") != sha256:
            raise UserError(f"{expected}: about the weights {found.get('weights_sha256')}; expected {sha256}")
        content |= {name: found[name] for name in ("cases", "subsets") if name in found}
    if folders:
        predictor = Predictor(weights)
        content["training"] = merge_looks(
            look_at(predictor.read(case)) for folder in folders for case in find_cases(folder)
        )
    write_json(path, content)
    read = read_expectations(weights, sha256)
    if read.note is not None:
        raise UserError(f"{path}: {read.note}; expected what metakd_monai.apps.predict.expectations describes")
    print(f"{path}: Dice of {len(read.subsets)} subsets on {len(read.measured_on)} cases, {len(read.ranges)} ranges")


def look_at(item: dict[str, Any]) -> Look:
    """Measure a case as the predictor has read it."""
    return measure_look(item["image"].as_tensor(), item["available"], item["image"].affine)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises UserError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: unreadable ({' '.join(str(error).split())[:100]}); expected JSON") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: no JSON object found; expected one")
    return content


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish; 1 when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="CHECKPOINT_OR_MODEL")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--input-stride", type=int, help="default: what the weights say")
    parser.add_argument(
        "--modality-specific-scales", type=int, help="give each modality copies of so many shared scales"
    )
    parser.add_argument("--window", help="that the weights are run on, X,Y,Z or whole; default: what they say")
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs=len(Region),
        metavar=tuple(region.name for region in Region),
        help="probabilities that become 0.5, the threshold of whoever uses the weights",
    )
    parser.add_argument("--expected", type=Path, help="measured Dice, see metakd_monai.apps.predict.expectations")
    parser.add_argument("--cases", type=Path, nargs="+", default=[], help="folders of cases as those of the training")
    options = parser.parse_args(arguments)
    try:
        given = (options.input_stride, options.modality_specific_scales, options.thresholds, options.window)
        publish(options.source, options.output, *given)
        if options.expected is not None or options.cases:
            publish_expectations(options.output, options.expected, options.cases)
    except (UserError, ValueError) as error:
        print(f"publish_weights: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
