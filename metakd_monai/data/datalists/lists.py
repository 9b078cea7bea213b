"""Datalists on disk, in the form of MONAI's ``load_decathlon_datalist``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metakd_monai.data.datalists.validation import EXPECTED, LISTS, check_datalist
from metakd_monai.data.files import read_json, write_json
from metakd_monai.errors import UserError

PARTS = ("training", "meta", "validation", "test", "testing")


def write_datalist(path: Path, datalist: Mapping[str, Any]) -> None:
    """Write a datalist; files below the folder of ``path`` are named relative to it, as MONAI's readers expect.

    Links are not resolved, because their targets may lack the name of a NIfTI file.
    """
    base = path.parent.resolve()

    def shorten(name: str) -> str:
        full = Path(name).parent.resolve() / Path(name).name
        return str(full.relative_to(base)) if full.is_relative_to(base) else str(full)

    lists = {part: [map_files(item, shorten) for item in datalist[part]] for part in LISTS}
    write_json(path, {**datalist, **lists})


def read_datalist(path: str | Path) -> dict[str, Any]:
    """Read a datalist, with absolute file names.

    Images with named sequences (``modalities``) are returned by sequence, others unchanged.

    Raises:
        UserError: when it is missing, not JSON, or not a datalist by ``check_datalist``.
    """
    content = check_datalist(read_json(path, EXPECTED), path)
    base = Path(path).resolve().parent
    lists = {
        part: [by_sequence(map_files(item, lambda name: str(base / name))) for item in content[part]] for part in LISTS
    }
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
    if isinstance(image, Mapping):
        files: dict[str, Any] = {"image": {name: change(file) for name, file in image.items()}}
    else:
        files = {"image": change(image) if isinstance(image, str) else [change(name) for name in image]}
    if item.get("label") is not None:
        files["label"] = change(item["label"])
    return {**item, **files}


def by_sequence(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item with its list of images by sequence, if it names the sequences."""
    rest = {name: value for name, value in item.items() if name != "modalities"}
    if isinstance(item["image"], list) and item.get("modalities") is not None:
        return {**rest, "image": dict(zip(item["modalities"], item["image"], strict=True))}
    return rest
