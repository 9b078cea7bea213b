"""Name cases by what their file names share, or by the shortest part of the path that no other case has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metakd_monai.data.cases.case import Case
from metakd_monai.data.cases.case_folders import printable
from metakd_monai.data.cases.groups import Group
from metakd_monai.data.cases.ids import check_case_id, safe_case_id
from metakd_monai.data.cases.sequences import NIFTI, read_sequence
from metakd_monai.errors import UserError

GENERIC = {"anat", "nifti", "nii", "niftis", "mri", "mr", "image", "images"}  # folders that name no case


class Found:
    """A case that was found and has no name yet.

    Args:
        folder: where it is.
        top: the folder that was searched.
        group: its files by name.
    """

    def __init__(self, folder: Path, top: Path, group: Group) -> None:
        self.folder, self.group = folder, group
        below = folder.relative_to(top).parts if folder.is_relative_to(top) else folder.parts
        self.parts = tuple(part for part in below if part.lower() not in GENERIC) or (name_of_folder(folder),)
        self.name = group.prefix or self.parts[-1]
        self.files = {modality: folder / name for modality, name in group.files.items()}

    def as_case(self) -> Case:
        """Return the case; an invalid name becomes its problem."""
        group, name, where = self.group, self.name, printable(self.folder)
        problem = group.problem and f"{where}: {printable(group.problem)}"
        try:
            check_case_id(name, f"{where}: name of the case")
        except UserError as error:
            name, problem = safe_case_id(name), str(error)
        label = self.folder / group.label if group.label else None
        unclear = group.label_problem and f"{where}: {printable(group.label_problem)}"
        notes = tuple(map(printable, group.notes))
        return Case(name, {} if problem else self.files, label, problem, unclear, notes)


def name_of_folder(folder: Path) -> str:
    """Return the name of a folder, or of the first folder above it that may name a case."""
    place = folder.resolve()
    while place.name.lower() in GENERIC and place.parent != place:
        place = place.parent
    return place.name or "case"


def name_files(paths: Sequence[Path]) -> str:
    """Name a case by what its file names share, or by the folder of the first file."""
    stems = [NIFTI.sub("", path.name) for path in paths]
    prefixes = {stem[: read_sequence(stem).start].rstrip("_-. ") for stem in stems}
    shared = prefixes.pop() if len(prefixes) == 1 else ""
    return shared if shared and shared not in stems else name_of_folder(paths[0].parent)


def drop_derived(found: Sequence[Found]) -> list[Found]:
    """Leave out cases derived from another one of the same name, such as skull-stripped images.

    The kept case has a note on the skipped ones.
    """
    alike: dict[str, list[Found]] = {}
    for case in found:
        alike.setdefault(case.group.prefix, []).append(case)
    kept = []
    for case in found:
        same = alike[case.group.prefix] if case.group.prefix else []
        if case.group.marks and any(not other.group.marks for other in same):
            continue
        derived = [other for other in same if other.group.marks] if not case.group.marks else []
        if derived:
            marks = ", ".join(sorted(set().union(*(other.group.marks for other in derived))))
            note = f"skipped {', '.join(str(other.folder) for other in derived)} (derived from another image: {marks})"
            case.group = replace(case.group, notes=(*case.group.notes, note))
        kept.append(case)
    return kept


def name_apart(found: Sequence[Found], top: Path) -> None:
    """Give each case a unique name: cases with the same name get the shortest part of their path that differs.

    Raises:
        UserError: if two cases cannot be distinguished.
    """
    counts = Counter(case.name for case in found)
    alike = [case for case in found if counts[case.name] > 1]
    if not alike:
        return
    taken = {case.name for case in found} - {case.name for case in alike}
    chosen = next((new for new in candidates(alike) if len({*new, *taken}) == len(alike) + len(taken)), None)
    if chosen is None:
        raise UserError(f"{top}: two cases are named {alike[0].name!r}; expected unique names")
    for case, name in zip(alike, chosen, strict=True):
        case.name = name


def candidates(alike: Sequence[Found]) -> list[list[str]]:
    """Return candidate names for cases with equal names: single parts of their paths, then ever longer ends."""
    rows = [(*case.parts, *([case.group.prefix] if case.group.prefix else [])) for case in alike]
    depth = max(map(len, rows))
    single = [[row[-n] for row in rows] for n in range(1, depth + 1) if all(len(row) >= n for row in rows)]
    return [*single, *(["_".join(row[-n:]) for row in rows] for n in range(2, depth + 1))]
