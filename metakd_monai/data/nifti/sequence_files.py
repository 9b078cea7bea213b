"""Read the sequences of one case, on one grid, and its label map."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metakd_monai.data.memory_limit import check_volume
from metakd_monai.data.nifti.grid import check_grid
from metakd_monai.data.nifti.header import AXES, NiftiFile, read_nifti
from metakd_monai.data.nifti.values import check_image, clear_background
from metakd_monai.data.nifti.voxels import read_labels, read_voxels, verify_voxels
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality


@dataclass(frozen=True)
class Sequences:
    """The sequences read of a case.

    Attributes:
        stack: ``(N, *S)`` float32, a channel for each modality, 0 outside the brain and in absent modalities.
        present: the available modalities.
        affine: ``(4, 4)``.
        where: the file that defines the grid, or a name given by the caller.
        note: a line for the user on what was changed; empty if nothing was.
    """

    stack: np.ndarray
    present: Collection[Modality]
    affine: Any
    where: str
    note: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return self.stack.shape[1:]

    @property
    def channels(self) -> dict[Modality, np.ndarray]:
        """The present modalities' images, each ``(*S)``."""
        return {m: image for m, image in zip(Modality, self.stack, strict=True) if m in self.present}


AHEAD: dict[Hashable, Future[Sequences]] = {}  # reading in progress, by name_reading


def read_sequences(
    files: Mapping[Modality, Path] | Path,
    modalities: Collection[Modality] = tuple(Modality),
    memory_limit: float | None = None,
) -> Sequences:
    """Read the sequences of a case, all files in parallel; all must be on one grid.

    Args:
        files: by modality; or one 4-D file with a channel for each modality, see :func:`split_channels`.
        modalities: use only these.
        memory_limit: GiB for the process, which must suffice for the case; None for the free memory.

    Raises:
        UserError: for a missing, damaged, constant or non-finite file, for sequences on different grids, a 4-D file
            with a wrong number of channels, too large a volume, and if no modality is left.
    """
    ahead = AHEAD.pop(name_reading(files, modalities), None)
    if ahead is None:
        return read_now(files, modalities, memory_limit)
    found = ahead.result()
    check_volume(found.where, math.prod(found.shape), memory_limit)
    return found


def read_ahead(files: Mapping[Modality, Path] | Path, modalities: Collection[Modality] = tuple(Modality)) -> None:
    """Start reading a case that :func:`read_sequences` will return later, or raise its error.

    A thread reads it while this one is busy, for example importing PyTorch.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    AHEAD[name_reading(files, modalities)] = pool.submit(read_now, files, modalities)
    pool.shutdown(wait=False)


def name_reading(files: Mapping[Modality, Path] | Path, modalities: Collection[Modality]) -> Hashable:
    """Return a key that identifies a reading."""
    return frozenset(files.items()) if isinstance(files, Mapping) else files, frozenset(modalities)


def read_now(
    files: Mapping[Modality, Path] | Path, modalities: Collection[Modality], memory_limit: float | None = None
) -> Sequences:
    """Read the sequences of a case; see :func:`read_sequences`."""
    if not isinstance(files, Mapping):
        return read_stack(check_stack(read_nifti(files)), modalities, memory_limit)
    headers = read_headers(files, modalities)
    first = next(iter(headers.values()))
    check_volume(first.path, math.prod(first.shape), memory_limit)

    stack = new_stack(first.shape)
    channels = dict(zip(Modality, stack, strict=True))

    def read(modality: Modality) -> str | None:
        file, channel = headers[modality], channels[modality]
        read_voxels(file.path, file, channel)
        return prepare(file.path, channel, modality.value)

    return collect(stack, dict(zip(headers, at_once(read, headers), strict=True)), first.affine, str(first.path))


def verify_sequences(files: Mapping[Modality, Path] | Path) -> NiftiFile:
    """Check the headers of a case's sequences, and read each file to its end without keeping a voxel.

    Args:
        files: see :func:`read_sequences`.

    Returns:
        The header of the first file.

    Raises:
        UserError: for a missing or damaged file, and sequences on different grids; values are not checked.
    """
    headers = list(read_headers(files).values()) if isinstance(files, Mapping) else [check_stack(read_nifti(files))]
    at_once(verify_voxels, headers)
    return headers[0]


def read_headers(
    files: Mapping[Modality, Path], modalities: Collection[Modality] = tuple(Modality)
) -> dict[Modality, NiftiFile]:
    """Return the headers of a case's sequences, which are on one grid; see :func:`read_sequences`."""
    headers = {m: read_nifti(files[m]) for m in modalities if m in files}
    if not headers:
        raise none_left(next(iter(files.values())), modalities)
    first = next(iter(headers.values()))
    for file in headers.values():
        check_grid(
            file.path,
            file.shape,
            file.affine,
            first.shape,
            first.affine,
            "the case's other modalities (metakd predict --raw registers raw series)",
        )
    return headers


