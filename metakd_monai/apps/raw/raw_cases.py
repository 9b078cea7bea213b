"""From a folder to its patients' raw series: NIfTI files by name, DICOM series by their headers."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metakd_monai.apps.raw.dicom_choice import StudySeries, choose_series
from metakd_monai.apps.raw.dicom_headers import DicomSeries, find_dicom
from metakd_monai.apps.raw.dicom_volume import load_series
from metakd_monai.apps.raw.volumes import Volume, read_raw
from metakd_monai.data.cases import (
    NIFTI,
    Case,
    NameTable,
    find_cases,
    group_names,
    nifti_names,
    read_label,
    safe_case_id,
    walk,
)
from metakd_monai.data.cases.find import check_source
from metakd_monai.data.cases.sequences import read_sequence
from metakd_monai.data.cases.words import read_words
from metakd_monai.data.files import checksum
from metakd_monai.data.nifti import is_on_grid, read_labels, read_nifti
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

BRAIN_WORDS = {"brain", "brainmask", "bet", "parenchyma", "parenchymal"}


@dataclass(frozen=True)
class RawCase:
    """One patient's raw series.

    Attributes:
        case_id: the name of the prepared case.
        series: of each sequence, a NIfTI file or a DICOM series.
        brain_mask: on the grid of one of the series, or None.
        problem: why the case cannot be prepared.
        notes: which file or series was taken for which sequence, which were skipped, and why.
        stacked: a 4-D file in place of series; such a case cannot be prepared.
    """

    case_id: str
    series: Mapping[Modality, Path | DicomSeries]
    brain_mask: Path | None = None
    problem: str | None = None
    notes: tuple[str, ...] = ()
    stacked: Path | None = None

    def read(self, modality: Modality) -> Volume:
        """Read one series; raises UserError if it is not a series."""
        source = self.series[modality]
        return read_raw(source) if isinstance(source, Path) else load_series(source)

    def hash(self, modality: Modality) -> str:
        """Return the SHA-256 of the bytes of a series: of its file, or of its files in the order of their hashes."""
        source = self.series[modality]
        if isinstance(source, Path):
            return checksum(source)
        return hashlib.sha256("".join(sorted(map(checksum, source.files))).encode()).hexdigest()

    def read_mask(self, series: Mapping[Modality, Volume]) -> tuple[Modality, Volume] | None:
        """Read the brain mask and tell which series' grid it is on; None if there is no mask.

        Raises:
            UserError: when it is on no series' grid, or empty.
        """
        if self.brain_mask is None:
            return None
        file = read_nifti(self.brain_mask)
        inside = read_labels(self.brain_mask, file) > 0
        if not inside.any():
            raise UserError(f"{self.brain_mask}: empty; expected a mask of the brain")
        for modality, volume in series.items():
            if is_on_grid(file.shape, file.affine, volume.voxels.shape, volume.affine):
                return modality, Volume(inside.astype(np.float32), np.asarray(file.affine, float))
        raise UserError(f"{self.brain_mask}: on the grid of none of the case's series; expected one of them")


def find_raw_cases(
    source: Path,
    overrides: Mapping[Modality, str] | None = None,
    names: NameTable | None = None,
    patient_ids: bool = False,
) -> list[RawCase]:
    """Find the patients in a folder: of NIfTI files by name, of DICOM series, or of both.

    Args:
        source: a patient's folder or a folder of patients.
        overrides: SeriesInstanceUID to take for a sequence, whatever its header says.
        names: a site's own names of files and descriptions of series.
        patient_ids: name DICOM studies by PatientID instead of a hash, see :func:`name_study`.

    Raises:
        UserError: when nothing is found, or two patients have the same name.
    """
    check_source(source)
    studies = find_dicom(source) if source.is_dir() else {}
    several = Counter(study[0].patient_id for study in studies.values())
    cases = [
        from_study(study, overrides or {}, names, name_study(study[0], patient_ids, several[study[0].patient_id] > 1))
        for study in studies.values()
    ]
    if overrides and not cases:
        raise UserError("--series: given, and there is no DICOM series; expected NIfTI files to be named by sequence")
    if not cases or has_nifti(source):
        try:
            cases += [from_files(case) for case in find_cases(source, names)]
        except UserError:
            if not cases:
                raise
    twice = next((name for name, times in Counter(case.case_id for case in cases).items() if times > 1), None)
    if twice is not None:
        raise UserError(f"{source}: two patients or studies are named {twice!r}; expected one folder for each")
    return cases


def has_nifti(source: Path) -> bool:
    """Tell whether there is a NIfTI file in a folder or below it."""
    return source.is_dir() and any(nifti_names(folder) for folder in walk(source))


def from_files(case: Case) -> RawCase:
    """Return a case of NIfTI files, with the brain mask if there is one beside them."""
    if case.problem is None and not isinstance(case.files, Mapping):
        problem = f"{case.files}: 4-D; expected one file a series"
        return RawCase(case.case_id, {}, None, problem, stacked=Path(case.files))
    files = case.files if isinstance(case.files, Mapping) else {}
    start = common_start(files)
    folders = {file.parent for file in files.values()}
    masks = [
        folder / name
        for folder in folders
        for name in nifti_names(folder)
        if is_brain_mask(name) and name.startswith(start)
    ]
    mask = masks[0] if len(masks) == 1 else None
    notes = [*case.notes, *([f"brain mask {mask.name} taken"] if mask else [])]
    if len(masks) > 1:
        notes.append(f"{len(masks)} brain masks found, none taken; --brain-mask FILE takes one")
    return RawCase(safe_name(case.case_id, files), dict(files), mask, case.problem, tuple(notes))


def common_start(files: Mapping[Modality, Path]) -> str:
    """Return the common beginning of a case's file names, before the words on their sequence; may be empty."""
    stems = [NIFTI.sub("", file.name) for file in files.values()]
    starts = {stem[: read_sequence(stem).start] for stem in stems}
    return starts.pop() if len(starts) == 1 else ""


