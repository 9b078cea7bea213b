"""A downloaded data set: its cases, its year, the grade of its tumours, and whether its labels fit."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metakd_monai.data.cases import NIFTI, Case, NameTable, check_case_id, find_cases, walk
from metakd_monai.data.files import read_text
from metakd_monai.data.nifti import AXES, check_labels, read_label_of, read_nifti, verify_sequences
from metakd_monai.data.years import YEARS, Year, find_year, years_of
from metakd_monai.errors import UserError, in_one_line

logger = logging.getLogger(__name__)

GRADES = ("HGG", "LGG")
MSD_FOLDERS = (("imagesTr", "labelsTr"), ("imagesTs", None))


@dataclass(frozen=True)
class Entry:
    """A case, its patient, and the grade of the tumour if known."""

    case: Case
    patient: str
    grade: str | None = None

    def as_item(self, year: Year | None) -> dict[str, Any]:
        """Return the case as an entry of a datalist: its sequences' files as a list, or one 4-D file."""
        files = self.case.files
        image = str(files) if isinstance(files, Path) else [str(path) for path in files.values()]
        item: dict[str, Any] = {"image": image, "case_id": self.case.case_id, "patient": self.patient}
        item |= {} if isinstance(files, Path) else {"modalities": [modality.value for modality in files]}
        item |= {"label": str(self.case.label)} if self.case.label else {}
        item |= {"grade": self.grade} if self.grade else {}
        return item | ({"year": year.name} if year else {})


@dataclass(frozen=True)
class Layout:
    """A data set: where it is, its year (None if the names are not from BraTS) and its cases."""

    root: Path
    year: Year | None
    entries: list[Entry]


def read_layout(
    root: str | Path,
    year: str = "auto",
    min_modalities: int = 1,
    skip_damaged: bool = False,
    progress: bool = True,
    names: NameTable | None = None,
) -> Layout:
    """Recognise a download of BraTS 2018 to 2024 or MSD Task01, and check every label map against its year.

    Args:
        root: folder of case folders at any depth, or of ``imagesTr`` and so on.
        year: one of :data:`~metakd_monai.data.years.YEARS`, or ``"auto"`` to go by the names.
        min_modalities: leave out cases with fewer sequences.
        skip_damaged: leave out unreadable cases with a warning instead of raising.
        progress: show a bar on a terminal.
        names: the user's own names of sequences.

    Raises:
        UserError: if no case is found, names are of several years, labels contradict the year, or a case is damaged.
    """
    folder = Path(root)
    cases = find_msd_cases(folder) or [case.for_label() for case in find_cases(folder, names)]
    found = decide_year(folder, cases) if year == "auto" else find_year(year)
    cases = [case for case in cases if has_enough(case, min_modalities)]
    usable = []
    for case in tqdm(cases, desc="checking files", unit="case", disable=None if progress else True):
        try:
            check_case(case, found, by_name=year == "auto")
            usable.append(case)
        except UserError as error:
            if not skip_damaged:
                raise
            logger.warning("%s: left out: %s", case.case_id, error)
    grades = read_grades(folder)
    entries = [Entry(c, found.patient(c.case_id) if found else c.case_id, grade_of(c, grades)) for c in usable]
    return Layout(folder, found, entries)


def find_msd_cases(folder: Path) -> list[Case]:
    """Find the 4-D files of an MSD task in ``imagesTr`` and ``imagesTs``; files such as ``._x`` are skipped.

    The folder may also be the parent, if the task's folder is the only one in it, as in an unpacked archive.
    """
    inside = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."] if folder.is_dir() else []
    if len(inside) == 1 and (inside[0] / MSD_FOLDERS[0][0]).is_dir():
        folder = inside[0]
    cases = []
    for images, labels in MSD_FOLDERS:
        if not (folder / images).is_dir():
            continue
        for path in sorted(p for p in (folder / images).iterdir() if NIFTI.search(p.name) and p.name[0] != "."):
            label = folder / labels / path.name if labels else None
            name = check_case_id(NIFTI.sub("", path.name), f"{folder / images}: name of the case")
            cases.append(Case(name, path, label if label and label.is_file() else None))
    return cases


