"""Split by patient, stratified by grade, depending on seed and names alone; or as in published lists."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from metakd_monai import __version__
from metakd_monai.data.cases import hash_of
from metakd_monai.data.datalists.layout import Entry, Layout
from metakd_monai.data.files import read_text
from metakd_monai.errors import UserError

logger = logging.getLogger(__name__)

META_CASES = 5  # as in the official code: the number of importance updates in each pass
PUBLISHED = {"training": "train*.txt", "validation": "val*.txt", "test": "test*.txt"}


def make_datalist(
    layout: Layout,
    folds: int = 5,
    meta_cases: int = META_CASES,
    test_fraction: float = 0.2,
    seed: int = 0,
    splits: str | Path | None = None,
) -> dict[str, Any]:
    """Split a data set into training folds, meta-validation (Algorithm 1's D_v), test and unlabelled cases.

    Args:
        layout: see :func:`~metakd_monai.data.datalists.layout.read_layout`.
        folds: number of folds; training fold f is validated on the cases of fold f.
        meta_cases: patients set aside for meta-validation, see :func:`count_meta`.
        test_fraction: fraction of the patients set aside for testing, may be 0.
        seed: of the split.
        splits: folder of published lists, ``train*.txt``, ``val*.txt``, ``test*.txt``. Fold 0 is then the published
            validation part, fold 1 the published training part without the cases for meta-validation.

    Returns:
        MONAI's datalist form: ``training`` (with ``fold``), ``meta``, ``test``, ``testing`` (no labels), ``metakd``.
        Without any label, all lists but ``testing`` are empty.

    Raises:
        UserError: for fractions out of range, too few patients, or lists that do not match the data set.
    """
    if folds < 2:
        raise UserError(f"folds: {folds} found; expected 2 or more")
    if not 0 <= test_fraction < 0.5:
        raise UserError(f"test-fraction: {test_fraction} found; expected 0 or more and below 0.5")
    labelled = [entry for entry in layout.entries if entry.case.label is not None]
    if splits is not None:
        parts = split_as_published(labelled, Path(splits), meta_cases, seed)
    elif labelled or not layout.entries:
        parts = split_patients(labelled, folds, meta_cases, test_fraction, seed)
    else:
        parts = {"test": [], "meta": []}  # an unlabelled validation set as downloaded: all cases go to "testing"
    items = {part: [entry.as_item(layout.year) for entry in entries] for part, entries in parts.items()}
    training = [{**item, "fold": n} for n in range(len(parts) - 2) for item in items[f"fold{n}"]]
    unlabelled = [entry.as_item(layout.year) for entry in layout.entries if entry.case.label is None]
    return {
        "name": name_dataset(layout),
        "description": "fold f of training is validated on in fold f; meta: meta-validation; testing: no labels",
        "training": training,
        "meta": items["meta"],
        "test": items["test"],
        "testing": unlabelled,
        "metakd": {
            "version": __version__,
            "year": layout.year.name if layout.year else None,
            "seed": seed,
            "folds": len(parts) - 2,
            "meta_cases": meta_cases,
            "test_fraction": test_fraction,
            "splits": str(splits) if splits else None,
        },
    }


def count_meta(total: int, meta_cases: int = META_CASES) -> int:
    """Return the number of cases for meta-validation: the requested number, but at most a third.

    It is fixed, so that importance updates do not grow with the data set.

    Raises:
        UserError: for a number below 1.
    """
    if not isinstance(meta_cases, int) or meta_cases < 1:
        raise UserError(f"meta_cases: {meta_cases!r} found; expected an integer of at least 1")
    return max(1, min(meta_cases, total // 3))


def name_dataset(layout: Layout) -> str:
    """Name a data set by its year, or by its folder if it is not from BraTS."""
    if layout.year is None:
        return layout.root.resolve().name
    return layout.year.labels.name if layout.year.name == "msd" else f"BraTS {layout.year.name}"


def split_patients(
    entries: Sequence[Entry], folds: int, meta_cases: int, test_fraction: float, seed: int
) -> dict[str, list[Entry]]:
    """Assign patients to ``test``, ``meta``, ``fold0`` and so on; raises UserError when there are too few."""
    patients = order_patients(entries, seed)
    tests = round(test_fraction * len(patients))
    meta = tests + count_meta(len(patients), meta_cases)
    rest = patients[meta:]
    if len(rest) < folds:
        raise UserError(
            f"{len(patients)} labelled patients found, {len(rest)} of them for {folds} folds; expected at least {folds}"
        )
    chosen = {"test": patients[:tests], "meta": patients[tests:meta]}
    chosen |= {f"fold{n}": rest[n::folds] for n in range(folds)}
    return {part: [e for e in entries if e.patient in set(names)] for part, names in chosen.items()}


def order_patients(entries: Sequence[Entry], seed: int) -> list[str]:
    """Shuffle patients by the hash of their names, so that any part of the order has the grades in proportion."""
    grades = {entry.patient: entry.grade or "" for entry in entries}
    shuffled = sorted(grades, key=lambda name: hash_of(seed, name))
    members = {grade: [name for name in shuffled if grades[name] == grade] for grade in set(grades.values())}
    places = {name: ((n + 0.5) / len(m), grade) for grade, m in members.items() for n, name in enumerate(m)}
    return sorted(shuffled, key=lambda name: places[name])


def split_as_published(entries: Sequence[Entry], folder: Path, meta_cases: int, seed: int) -> dict[str, list[Entry]]:
    """Split by lists of case names; raises UserError when a list is missing or names unknown cases."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with {', '.join(PUBLISHED.values())}")
    by_name = {entry.case.case_id: entry for entry in entries}
    lists = {part: read_lists(folder, pattern, by_name) for part, pattern in PUBLISHED.items()}
    for part in ("training", "validation"):
        if not lists[part]:
            raise UserError(f"{folder}: no cases in {PUBLISHED[part]}; expected a list of case names, one a line")
    check_disjoint(folder, lists)
    named = {name for names in lists.values() for name in names}
    if len(named) < len(by_name):
        logger.warning("%s: %d labelled cases are in no list, left out", folder, len(by_name) - len(named))
    training = [by_name[name] for name in lists["training"]]
    patients = order_patients(training, seed)
    meta = set(patients[: count_meta(len(patients), meta_cases)])
    return {
        "test": [by_name[name] for name in lists["test"]],
        "meta": [entry for entry in training if entry.patient in meta],
        "fold0": [by_name[name] for name in lists["validation"]],
        "fold1": [entry for entry in training if entry.patient not in meta],
    }