def is_brain_mask(name: str) -> bool:
    """Tell whether a file name spells a mask of the brain."""
    found = read_label(name)
    return found is not None and any(word.text in BRAIN_WORDS for word in read_words(name[found.start :]))


def from_study(
    study: list[DicomSeries], overrides: Mapping[Modality, str], table: NameTable | None, name: str
) -> RawCase:
    """Return a case of one DICOM study."""
    chosen: StudySeries = choose_series(study, overrides, table)
    return RawCase(safe_name(name, chosen.series), chosen.series, None, chosen.problem, tuple(chosen.notes))


def name_study(series: DicomSeries, patient_ids: bool, several: bool) -> str:
    """Return the name for the results of a DICOM study.

    Args:
        series: one of the study.
        patient_ids: use the PatientID, made safe for file names, and the study's date if the patient has several. Else
            a hash of PatientID and StudyInstanceUID, so that names and logs tell nothing about the patient.
        several: whether the patient has several studies.
    """
    if not patient_ids:
        return f"study_{hashlib.sha256(f'{series.patient_id}/{series.study_uid}'.encode()).hexdigest()[:10]}"
    name = series.patient_id or series.study_uid
    return safe_case_id(f"{name}_{series.study_date or series.study_uid}" if several and series.patient_id else name)


def safe_name(case_id: str, modalities: Collection[Modality]) -> str:
    """Return a case's name that does not make ``metakd predict`` mistake the sequences of its files."""
    wanted = list(modalities) or list(Modality)
    names = {f"{case_id}_{modality.value}.nii.gz": modality for modality in wanted}
    groups = group_names(list(names))
    understood = len(groups) == 1 and not groups[0].problem and len(groups[0].files) == len(wanted)
    if understood and all(names[file] is modality for modality, file in groups[0].files.items()):
        return case_id
    return f"case_{hashlib.sha256(case_id.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def with_mask(cases: list[RawCase], mask: Path) -> list[RawCase]:
    """Return the only case with a mask of its brain; raises UserError for several cases, or no such file."""
    if len(cases) != 1:
        raise UserError(f"--brain-mask: given for {len(cases)} patients; expected one")
    if not os.path.isfile(mask):  # False for an impossible path
        raise UserError(f"--brain-mask: {mask}: no such file; expected a NIfTI mask on the grid of one series")
    return [replace(cases[0], brain_mask=mask)]
