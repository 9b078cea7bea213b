"""One series of a study, and which of the others go with it. No MONAI Label is needed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metakd_monai.apps.raw.dicom_choice import choose_series, tell
from metakd_monai.apps.raw.dicom_headers import DicomSeries, find_dicom
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import MODALITY_NAMES, Modality


@dataclass(frozen=True)
class Chosen:
    """The image of each sequence, and notes on what was assigned or skipped, and why."""

    files: dict[Modality, Path]
    notes: tuple[str, ...]


def choose_siblings(image: Path, folder: Path, sequence: Modality | None, others: Mapping[Path, Path]) -> Chosen:
    """Say which sequence a series is, and choose the other sequences of its study.

    Args:
        image: the series as NIfTI.
        folder: of its DICOM files.
        sequence: what it is, whatever its description says; None to go by that.
        others: images of the study's other series, by the folders of their DICOM files.

    Raises:
        UserError: where nobody says which sequence the series is.
    """
    own = read_series(folder)
    found = sequence or name_series(own)
    study = [own, *(read_series(other) for other in others)]
    chosen = choose_series(study, {found: own.series_uid})
    images = {own.series_uid: image, **{other.name: path for other, path in others.items()}}
    files = {m: images[chosen.series[m].series_uid] for m in Modality if m in chosen.series}
    return Chosen(files, tuple(in_words_of_a_client(note) for note in chosen.notes))


def in_words_of_a_client(note: str) -> str:
    """Return a note without the options of the command line."""
    return note.replace("by --series", "the image asked for").removesuffix("; --series SEQUENCE=UID selects one")


def read_series(folder: Path) -> DicomSeries:
    """Read the headers of the one series in a folder; raises UserError for what is none."""
    found = [series for study in find_dicom(folder).values() for series in study]
    if not found:
        raise UserError(f"{folder}: no MR series found; expected the DICOM files of one")
    return max(found, key=lambda series: len(series.frames))


def name_series(series: DicomSeries) -> Modality:
    """Return which sequence a series is; raises UserError where its description and parameters do not say."""
    kinship = tell(series)
    if kinship.found is None:
        raise UserError(
            f"series {series.name!r}: {kinship.reason}; expected a choice of sequence ({', '.join(MODALITY_NAMES)})"
        )
    return kinship.found
