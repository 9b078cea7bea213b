"""Datalists on disk, in the form of MONAI's ``load_decathlon_datalist``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metakd_monai.files import write_json
from metakd_monai.vocabulary import UserError

LISTS = ("training", "meta", "test", "testing")
PARTS = ("training", "meta", "validation", "test", "testing")


def write_datalist(path: Path, datalist: Mapping[str, Any]) -> None:
    """Write a datalist; files below the folder of ``path`` are named relative to it, as MONAI's readers expect.

    Links to files are not followed: what they point to need not be named as a NIfTI file.
    """
    base = path.parent.resolve()

    def shorten(name: str) -> str:
        full = Path(name).parent.resolve() / Path(name).name
        return str(full.relative_to(base)) if full.is_relative_to(base) else str(full)

    lists = {part: [map_files(item, shorten) for item in datalist[part]] for part in LISTS}
    write_json(path, {**datalist, **lists})


def read_datalist(path: str | Path) -> dict[str, Any]:
    """Read a datalist, with absolute file names.

    Raises:
        UserError: when it is missing, no JSON, or lacks a list.
    """
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a datalist made by 'metakd datalist'") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: unreadable ({error}); expected a datalist made by 'metakd datalist'") from None
    absent = [part for part in LISTS if not isinstance(content, dict) or part not in content]
    if absent:
        raise UserError(f"{path}: no list {absent[0]!r}; expected a datalist made by 'metakd datalist'")
    base = Path(path).resolve().parent
    lists = {part: [map_files(item, lambda name: str(base / name)) for item in content[part]] for part in LISTS}
    return {**content, **lists}


def datalist_part(path: str | Path, part: str, fold: int = 0) -> list[dict[str, Any]]:
    """Return one part's items: ``training``, ``meta``, ``validation``, ``test`` or ``testing`` (no labels).

    Raises:
        UserError: for an unknown part or fold, or a datalist that cannot be read.
    """
    if part not in PARTS:
        raise UserError(f"part: {part!r} found; expected one of {', '.join(PARTS)}")
    datalist = read_datalist(path)
    if part not in ("training", "validation"):
        items: list[dict[str, Any]] = datalist[part]
        return items
    folds = sorted({item["fold"] for item in datalist["training"]})
    if not folds:
        raise UserError(f"{path}: no training cases; expected a datalist of cases with label maps")
    if fold not in folds:
        raise UserError(f"fold: {fold} found; expected one of {', '.join(map(str, folds))} as in {path}")
    return [item for item in datalist["training"] if (item["fold"] == fold) == (part == "validation")]


def map_files(item: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return an item with each file name changed."""
    image = item["image"]
    files: dict[str, Any] = {"image": change(image) if isinstance(image, str) else [change(name) for name in image]}
    if "label" in item:
        files["label"] = change(item["label"])
    return {**item, **files}
