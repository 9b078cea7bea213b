"""``metakd export``."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from metakd_monai.cli.base import choice_option

# Repeated here: the module that writes them imports PyTorch, and --help has to be fast.
FORMATS = {"torchscript": ".ts", "onnx": ".onnx", "torch-export": ".pt2", "tensorrt": ".ts"}


@click.command()
@choice_option("--format", list(FORMATS), "torchscript", "What to write; tensorrt on a machine with a GPU only.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights (model.pt); default the bundle's.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; default the weights' name with .ts, .onnx or .pt2; of the bundle's, in the current folder.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the bundle whose configuration goes into TorchScript; default: the current folder if it is a"
    " bundle, else the installed one.",
)
def export(format: str, weights: Path | None, output: Path | None, bundle: Path | None) -> None:
    """Export a trained network to a format that runs without this package.

    metakd predict --weights accepts TorchScript and ONNX like model.pt. TorchScript and torch.export files are
    programs: loading one runs its code.
    """
    from metakd_monai.bundle.root import bundle_root
    from metakd_monai.errors import UserError
    from metakd_monai.weights.exports.write_export import export_network
    from metakd_monai.weights.locate import find_weights

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # warns that torchvision is missing, which is unneeded
    source = find_weights(weights)
    beside = Path(source.name) if weights is None else source  # never write into an installed package
    target = output or beside.with_suffix(FORMATS[format])
    if target.suffix != FORMATS[format]:
        meant = next((name for name, end in FORMATS.items() if end == target.suffix), None)
        hint = f", or --format {meant}" if meant else ""
        raise UserError(f"output: {target} found; expected a name that ends with {FORMATS[format]}{hint}")
    export_network(source, target, format, bundle or bundle_root())
    click.echo(f"{format}: {target} ({target.stat().st_size / 2**20:.1f} MiB)")
