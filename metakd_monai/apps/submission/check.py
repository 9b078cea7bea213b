"""Check a folder of predictions for everything that a BraTS server would refuse, before the upload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from metakd_monai.apps.evaluate.folders import BESIDE, list_nifti
from metakd_monai.apps.submission.exact_grid import Grid, compare_grids, compare_qforms, read_grid
from metakd_monai.apps.submission.mask_names import match_files
from metakd_monai.data.cases import NIFTI, Case, find_cases
from metakd_monai.data.nifti import check_labels, read_nifti, read_voxels
from metakd_monai.data.years import YEARS, Year, find_year, years_of
from metakd_monai.errors import UserError, find_user_error, in_one_line

USUAL_DTYPE = "uint8"
ACCEPTED_DTYPES = (USUAL_DTYPE, "int8", "int16", "uint16", "int32", "uint32")
MOST_VALUES = 8  # names that a line lists
QFORM_YEAR = "2023"


@dataclass(frozen=True)
class Submission:
    """A folder of predictions, examined.

    Attributes:
        predictions: the folder.
        inputs: folder of the cases that were segmented.
        year: of the challenge.
        files: all label maps in the folder, sorted.
        expected: how many there should be, one for each input case.
        problems: what a server would refuse, one line each: file, found, expected.
        notes: what is odd but accepted, one line each.
        written: the upload and its manifest; empty when nothing was written.
    """

    predictions: Path
    inputs: Path
    year: Year
    files: tuple[Path, ...]
    expected: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    written: tuple[Path, ...] = ()


def check_submission(predictions: str | Path, inputs: str | Path, year: str, progress: bool = True) -> list[str]:
    """Return all that a server would refuse, one line each; see :func:`examine_submission`."""
    return list(examine_submission(predictions, inputs, year, progress).problems)


def examine_submission(predictions: str | Path, inputs: str | Path, year: str, progress: bool = True) -> Submission:
    """Check names, count, labels, data type and grid of every prediction; a damaged file does not stop the others.

    Args:
        predictions: folder of ``<case>.nii.gz``; reports, previews and maps beside them are skipped.
        inputs: folder of the cases that were segmented.
        year: ``"2018"``, ``"2019"``, ``"2020"``, ``"2021"`` or ``"2023"``.
        progress: show a bar on a terminal.

    Raises:
        UserError: when there are no predictions or no inputs at all, no input is of the year, or the year has no
            submission.
    """
    folder, source, rules = Path(predictions), Path(inputs), find_submitted_year(year)
    files = [path for path in list_nifti(folder) if not NIFTI.sub("", path.name).endswith(BESIDE)]
    if not files:
        raise UserError(f"{folder}: no label map found; expected files such as {rules.example}.nii.gz")
    cases = {case.case_id: case for case in find_inputs(source, rules)}
    matched, problems = match_files(files, cases)
    problems = [*check_inputs(source, cases, rules), *check_count(folder, files, source, cases), *problems]
    for case_id, case in tqdm(cases.items(), desc="checking", unit="case", disable=None if progress else True):
        problems += check_case(case, folder / f"{case_id}.nii.gz", matched.get(case_id), rules)
    notes = (*note_size(source, cases, rules), *note_dtypes(folder, matched.values()))
    return Submission(folder, source, rules, tuple(files), len(cases), tuple(problems), notes)


def find_submitted_year(name: str) -> Year:
    """Return a year by its name; raises UserError for one without a set to submit."""
    year = find_year(name)
    if year.validation_cases is None:
        known = ", ".join(other.name for other in YEARS.values() if other.validation_cases is not None)
        raise UserError(f"year: {name!r} has no submission that is known here; expected one of {known}")
    return year


def find_inputs(source: Path, year: Year) -> list[Case]:
    """Find the input cases; raises UserError when there are none, or none is named as in the year."""
    cases = find_cases(source)
    if not any(year.matches(case.case_id) for case in cases):
        others = [other.name for other in years_of(case.case_id for case in cases)]
        hint = f" (these are names of {' or '.join(others)})" if others else ""
        raise UserError(
            f"{source}: no case of {year.name} found{hint}, the first is {cases[0].case_id!r}; expected names such as"
            f" {year.example}"
        )
    return cases


def check_inputs(source: Path, cases: Iterable[str], year: Year) -> list[str]:
    """Return a line for each input case that is not named as in the year."""
    strange = [case_id for case_id in cases if not year.matches(case_id)]
    return [f"{source}: input case {name!r} found; expected a name of {year.name}: {year.example}" for name in strange]


def check_count(folder: Path, files: list[Path], source: Path, cases: Mapping[str, Case]) -> list[str]:
    """Return a line if the numbers of predictions and cases differ."""
    if len(files) == len(cases):
        return []
    return [f"{folder}: {len(files)} label maps found; expected {len(cases)}, one for each case of {source}"]


def check_case(case: Case, place: Path, path: Path | None, year: Year) -> list[str]:
    """Return all that is wrong with one case's prediction; ``place`` is where it should be, ``path`` where it is."""
    if path is None:
        return [f"{place}: no such file; expected a prediction of case {case.case_id}"]
    lines = [
        *attempt(path, lambda: check_values(path, year)),
        *attempt(path, lambda: check_type(path)),
        *attempt(path, lambda: check_grid(path, case, year)),
    ]
    return list(dict.fromkeys(lines))  # each check would report a damaged file again