def decide_year(folder: Path, cases: Sequence[Case]) -> Year | None:
    """Determine the year by the names; for 2023 and 2024, which share names, by the shape of the volumes.

    Raises:
        UserError: if names are of several years, or only some are of a year.
    """
    named: dict[tuple[str, ...], str] = {}
    for case in cases:
        named.setdefault(tuple(year.name for year in years_of([case.case_id])), case.case_id)
    if len(named) > 1:
        found = "; ".join(f"{example} ({' or '.join(years) or 'no BraTS name'})" for years, example in named.items())
        raise UserError(f"{folder}: names of different data sets found: {found}; expected one (or --year)")
    possible = [YEARS[name] for name in next(iter(named))]
    if not possible:
        logger.info("%s: names such as %s are of no BraTS year; labels of any year pass", folder, cases[0].case_id)
        return None
    if len(possible) == 1:
        return possible[0]
    shape = next((shape for case in cases if (shape := shape_of(case))), ())
    return next((year for year in possible if year.shape == shape), possible[0])


def shape_of(case: Case) -> tuple[int, ...]:
    """Return the shape of a case's first readable file, ``()`` if there is none."""
    for path in [] if isinstance(case.files, Path) else case.files.values():
        try:
            return tuple(read_nifti(path).shape)
        except UserError:  # reported when the case is checked
            continue
    return ()


def has_enough(case: Case, min_modalities: int) -> bool:
    """Tell whether a case has enough sequences; log it if not."""
    if isinstance(case.files, Path) or case.problem or len(case.files) >= min_modalities:
        return True
    logger.info("%s: left out: %d of at least %d sequences", case.case_id, len(case.files), min_modalities)
    return False


def check_case(case: Case, year: Year | None, by_name: bool = False) -> None:
    """Read all of a case's files and check its labels; raises UserError for one that cannot be used.

    Args:
        case: the case.
        year: defines the valid labels; None for those of any BraTS.
        by_name: the year was guessed from the names, and the user may know better.
    """
    case.as_item()  # raises UserError if the case has a problem
    images = verify_sequences(case.files)
    if case.label is not None:
        labels = read_label_of(case.label, images.shape[:AXES], images.affine)
        try:
            check_labels(labels, str(case.label), year.labels if year else None)
        except UserError as error:
            hint = f" (by the names this is {year.name}; --year overrides)" if year and by_name else ""
            raise UserError(f"{error}{hint}") from None


def read_grades(folder: Path) -> dict[str, str]:
    """Read the grades in BraTS 2020's ``name_mapping.csv`` files, under each name of a case.

    Raises:
        UserError: if a file cannot be read.
    """
    grades: dict[str, str] = {}
    for path in sorted(path for place in walk(folder) for path in place.glob("name_mapping*.csv")):
        if not path.is_file():
            logger.warning("%s: skipped, it is not a file; grades are unknown", path)
            continue
        try:
            text = read_text(path, "BraTS 2020's table", "utf-8-sig", "replace")
            for row in csv.DictReader(text.splitlines()):
                if row.get("Grade") in GRADES:
                    grades |= dict.fromkeys(names_in(row), row["Grade"])
        except csv.Error as error:
            raise UserError(f"{path}: unreadable ({in_one_line(error)}); expected BraTS 2020's table") from None
    return grades


def names_in(row: dict[str, str]) -> Iterable[str]:
    """Return the case names in a row of ``name_mapping.csv``."""
    return (value for key, value in row.items() if key and key.endswith("subject_ID") and value not in ("", "NA"))


def grade_of(case: Case, grades: dict[str, str]) -> str | None:
    """Return the grade of a case, from a table or from a folder named HGG or LGG above it."""
    files = case.files if isinstance(case.files, Path) else next(iter(case.files.values()))
    above = [part for part in files.parts if part in GRADES]
    return grades.get(case.case_id) or (above[-1] if above else None)
