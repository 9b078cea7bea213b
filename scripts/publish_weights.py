"""Write the weights that the bundle ships: a trained network's state dict in numbers of 16 bits, with its stride.

Usage: publish_weights.py CHECKPOINT_OR_MODEL --output models/model.pt [--input-stride 2]

The same weights give the same bytes, and so the same SHA-256.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from metakd_monai.files import write_safely
from metakd_monai.networks import MetaKDUNet
from metakd_monai.vocabulary import UserError
from metakd_monai.weights import checksum, load_network, read_architecture, read_state

LARGEST = 25_000_000  # bytes


def restride(state: dict[str, torch.Tensor], stride: int | None) -> MetaKDUNet:
    """Return a network with given weights and another input_stride; None for the one that they have."""
    arguments = read_architecture(state)
    network = MetaKDUNet(**{**arguments, "input_stride": stride or arguments["input_stride"]})
    without = {name: value for name, value in state.items() if name != "input_stride"}
    network.load_state_dict({**without, **dict(network.named_buffers())})
    return network


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


def publish(source: Path, output: Path, stride: int | None) -> None:
    """Write the weights and say what they are."""
    content = pack(restride(read_state(source), stride))
    write_safely(output, lambda path: path.write_bytes(content))
    network = load_network(output)
    print(f"{output}: {len(content) / 1e6:.1f} MB, channels {network.channels}, input_stride {network.pooling}")
    print(f"SHA-256 {checksum(output)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish; 1 when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="CHECKPOINT_OR_MODEL")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--input-stride", type=int, help="default: what the weights say")
    options = parser.parse_args(arguments)
    try:
        publish(options.source, options.output, options.input_stride)
    except (UserError, ValueError) as error:
        print(f"publish_weights: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