def attempt(path: Path, check: Callable[[], list[str]]) -> list[str]:
    """Run a check; return every error as a line."""
    try:
        return check()
    except Exception as error:  # whatever is wrong with one file, the others are checked
        known = find_user_error(error)
        if known is not None:
            return [str(known)]
        reason = f"{type(error).__name__}: {in_one_line(error)}"
        return [f"{path}: unreadable ({reason}); expected a complete NIfTI file"]


def check_values(path: Path, year: Year) -> list[str]:
    """Raise UserError for values that are not labels of the year, and for a damaged file; return no lines."""
    voxels = read_voxels(path)
    with np.errstate(invalid="ignore"):
        labels = voxels.astype(np.uint8)
    values = np.concatenate([np.flatnonzero(np.bincount(labels.ravel())), np.unique(voxels[labels != voxels])])
    strange = values[~np.isin(values, sorted(year.labels.values))]
    check_labels(strange[:MOST_VALUES], str(path), year.labels)
    return []


def check_type(path: Path) -> list[str]:
    """Return a line when the voxels are not stored as plain integers of at most 32 bits."""
    file = read_nifti(path)
    dtype, slope, intercept = file.dtype, file.slope, file.intercept
    lines = []
    if str(dtype.newbyteorder("=")) not in ACCEPTED_DTYPES:
        lines.append(f"{path}: data type {dtype} found; expected {USUAL_DTYPE} (at most 32 bits, integer)")
    if file.is_scaled:
        lines.append(f"{path}: values scaled by {slope:g} and shifted by {intercept:g}; expected labels as they are")
    return lines


def check_grid(path: Path, case: Case, year: Year) -> list[str]:
    """Return the differences from the grid of the case's input, and which of its sequences cannot be read.

    The prediction is compared with the first readable sequence. Raises UserError for a damaged prediction.
    """
    found, shape = read_grid(path), read_nifti(path).header.get_data_shape()
    lines = [f"{path}: shape {shape} found; expected three axes"] if len(shape) != 3 else []
    reference, expected, damaged = read_reference(case)
    lines += damaged
    if reference is None or expected is None:
        return [*lines, f"{path}: its grid cannot be checked; expected a readable input of case {case.case_id}"]
    lines += compare_grids(path, found, reference, expected)
    return [*lines, *compare_qforms(path, reference)] if year.name == QFORM_YEAR else lines


def read_reference(case: Case) -> tuple[Path | None, Grid | None, list[str]]:
    """Return the first input file of a case that ITK can read, its grid, and lines on those before it."""
    lines = [case.problem] if case.problem is not None else []
    for path in [case.files] if isinstance(case.files, Path) else case.files.values():
        try:
            return path, read_grid(path), lines
        except UserError as error:
            lines.append(str(error))
    return None, None, lines


def note_size(source: Path, cases: Mapping[str, Case], year: Year) -> list[str]:
    """Return a line if the inputs are not the complete official set."""
    if len(cases) == year.validation_cases:
        return []
    return [
        f"{source}: {len(cases)} cases found; the official validation set of {year.name} has {year.validation_cases}"
    ]


def note_dtypes(folder: Path, files: Iterable[Path]) -> list[str]:
    """Return a line for each data type that is accepted but not usual."""
    counts = Counter(dtype for path in files if (dtype := name_dtype(path)) in ACCEPTED_DTYPES[1:])
    return [
        f"{folder}: {count} label maps are {dtype}; the servers take that, {USUAL_DTYPE} is usual"
        for dtype, count in sorted(counts.items())
    ]


def name_dtype(path: Path) -> str:
    """Return the name of the stored data type; empty for a damaged file, which has a line of its own."""
    try:
        return str(read_nifti(path).dtype.newbyteorder("="))
    except Exception:  # a header may be damaged in any way
        return ""
