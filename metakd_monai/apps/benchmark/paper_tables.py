"""Published tables, and those of the paper as data (Wang et al., Modality-Weighted Knowledge Distillation).

The column ``doubt`` says what is wrong with a value: it repeats another row, is impossible, or was not printed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from metakd_monai.apps.benchmark.subset_tables import SUBSET_NAMES, Means
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import REGION_NAMES, name_subset, parse_modalities

PAPER = "paper:"  # before the name of a table
FOLDER = Path(__file__).parent / "paper"
PAPER_COLUMNS = ("modalities", "region", "method", "dice_percent")


def find_table(name: str) -> Path:
    """Return the file of one of the paper's tables.

    Args:
        name: such as ``"paper:table1"``.

    Raises:
        UserError: for an unknown name.
    """
    known = {path.name.split("_")[0]: path for path in sorted(FOLDER.glob("*.csv"))}
    word = name.removeprefix(PAPER)
    if word not in known:
        raise UserError(f"{name}: no table of the paper; expected {PAPER}{f', {PAPER}'.join(known)}")
    return known[word]


def read_published(
    path: Path, rows: Sequence[Mapping[str, str]], method: str
) -> tuple[Means, dict[tuple[str, str], str]]:
    """Return one method's Dice in % from the rows of a published table, and doubts; ``nan`` if not printed."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    if method not in methods:
        raise UserError(f"{path}: no method {method!r}; expected one of {', '.join(methods)}")
    mine = {(read_subset(path, row["modalities"]), row["region"]): row for row in rows if row["method"] == method}
    doubts = {key: row["doubt"] for key, row in mine.items() if row.get("doubt")}
    unprinted = {key for key in doubts if not mine[key]["dice_percent"]}
    means = {key: math.nan if key in unprinted else float(row["dice_percent"]) for key, row in mine.items()}
    check_whole(path, means, unprinted)
    return means, doubts


def read_subset(path: Path, cell: str) -> str:
    """Return the name of the subset that a cell such as ``flair+t1`` spells; raises UserError if it spells none."""
    try:
        return name_subset(parse_modalities(cell.split("+")))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def check_whole(path: Path, means: Means, unprinted: Set[tuple[str, str]]) -> None:
    """Raise UserError for a published table that was cut short, or has a value not from 0 to 100.

    Args:
        path: of the table.
        means: Dice in % by subset and region.
        unprinted: subsets and regions that the table leaves empty for a stated reason.
    """
    wanted = [(subset, region) for subset in SUBSET_NAMES for region in REGION_NAMES]
    absent = [key for key in wanted if key not in unprinted and not 0 <= means.get(key, -1) <= 100]
    if absent:
        subset, region = absent[0]
        raise UserError(
            f"{path}: {len(absent)} of {len(wanted)} values missing or not from 0 to 100, such as {region} of {subset};"
            " expected the 15 subsets with ET, TC and WT"
        )