def check_stack(file: NiftiFile) -> NiftiFile:
    """Return the header of a 4-D file; raises UserError unless it has a channel for each modality."""
    if len(file.shape) != AXES + 1 or file.shape[-1] != len(Modality):
        names = ", ".join(m.value for m in Modality)
        raise UserError(
            f"{file.path}: shape {file.shape}; expected a 4-D file with {len(Modality)} channels ({names}),"
            " or a folder with one file for each modality"
        )
    return file


def read_stack(file: NiftiFile, modalities: Collection[Modality], memory_limit: float | None) -> Sequences:
    """Read a 4-D file; see :func:`read_sequences`."""
    check_volume(file.path, math.prod(file.shape[:AXES]), memory_limit)
    voxels = np.moveaxis(read_voxels(file.path, file), -1, 0)
    return split_channels(voxels, file.affine, str(file.path), modalities)


def at_once(function: Callable[[Any], Any], sequences: Iterable[Any]) -> list[Any]:
    """Apply a function to each of a case's sequences in parallel threads, for work that releases the GIL."""
    with ThreadPoolExecutor(len(Modality)) as pool:
        return list(pool.map(function, sequences))


def split_channels(
    voxels: np.ndarray, affine: Any, where: str, modalities: Collection[Modality] = tuple(Modality)
) -> Sequences:
    """Split ``(N, *S)`` into the present channels: those that are not all 0 or NaN.

    Args:
        voxels: a channel for each modality, in channel order.
        affine: ``(4, 4)``.
        where: for messages.
        modalities: use only these.

    Raises:
        UserError: for a wrong number of channels, a constant or non-finite channel, and if no channel is left.
    """
    if len(voxels) != len(Modality):
        names = ", ".join(m.value for m in Modality)
        raise UserError(f"{where}: shape {voxels.shape}; expected {len(Modality)} channels first ({names})")
    stack, backgrounds = new_stack(voxels.shape[1:]), {}
    for number, modality in enumerate(Modality):
        channel = voxels[number]
        if modality in modalities and ((channel != 0) & ~np.isnan(channel)).any():
            stack[number] = channel
            backgrounds[modality] = prepare(where, stack[number], f"channel {number} ({modality.value})")
    if not backgrounds:
        raise none_left(where, modalities)
    return collect(stack, backgrounds, affine, where)


def new_stack(shape: Sequence[int]) -> np.ndarray:
    """Return zeros ``(N, *S)`` float32, with the first spatial axis contiguous in memory, as in a NIfTI file."""
    return np.zeros((len(Modality), *reversed(shape)), np.float32).transpose(0, *range(len(shape), 0, -1))


def prepare(where: str | Path, voxels: np.ndarray, what: str) -> str | None:
    """Check a sequence ``(*S)`` and set its background to 0 in place; return the old background if not 0."""
    cleared, background = clear_background(voxels)
    check_image(where, cleared, what)
    if background is not None:
        voxels[...] = cleared
    return background


def collect(stack: np.ndarray, backgrounds: Mapping[Modality, str | None], affine: Any, where: str) -> Sequences:
    """Combine the sequences and their backgrounds, as :func:`prepare` returned them."""
    found = ", ".join(f"{modality.value} {background}" for modality, background in backgrounds.items() if background)
    note = f"background of {found} found; taken for the outside of the brain and set to 0" if found else ""
    return Sequences(stack, tuple(backgrounds), affine, where, note)


def none_left(where: str | Path, modalities: Collection[Modality]) -> UserError:
    """Return the error for a case without any of the requested modalities."""
    return UserError(f"{where}: no modality left; expected at least one of {', '.join(m.value for m in modalities)}")


def read_label_of(path: str | Path, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Read the label map of images with this shape and affine, ``(*S)`` uint8.

    Raises:
        UserError: for what :func:`~metakd_monai.data.nifti.read_labels` refuses, and a map on another grid.
    """
    file = read_nifti(path)
    check_grid(path, file.shape, file.affine, shape, affine, "the images of its case")
    return read_labels(path, file)
