"""Which prediction belongs to which case, and how its name should be spelled."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

from metakd_monai.apps.evaluate.folders import SEGMENTATION_END
from metakd_monai.data.cases import NIFTI

EXTENSION = ".nii.gz"
CLOSE = 0.7  # least similarity of a name suggested as the right one


def match_files(files: Iterable[Path], case_ids: Collection[str]) -> tuple[dict[str, Path], list[str]]:
    """Find each case's prediction, also under a wrong spelling.

    Args:
        files: label maps.
        case_ids: names of the input cases, in the right spelling.

    Returns:
        The file of each case that has one, and a line for each file that is misspelled, surplus, or a case's second.
    """
    right = {f"{case_id}{EXTENSION}": case_id for case_id in case_ids}
    matched = {right[path.name]: path for path in files if path.name in right}
    others = [path for path in files if path.name not in right]
    folded = {fold(case_id): case_id for case_id in case_ids}
    lines, surplus = [], []
    for path in others:
        case_id = folded.get(fold(path.name))
        if case_id is None:
            surplus.append(path)
        elif case_id in matched:
            lines.append(f"{path}: second file of case {case_id} found; expected only {matched[case_id].name}")
        else:
            matched[case_id] = path
            lines.append(f"{path}: name {path.name!r} found; expected {case_id}{EXTENSION}")
    left = [case_id for case_id in case_ids if case_id not in matched]
    return matched, [*lines, *(describe_surplus(path, left) for path in surplus)]


def fold(name: str) -> str:
    """Reduce a name of a file or case to what misspellings share: no extension, ``_seg``, capitals or hyphens."""
    return SEGMENTATION_END.sub("", NIFTI.sub("", name)).lower().replace("-", "_")


def describe_surplus(path: Path, left: Collection[str]) -> str:
    """Report a file of no input case; ``left`` are the cases without prediction, one of which may be meant."""
    close = get_close_matches(NIFTI.sub("", path.name), left, n=1, cutoff=CLOSE)
    hint = f" (is {close[0]}{EXTENSION} meant?)" if close else ""
    return f"{path}: no input case of this name found{hint}; expected only predictions of input cases"
