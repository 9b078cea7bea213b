"""The results of ``metakd predict`` for a case: its report, mask and maps, and the images behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metakd_monai.data.files import read_record
from metakd_monai.data.nifti import read_label_of, read_nifti, read_sequences, read_voxels
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import ET_LABELS, Label, parse_modalities, parse_modality

NEEDED: dict[str, Any] = {
    "case": str,
    "files": (str, dict),
    "modalities": dict,
    "notes": list,
    "volumes_ml": dict,
    "warnings": list,
}
ET_SHOWN = int(Label.ET_2023)  # values of a shown mask are 1, 2 and 3


@dataclass(frozen=True)
class CaseResult:
    """A case that was segmented.

    Attributes:
        directory: with its mask.
        report: the content of its JSON file.
    """

    directory: Path
    report: Mapping[str, Any]

    @property
    def case_id(self) -> str:
        """The case's name."""
        return str(self.report["case"])

    @property
    def page(self) -> Path:
        """Where its page goes."""
        return self.beside(".html")

    def beside(self, end: str) -> Path:
        """Return a file of the case."""
        return self.directory / f"{self.case_id}{end}"


@dataclass(frozen=True)
class Volumes:
    """The volumes to show of a case, all on one grid.

    Attributes:
        images: ``(*S)`` of each sequence that was used, by its name, 0 outside the brain.
        labels: ``(*S)`` uint8: 1 necrosis, 2 oedema, 3 enhancing tumour.
        uncertainty: ``(*S)`` in bits; None where there is no map.
        affine: ``(4, 4)``.
    """

    images: Mapping[str, np.ndarray]
    labels: np.ndarray
    uncertainty: np.ndarray | None
    affine: np.ndarray


def find_results(folder: Path) -> list[CaseResult]:
    """Return the cases of an output folder of ``metakd predict``, by name; raises UserError when there are none."""
    results = list_results(folder)
    if not results:
        raise UserError(f"{folder}: no case found; expected CASE.json and CASE.nii.gz, as metakd predict writes them")
    return results


def list_results(folder: Path) -> list[CaseResult]:
    """Return the cases of a folder, by name; an empty list if it has none."""
    found = [read_result(file) for file in sorted(folder.glob("*.json"))]
    return [result for result in found if result is not None]


def read_result(file: Path) -> CaseResult | None:
    """Read a case's report; return None for another JSON file, and if the mask is missing."""
    report = read_record(file)
    if any(not isinstance(report.get(name), kind) for name, kind in NEEDED.items()):
        return None
    result = CaseResult(file.parent, report)
    return result if f"{result.case_id}.json" == file.name and result.beside(".nii.gz").is_file() else None


def read_volumes(result: CaseResult) -> Volumes:
    """Read a case's images, mask and map.

    Raises:
        UserError: when an image has been moved or removed, or a file is on another grid.
    """
    report = result.report
    files = report["files"]
    by_name = Path(files) if isinstance(files, str) else {parse_modality(m): Path(f) for m, f in files.items()}
    read = read_sequences(by_name, parse_modalities(report["modalities"]["used"]))
    affine = np.asarray(read.affine)
    labels = read_label_of(result.beside(".nii.gz"), read.shape, affine)
    labels = np.where(np.isin(labels, ET_LABELS), np.uint8(ET_SHOWN), labels)
    images = {modality.value: image for modality, image in read.channels.items()}
    return Volumes(images, labels, read_uncertainty(result, labels.shape), affine)


def read_uncertainty(result: CaseResult, shape: tuple[int, ...]) -> np.ndarray | None:
    """Read a case's map of uncertainty; None if this mask has none."""
    path = result.beside("_uncertainty.nii.gz")
    if result.report.get("uncertainty") is None or not path.is_file():
        return None
    file = read_nifti(path)
    if file.shape != shape:
        raise UserError(f"{path}: shape {file.shape} found; expected {shape}, as the case's images")
    return read_voxels(path, file)
