"""Validation of untrusted datalists: every field is checked before any is used."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metakd_monai.data.cases import check_case_id
from metakd_monai.data.years import YEARS
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.vocabulary import MODALITY_NAMES, MODALITY_TOKENS, Modality

LISTS = ("training", "meta", "test", "testing")
LABELLED = ("training", "meta")
TEXTS = ("patient", "grade", "year")  # fields that an entry may have
EXPECTED = "a datalist made by 'metakd datalist'"


def check_datalist(content: Any, path: str | Path) -> dict[str, Any]:
    """Return the content of a file if it is a valid datalist.

    Args:
        content: as read from JSON.
        path: of the file, for messages; files are named relative to its folder.

    Raises:
        UserError: for a missing list, or an entry with a missing field, a field of a wrong type, an invalid case name,
            or a file that is a pipe, a device or a folder. It names the entry, as ``training[3].image``.
    """
    absent = [part for part in LISTS if not isinstance(content, dict) or part not in content]
    if absent:
        raise UserError(f"{path}: no list {absent[0]!r}; expected {EXPECTED}")
    base = Path(path).resolve().parent
    for part in LISTS:
        if not isinstance(content[part], list):
            raise UserError(f"{path}: {part} is {show(content[part])}; expected a list")
        for number, item in enumerate(content[part]):
            try:
                check_item(item, part, base)
            except UserError as error:
                raise UserError(f"{path}: {part}[{number}]{error}") from None
    return dict(content)


def check_item(item: Any, part: str, base: Path) -> None:
    """Check one entry; raises UserError, whose text follows the entry's name in a message."""
    if not isinstance(item, Mapping):
        raise UserError(f" is {show(item)}; expected an entry with image, case_id and so on")
    needed = ["image", "case_id", *(["label"] if part in LABELLED else []), *(["fold"] if part == "training" else [])]
    for name in needed:
        if item.get(name) is None:
            raise UserError(f".{name} is missing; expected one")
    check_case_id(item["case_id"], ".case_id")
    check_images(item["image"], item.get("modalities"), base)
    if item.get("label") is not None:
        check_file(item["label"], ".label", base)
    check_texts(item)
    fold = item.get("fold", 0)
    if isinstance(fold, bool) or not isinstance(fold, int) or fold < 0:
        raise UserError(f".fold is {show(fold)}; expected an integer of 0 or more")


def check_texts(item: Mapping[str, Any]) -> None:
    """Check the text fields of an entry; raises UserError like :func:`check_item`."""
    for name in TEXTS:
        value = item.get(name)
        if value is not None and (not isinstance(value, str) or "\0" in value or not is_utf8(value)):
            raise UserError(f".{name} is {show(value)}; expected text")
    if item.get("year") not in (None, *YEARS):
        raise UserError(f".year is {show(item['year'])}; expected one of {', '.join(YEARS)}")


def is_utf8(text: str) -> bool:
    """Tell whether text can be encoded as UTF-8: JSON may hold lone surrogates."""
    return text.encode(errors="ignore").decode() == text


def check_images(image: Any, modalities: Any, base: Path) -> None:
    """Check the images of an entry: one file of four channels, a list of files, or files by sequence."""
    files = list_images(image)
    if not 0 < len(files) <= len(Modality):
        raise UserError(f".image is {show(image)}; expected one file, or 1 to {len(Modality)} files")
    for file in files:
        check_file(file, ".image", base, folder=image is file)
    named = list(image) if isinstance(image, Mapping) else modalities
    if named is None:
        return
    if not isinstance(named, list) or len(named) != len(files) or not all(isinstance(name, str) for name in named):
        raise UserError(f".modalities is {show(named)}; expected the sequence of each of the {len(files)} files")
    known = [MODALITY_TOKENS.get(name.lower()) for name in named]
    if None in known or len(set(known)) < len(known):
        raise UserError(f".modalities is {show(named)}; expected some of {', '.join(MODALITY_NAMES)}, each once")


def check_file(name: Any, where: str, base: Path, folder: bool = False) -> None:
    """Check a file name. A missing file is reported later, when its case is used, so that other cases can be done.

    Args:
        name: of the file.
        where: the field, for messages.
        base: folder that it is relative to.
        folder: whether it may be the folder of a case.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise UserError(f"{where} is {show(name)}; expected the name of a file")
    try:
        mode = os.stat(base / name).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # too long, not UTF-8, no permission
        raise UserError(f"{where} is {show(name)} ({in_one_line(error, 60)}); expected the name of a file") from None
    if not stat.S_ISREG(mode) and not (folder and stat.S_ISDIR(mode)):
        raise UserError(f"{where} is {show(name)}, a folder, a pipe or a device; expected a file")


def list_images(image: Any) -> list[Any]:
    """Return the files of an entry's image, in any of its forms."""
    if isinstance(image, Mapping):
        return list(image.values())
    return image if isinstance(image, list) else [image]


def refuse_missing(items: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Raise UserError if files in a datalist do not exist; it names the first.

    Args:
        items: with absolute file names, as :func:`~metakd_monai.data.datalists.datalist_part` returns them.
        path: of the datalist, for the message.
    """
    files = [file for item in items for file in (*list_images(item["image"]), item.get("label")) if file is not None]
    missing = [file for file in files if not Path(file).exists()]
    if missing:
        raise UserError(f"{path}: {len(missing)} of {len(files)} files do not exist, the first is {missing[0]}")


def show(value: Any) -> str:
    """Return a JSON value for a message, in printable characters."""
    return in_one_line(ascii(value), 60)
