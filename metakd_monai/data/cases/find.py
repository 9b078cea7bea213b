"""From a folder to its cases: sequences are recognised by name, never by order."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from metakd_monai.data.cases.case import Case
from metakd_monai.data.cases.case_folders import nifti_names, printable, shorten, walk
from metakd_monai.data.cases.groups import Group, group_names
from metakd_monai.data.cases.ids import check_case_id
from metakd_monai.data.cases.label_names import is_label
from metakd_monai.data.cases.name_table import NameTable
from metakd_monai.data.cases.naming import GENERIC, Found, drop_derived, name_apart
from metakd_monai.data.cases.sequences import NIFTI, Ambiguous, read_sequence, recognise
from metakd_monai.data.cases.shared import ImageName, read_together
from metakd_monai.data.nifti import describe_file
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.vocabulary import Modality

logger = logging.getLogger(__name__)

MOST_FILES = 1000  # files that are checked for other formats in a folder without a sequence


def find_cases(source: str | Path, names: NameTable | None = None) -> list[Case]:
    """Find the cases in a case folder, a folder of case folders (to any depth) or a 4-D NIfTI file.

    A bad case does not stop the others: it carries its ``problem``. Folders whose NIfTI files form no case are
    counted in one warning, unless they hold label maps only.

    Args:
        source: folder or file to search.
        names: the user's own names of sequences, see :func:`~metakd_monai.data.cases.read_name_table`.

    Raises:
        UserError: if nothing is found, no sequence is recognised, or two cases cannot be distinguished.
    """
    path = check_source(source)
    if path.is_file():
        if not NIFTI.search(path.name):
            kind = describe_file(path) or "not a NIfTI file; expected .nii or .nii.gz"
            raise UserError(f"{path}: {kind}, or a folder of cases")
        return [Case(check_case_id(NIFTI.sub("", path.name), f"{path}: name of the case"), path)]
    found: list[Found] = []
    without: list[Path] = []
    for folder in walk(path):
        held = nifti_names(folder)
        groups = group_names(held, names)
        found += [Found(folder, path, group) for group in groups]
        if not groups and not all(is_label(name) for name in held):
            without.append(folder)
    if not found:
        raise UserError(
            f"{path}: no modality found; expected files such as <case>_flair.nii.gz, <case>_t1.nii.gz,"
            f" <case>_t1ce.nii.gz, <case>_t2.nii.gz{name_foreign(path)}"
        )
    tell_without(without, path)
    found = drop_derived(join_series(found, path))
    name_apart(found, path)
    cases = [case.as_case() for case in found]
    if len(cases) == 1 and cases[0].problem and found[0].folder == path:
        raise UserError(cases[0].problem)
    return cases


def name_foreign(folder: Path) -> str:
    """Return a hint that names a file of another format below a folder, if the first ones include one."""
    files = islice((file for place in walk(folder) for file in sorted(place.iterdir()) if file.is_file()), MOST_FILES)
    return next((f"; {file.name}: {kind}" for file in files if (kind := describe_file(file))), "")


def find_labelled(source: str | Path, names: NameTable | None = None) -> list[Case]:
    """Find the cases with a label map, as :func:`find_cases` does, and the unusable ones.

    It is a ``problem`` if several label maps may belong to a case.
    """
    cases = [case.for_label() for case in find_cases(source, names)]
    return [case for case in cases if case.label is not None or case.problem is not None]


def name_sequences(paths: Sequence[Path]) -> dict[Modality, Path]:
    """Assign the files of one case to sequences, reading their names together.

    Raises:
        UserError: for a name of no or several possible sequences, and for two files of one sequence.
    """
    files: dict[Modality, Path] = {}
    images = [ImageName(path.name, "", read_sequence(NIFTI.sub("", path.name))) for path in paths]
    for path, image in zip(paths, read_together("", images), strict=True):
        found = None if is_label(path.name) else image.reading.found
        if not isinstance(found, Modality) or found in files:
            problem = f"a second file for {found.value!r}" if isinstance(found, Modality) else "no modality in its name"
            problem = f"{found} by its name" if isinstance(found, Ambiguous) else problem
            raise UserError(f"{path}: {problem}; expected names such as <case>_flair.nii.gz, one for each modality")
        files[found] = path
    return files


def check_source(source: str | Path) -> Path:
    """Return where to search; raises UserError if it is not an existing path."""
    path = Path(source)
    try:
        there = path.is_dir() or path.is_file()
    except (OSError, ValueError) as error:
        raise UserError(
            f"input: {in_one_line(repr(str(source)), 60)} is not a path ({in_one_line(error, 60)})"
        ) from None
    if not there:
        raise UserError(
            f"{printable(path)}: no such file or folder; expected a case folder, a folder of cases or a 4-D NIfTI file"
        )
    return path


def tell_without(folders: Sequence[Path], top: Path) -> None:
    """Warn, in one line, about folders whose NIfTI files name no sequence."""
    if folders:
        examples = ", ".join(shorten(folder) for folder in folders[:3])
        logger.warning(
            "%s: skipped folders whose NIfTI files name no sequence: %d (%s%s); expected names as in"
            " docs/reference/file-names.md, or --names TABLE",
            top,
            len(folders),
            examples,
            ", ..." if len(folders) > 3 else "",
        )


def join_series(found: Sequence[Found], top: Path) -> list[Found]:
    """Join the sequences of cases that have a folder for each sequence, named after it.

    ``EGD-0001/1_T1/NIFTI/T1.nii.gz`` with ``EGD-0001/3_FLAIR/NIFTI/FLAIR.nii.gz``; ``t1/P1_t1.nii.gz`` with
    ``flair/P1_flair.nii.gz``.
    """
    homes: dict[tuple[Path, str], list[Found]] = {}
    for case in found:
        homes.setdefault((home_of(case, top), case.group.prefix), []).append(case)
    joined = []
    for (home, prefix), members in homes.items():
        sequences = [modality for case in members for modality in case.files]
        if len(members) == 1 or len(set(sequences)) < len(sequences) or any(case.folder == home for case in members):
            joined += members
            continue
        labels = [case.folder.relative_to(home) / case.group.label for case in members if case.group.label]
        label = str(labels[0]) if len(labels) == 1 else None
        whole = Found(home, top, Group(prefix, label=label, notes=sum((case.group.notes for case in members), ())))
        files = {modality: path for case in members for modality, path in case.files.items()}
        whole.files = {modality: files[modality] for modality in Modality if modality in files}
        joined.append(whole)
    return joined


def home_of(case: Found, top: Path) -> Path:
    """Return the folder of the whole case: the one above a folder that is named after the only sequence in it."""
    place = case.folder
    while place != top and place.name.lower() in GENERIC:
        place = place.parent
    alone = len(case.files) == 1 and not case.group.problem
    named = place != top and alone and recognise(place.name) is next(iter(case.files))
    return place.parent if named else case.folder
