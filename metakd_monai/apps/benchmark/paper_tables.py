"""The tables of the paper as data. Source: Wang et al., "Meta-Learned Modality-Weighted Knowledge Distillation".

A column ``doubt`` says what is wrong with a value: one that repeats another row, that cannot be, or was not printed.
"""

from __future__ import annotations

from pathlib import Path

from metakd_monai.errors import UserError

PAPER = "paper:"  # before the name of a table
FOLDER = Path(__file__).parent / "paper"


def find_table(name: str) -> Path:
    """Return the file of one of the paper's tables.

    Args:
        name: such as ``"paper:table1"``.

    Raises:
        UserError: for another name.
    """
    known = {path.name.split("_")[0]: path for path in sorted(FOLDER.glob("*.csv"))}
    word = name.removeprefix(PAPER)
    if word not in known:
        raise UserError(f"{name}: no table of the paper; expected {PAPER}{f', {PAPER}'.join(known)}")
    return known[word]
