"""A site's own names: a table from patterns of file names to sequences, in TOML or JSON."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metakd_monai.data.cases.sequences import NIFTI
from metakd_monai.data.files import read_json, read_toml
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.vocabulary import MODALITY_NAMES, MODALITY_TOKENS, Modality

EXPECTED = 'a table of names in TOML or JSON, such as "*_spc_*" = "flair"'
LABEL, NONE = "label", "none"  # a file may also be the tumour's segmentation, or unused


@dataclass(frozen=True)
class NameTable:
    """Patterns of file names (``*``, ``?``, ``[...]``; case-insensitive), and what they stand for.

    Attributes:
        rules: pattern, and a sequence, ``"label"`` or ``"none"``; the first match counts.
    """

    rules: tuple[tuple[str, Modality | str], ...] = ()

    def look_up(self, name: str) -> tuple[Modality | str, int] | None:
        """Return what a file is, and where the case's part of its name ends; None if no pattern matches."""
        low, stem = name.lower(), NIFTI.sub("", name).lower()
        for pattern, target in self.rules:
            if fnmatch.fnmatchcase(low, pattern.lower()) or fnmatch.fnmatchcase(stem, pattern.lower()):
                return target, end_of_case(stem, pattern.lower())
        return None


def end_of_case(stem: str, pattern: str) -> int:
    """Return where in a name the first literal letters of a pattern stand, after the text of its leading ``*``."""
    if not pattern.startswith("*"):
        return 0
    letters = ""
    for letter in NIFTI.sub("", pattern).lstrip("*"):
        if letter in "*?[":
            break
        letters += letter
    return max(stem.rfind(letters), 0)


def read_name_table(path: str | Path) -> NameTable:
    """Read a table of names.

    Raises:
        UserError: if it is missing, unreadable, not such a table, or names an unknown sequence.
    """
    content = read_json(path, EXPECTED) if Path(path).suffix.lower() == ".json" else read_toml(path, EXPECTED)
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path}: no table found; expected {EXPECTED}")
    return NameTable(tuple((pattern, parse_target(path, pattern, content[pattern])) for pattern in content))


def parse_target(path: str | Path, pattern: str, value: Any) -> Modality | str:
    """Return what a pattern stands for; raises UserError for an unknown word."""
    word = value.lower() if isinstance(value, str) else None
    if word in (LABEL, NONE):
        return word
    if word in MODALITY_TOKENS:
        return MODALITY_TOKENS[word]
    expected = ", ".join((*MODALITY_NAMES, LABEL, NONE))
    raise UserError(f"{path}: {pattern!r} is {in_one_line(repr(value), 60)}; expected one of {expected}")
