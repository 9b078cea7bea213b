"""``metakd doctor``."""

from __future__ import annotations

from collections.abc import Iterator

import click

PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "itk", "pytorch-ignite", "pillow", "jinja2", "matplotlib")
OWN, ABSENT = "metakd-monai", "not installed"
GIB = 2**30


@click.command()
def doctor() -> None:
    """Print what to paste into an issue: versions, devices, bf16, memory, extras, weights. No names, no paths."""
    for name, value in [*describe_software(), *describe_machine(), *describe_weights()]:
        click.echo(f"{name:<12} {value}")


def describe_software() -> Iterator[tuple[str, str]]:
    """Yield the versions of this package, Python, the packages that it needs, and its extras."""
    import platform
    from importlib.metadata import metadata

    from metakd_monai import __version__
    from metakd_monai.data.fingerprint import code_fingerprint

    yield OWN, f"{__version__}, code {code_fingerprint()[:12]}"
    yield "Python", f"{platform.python_version()}, {platform.platform()}"
    for name in PACKAGES:
        yield name, find_version(name)
    for extra in metadata(OWN).get_all("Provides-Extra") or []:
        names = list_requirements(extra)
        missing = [name for name in names if find_version(name) == ABSENT]
        if names:
            yield f"[{extra}]", f"without {', '.join(missing)}" if missing else "installed"


def find_version(name: str) -> str:
    """Return the version of an installed distribution."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return ABSENT


def list_requirements(extra: str) -> list[str]:
    """Return the packages of an extra, without those of the extras that it includes."""
    import re
    from importlib.metadata import requires

    marked = [text for text in requires(OWN) or [] if re.search(rf"extra == ['\"]{extra}['\"]", text)]
    names = [re.split(r"[^\w.-]", text)[0] for text in marked]
    return [name for name in names if name != OWN]


def describe_machine() -> Iterator[tuple[str, str]]:
    """Yield the machine's processors, GPUs, precision and memory."""
    import os

    import torch

    from metakd_monai.data.memory_limit import free_memory
    from metakd_monai.inferers.precision import has_bf16

    yield "CPU", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    yield "memory", f"{free_memory() / GIB:.1f} GiB free"
    yield "CUDA", describe_cuda()
    yield "MPS", "yes" if torch.backends.mps.is_available() else "no"
    devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    yield "bf16", ", ".join(f"{device}: {'yes' if has_bf16(torch.device(device)) else 'no'}" for device in devices)


def describe_cuda() -> str:
    """Return the GPUs."""
    import torch

    if not torch.cuda.is_available():
        return "no"
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return f"{torch.version.cuda}: " + "; ".join(f"{one.name}, {one.total_memory / GIB:.0f} GiB" for one in found)


def describe_weights() -> Iterator[tuple[str, str]]:
    """Yield the weights that metakd predict uses by default, and their companion files."""
    from metakd_monai.apps.predict.expectations import read_expectations
    from metakd_monai.data.files import checksum
    from metakd_monai.errors import UserError
    from metakd_monai.weights.locate import find_weights

    try:
        path = find_weights(None)
    except UserError as error:
        yield "weights", str(error)
        return
    sha256 = checksum(path)
    yield "weights", f"{path.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256}"
    found = read_expectations(path, sha256)
    yield "expectations", found.note or f"{found.measured}; post-processing {found.postprocessing}"
