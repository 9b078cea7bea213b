"""The upload: a zip file or a folder of label maps, and a manifest beside it that records what is in it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from metakd_monai import __version__
from metakd_monai.apps.submission.check import Submission, examine_submission
from metakd_monai.data.files import read_json, write_json, write_safely
from metakd_monai.data.temporaries import refuse_folders, remove_temporaries, temporary_of
from metakd_monai.errors import UserError

ZIP_SUFFIX = ".zip"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can store
Record = Callable[[Mapping[str, str]], None]  # writes the manifest, given the SHA-256 of each file
UNIX, READABLE = 3, 0o100644 << 16  # system and permissions of an entry, the same everywhere


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
        year: see :func:`~metakd_monai.apps.submission.check.examine_submission`.
        output: a ``.zip`` file (Synapse), or else a folder of copies (CBICA IPP, where files are uploaded one by one).
            ``<output>_manifest.json`` is written beside it.
        force: write the files even if something is wrong, under their present names.
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
    manifest = manifest_path(place)

    def record(checksums: Mapping[str, str]) -> None:
        write_json(manifest, describe(submission, checksums))

    (write_zip if is_zip(place) else write_folder)(place, submission.files, record)
    return replace(submission, written=(place, manifest))


def describe(submission: Submission, checksums: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of an upload, ready for JSON."""
    return {
        "version": __version__,
        "year": submission.year.name,
        "predictions": str(submission.predictions),
        "inputs": str(submission.inputs),
        "count": len(checksums),
        "expected": submission.expected,
        "official": submission.year.validation_cases,
        "files": dict(checksums),
        "forced": bool(submission.problems),
        "problems": list(submission.problems),
        "notes": list(submission.notes),
    }


def is_zip(output: Path) -> bool:
    """Tell whether an output is to be a zip file."""
    return output.suffix.lower() == ZIP_SUFFIX


def manifest_path(output: Path) -> Path:
    """Return where the manifest of an upload is written."""
    name = output.stem if is_zip(output) else output.name
    return output.with_name(f"{name}_manifest.json")


def check_place(output: Path, overwrite: bool) -> None:
    """Raise UserError if the output exists and is not an earlier upload."""
    if not output.name:
        raise UserError(f"output: {str(output)!r} found; expected a .zip file or a folder of its own")
    refuse_folders(manifest_path(output))
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
    """Raise UserError for a folder that is not empty, or with ``overwrite``, that has files not in its manifest."""
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
        found = read_json(manifest_path(output), "the manifest of an earlier submission")
    except UserError:
        return set()
    files = found.get("files") if isinstance(found, dict) else None
    return set(files) if isinstance(files, dict) else set()


def write_zip(output: Path, files: Iterable[Path], record: Record) -> None:
    """Write a flat zip file, whose bytes depend on the files alone, after its manifest.

    The entries are stored: ``.nii.gz`` is compressed already.
    """

    def fill(temporary: Path) -> None:
        with ZipFile(temporary, "w", ZIP_STORED) as archive:
            checksums = {}
            for path in files:
                entry = ZipInfo(path.name, EPOCH)
                entry.create_system, entry.external_attr = UNIX, READABLE
                checksums[path.name] = copy(path, partial(archive.writestr, entry))
        record(checksums)

    write_safely(output, fill)


def write_folder(output: Path, files: Iterable[Path], record: Record) -> None:
    """Write a folder of copies after its manifest, replacing an existing one."""
    before = output.with_name(f"{temporary_of(output).name}.before")

    def fill(temporary: Path) -> None:
        temporary.mkdir()
        checksums = {path.name: copy(path, (temporary / path.name).write_bytes) for path in files}
        if output.exists():
            os.replace(output, before)
        record(checksums)

    try:
        write_safely(output, fill)
    except BaseException:
        if before.exists():
            os.replace(before, output)
        raise
    finally:
        for left in (before, temporary_of(output)):
            shutil.rmtree(left, ignore_errors=True)
    remove_temporaries(output.parent, [output.name], folders=True)


def copy(path: Path, write: Callable[[bytes], object]) -> str:
    """Hand a file's bytes on and return their SHA-256."""
    content = path.read_bytes()
    write(content)
    return hashlib.sha256(content).hexdigest()
