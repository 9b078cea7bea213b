"""Which cases to score: a part of a datalist, or the labelled cases of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metakd_monai.data.cases import Case, check_case_id, find_labelled
from metakd_monai.data.datalists import datalist_part, read_datalist
from metakd_monai.errors import UserError

Items = Sequence[Mapping[str, Any]]
PARTS = ("test", "validation")


def choose_items(
    folder: str | Path, datalist: str | Path | None = None, part: str | None = None, fold: int = 0
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the cases to score, as entries of a MONAI datalist, and where they come from, for the record.

    Args:
        folder: folder of cases; the labelled ones are scored. Not used with a datalist.
        datalist: made by ``metakd datalist``.
        part: of the datalist, ``"test"`` or ``"validation"``; None for the test part, or validation when it is empty.
        fold: of the datalist, for validation.

    Raises:
        UserError: when there are none, or the datalist cannot be read.
    """
    if datalist is None:
        return labelled_items(Path(folder)), {"cases": str(folder)}
    check_fold(datalist, fold)
    for name in [part] if part else PARTS:
        items = datalist_part(datalist, name, fold)
        if items:
            return items, {"datalist": str(datalist), "part": name, "fold": fold}
    raise UserError(f"{datalist}: no cases for {part or ' or '.join(PARTS)}; expected at least one")


def check_fold(datalist: str | Path, fold: int) -> None:
    """Raise UserError for a fold that a datalist with training cases lacks, even if its test part is scored."""
    if read_datalist(datalist)["training"]:
        datalist_part(datalist, "training", fold)


def labelled_items(folder: Path) -> list[dict[str, Any]]:
    """Return the labelled cases of a folder; an unusable one carries its ``problem``.

    Raises:
        UserError: when there are none.
    """
    items = [as_item(case) for case in find_labelled(folder)]
    if not items:
        raise UserError(f"{folder}: no case with a label map; expected files such as <case>_seg.nii.gz")
    return items


def as_item(case: Case) -> dict[str, Any]:
    """Return a case as an entry of a datalist, with its problem if it has one."""
    return case.as_item() if case.problem is None else {"image": {}, "case_id": case.case_id, "problem": case.problem}


def check_items(items: Items) -> None:
    """Raise UserError for no items, two with the same name, or a name that cannot name a file."""
    names = [check_case_id(item["case_id"]) for item in items]
    if not names:
        raise UserError("cases: none found; expected at least one with a label map")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"cases: {twice[0]!r} found twice; expected unique names")


def check_apart(datalist: Path, items: Items) -> None:
    """Raise UserError when a patient of these items is also in the test part of their datalist."""
    tests = {item.get("patient", item["case_id"]) for item in datalist_part(datalist, "test")}
    both = sorted(tests & {item.get("patient", item["case_id"]) for item in items})
    if both:
        raise UserError(
            f"{datalist}: {both[0]!r} is in validation and test; expected no test case in the choice of post-processing"
        )
