"""The BraTS data sets by year: case names, meaning of labels, form of submissions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import BRATS_2023_LABELS, BRATS_2024_LABELS, BRATS_LABELS, MSD_LABELS, LabelConvention


@dataclass(frozen=True)
class Year:
    """One data set.

    Attributes:
        name: ``"2018"`` and so on, ``"msd"`` for Task01 of the Medical Segmentation Decathlon.
        pattern: of its case names; a group ``patient`` names the patient if a case is a time point.
        labels: what its label values mean.
        example: of a case name, for messages.
        validation_cases: number of cases in the complete validation set to submit, if there is one.
        shape: voxels of each volume.
    """

    name: str
    pattern: str
    labels: LabelConvention
    example: str
    validation_cases: int | None = None
    shape: tuple[int, int, int] = (240, 240, 155)

    def matches(self, case_id: str) -> bool:
        """Tell whether a case is named exactly as in this year."""
        return re.fullmatch(self.pattern, case_id) is not None

    def patient(self, case_id: str) -> str:
        """Return the patient of a case; the case itself if names have no time points."""
        found = re.fullmatch(self.pattern, case_id)
        return found.groupdict().get("patient", case_id) if found else case_id


GLIOMA = r"(?P<patient>BraTS-GLI-\d{5})-\d{3}"
YEARS = {
    year.name: year
    for year in (
        Year("2018", r"Brats1[78]_[A-Za-z0-9]+_[A-Za-z0-9]+_\d+", BRATS_LABELS, "Brats18_CBICA_AAM_1", 66),
        Year("2019", r"BraTS19_[A-Za-z0-9]+_[A-Za-z0-9]+_\d+", BRATS_LABELS, "BraTS19_CBICA_AAM_1", 125),
        Year("2020", r"BraTS20_(Training|Validation)_\d{3}", BRATS_LABELS, "BraTS20_Validation_001", 125),
        Year("2021", r"BraTS2021_\d{5}", BRATS_LABELS, "BraTS2021_00000", 219),
        Year("2023", GLIOMA, BRATS_2023_LABELS, "BraTS-GLI-00000-000", 219),
        Year("2024", GLIOMA, BRATS_2024_LABELS, "BraTS-GLI-00005-100", shape=(182, 218, 182)),
        Year("msd", r"BRATS_\d{3}", MSD_LABELS, "BRATS_001"),
    )
}


def find_year(name: str) -> Year:
    """Return a year by its name; raises UserError with the closest valid name."""
    if name in YEARS:
        return YEARS[name]
    close = get_close_matches(name, YEARS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"year: {name!r} found; {hint}expected one of {', '.join(YEARS)}")


def years_of(case_ids: Iterable[str]) -> list[Year]:
    """Return the years in which all of these names are possible (2023 and 2024 share theirs)."""
    names = list(case_ids)
    return [year for year in YEARS.values() if names and all(year.matches(name) for name in names)]