def read_lists(folder: Path, pattern: str, known: dict[str, Entry]) -> list[str]:
    """Read lists of known cases; a path may precede the name in a line, an extension or columns may follow it."""
    lines = [
        line.strip()
        for path in sorted(folder.glob(pattern))
        for line in read_text(path, "a list of case names, one a line", "utf-8-sig", "replace").splitlines()
        if line.strip()
    ]
    found = {line: find_name(line, known) for line in lines}
    strange = [line for line, name in found.items() if name is None]
    if strange:
        raise UserError(
            f"{folder}: {len(strange)} names in {pattern} are not in the data set ({', '.join(strange[:3])});"
            f" expected names such as {next(iter(known), 'of its cases')}"
        )
    return list(dict.fromkeys(name for name in found.values() if name is not None))


def find_name(line: str, known: Iterable[str]) -> str | None:
    """Return the known case in a line, the longest match; None for no or several matches."""
    named = sorted((name for name in known if name in line), key=len)
    return named[-1] if named and all(name in named[-1] for name in named) else None


def check_disjoint(folder: Path, lists: dict[str, list[str]]) -> None:
    """Raise UserError when a case is in two lists."""
    seen: dict[str, str] = {}
    for part, names in lists.items():
        for name in names:
            if name in seen:
                files = [path.name for p in (seen[name], part) for path in sorted(folder.glob(PUBLISHED[p]))]
                raise UserError(
                    f"{folder}: {name} is in the lists of {seen[name]} and {part} ({', '.join(files)}); expected it in"
                    " one of them, and the lists of a single split"
                )
            seen[name] = part
