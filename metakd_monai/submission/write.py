"""The upload: a zip file or a folder of label maps, and a manifest beside it that records what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from metakd_monai import __version__
from metakd_monai.files import write_json, write_safely
from metakd_monai.submission.check import Submission, examine_submission
from metakd_monai.vocabulary import UserError

ZIP_SUFFIX = ".zip"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can tell
UNIX, READABLE = 3, 0o100644 << 16  # what wrote an entry and its permissions, the same on every system


def write_submission(
    predictions: str | Path,
    inputs: str | Path,
    year: str,
    output: str | Path,
    force: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Submission:
    """Check predictions and pack them for upload; nothing is written when something is wrong.

    Args:
        predictions: folder of ``<case>.nii.gz``.
        inputs: folder of the cases that were segmented.
        year: see :func:`~metakd_monai.submission.check.examine_submission`.
        output: a ``.zip`` file (Synapse), or else a folder of copies (CBICA IPP, where files are uploaded one by one).
            ``<output>_manifest.json`` is written beside it.
        force: write what is there even when something is wrong; under the names that it has.
        overwrite: replace an earlier upload.
        progress: show a bar on a terminal.

    Returns:
        What was found; its ``written`` is empty when nothing was written.

    Raises:
        UserError: for unusable arguments, and when the place cannot be written to.
    """
    place = Path(output)
    check_place(place, overwrite)
    submission = examine_submission(predictions, inputs, year, progress)
    if submission.problems and not force:
        return submission
    checksums = (write_zip if is_zip(place) else write_folder)(place, submission.files)
    manifest = manifest_path(place)
    write_json(
        manifest,
        {
            "version": __version__,
            "year": submission.year.name,
            "predictions": str(submission.predictions),
            "inputs": str(submission.inputs),
            "count": len(checksums),
            "expected": submission.expected,
            "official": submission.year.validation_cases,
            "files": checksums,
            "forced": bool(submission.problems),
            "problems": list(submission.problems),
            "notes": list(submission.notes),
        },
    )
    return replace(submission, written=(place, manifest))


def is_zip(output: Path) -> bool:
    """Tell whether an output is to be a zip file."""
    return output.suffix.lower() == ZIP_SUFFIX


def manifest_path(output: Path) -> Path:
    """Return where the manifest of an upload is written."""
    name = output.stem if is_zip(output) else output.name
    return output.with_name(f"{name}_manifest.json")


def check_place(output: Path, overwrite: bool) -> None:
    """Refuse a place that holds something else than an earlier upload; raises UserError."""
    if not output.name:
        raise UserError(f"output: {str(output)!r} found; expected a .zip file or a folder of its own")
    if not output.exists():
        return
    if output.is_dir() == is_zip(output):
        what = "folder" if output.is_dir() else "file"
        raise UserError(f"{output}: a {what} is there; expected a file for names that end in .zip, else a folder")
    if output.is_dir():
        check_folder(output, overwrite)
    elif not overwrite:
        raise UserError(f"{output}: exists; expected --overwrite")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise UserError for a folder that is not empty, or with ``overwrite`` one that its manifest does not know."""
    names = {path.name for path in folder.iterdir()}
    if names and not overwrite:
        raise UserError(f"{folder}: holds {len(names)} files; expected an empty folder, or --overwrite")
    strange = sorted(names - read_manifest_files(folder))
    if strange:
        raise UserError(
            f"{folder}: holds {strange[0]!r}, which {manifest_path(folder).name} does not list; expected the folder of"
            " an earlier submission, or an empty one"
        )


def read_manifest_files(output: Path) -> set[str]:
    """Return the names that an earlier upload's manifest lists; none when there is no such manifest."""
    try:
        return set(json.loads(manifest_path(output).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def write_zip(output: Path, files: Iterable[Path]) -> dict[str, str]:
    """Write a flat zip file, whose bytes depend on the files alone; return the SHA-256 of each file.

    The entries are stored: ``.nii.gz`` is compressed already.
    """
    checksums: dict[str, str] = {}

    def fill(temporary: Path) -> None:
        with ZipFile(temporary, "w", ZIP_STORED) as archive:
            for path in files:
                entry = ZipInfo(path.name, EPOCH)
                entry.create_system, entry.external_attr = UNIX, READABLE
                checksums[path.name] = copy(path, partial(archive.writestr, entry))

    write_safely(output, fill)
    return checksums


def write_folder(output: Path, files: Iterable[Path]) -> dict[str, str]:
    """Write a folder of copies, replacing the one that is there; return the SHA-256 of each file."""
    checksums: dict[str, str] = {}
    before = output.with_name(f".{os.getpid()}.{output.name}.before")

    def fill(temporary: Path) -> None:
        try:
            temporary.mkdir()
            for path in files:
                checksums[path.name] = copy(path, (temporary / path.name).write_bytes)
            if output.exists():
                os.replace(output, before)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    write_safely(output, fill)
    shutil.rmtree(before, ignore_errors=True)
    return checksums


def copy(path: Path, write: Callable[[bytes], object]) -> str:
    """Hand a file's bytes on and return their SHA-256."""
    content = path.read_bytes()
    write(content)
    return hashlib.sha256(content).hexdigest()
