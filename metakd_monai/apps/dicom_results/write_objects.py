"""A case's results as DICOM files, in the study of its series."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metakd_monai.apps.raw.dicom_headers import DicomSeries
from metakd_monai.data.files import write_safely
from metakd_monai.data.nifti import read_labels, read_nifti, region_ml
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

SEGMENTATION, REPORT, PICTURE = "segmentation.dcm", "report.dcm", "picture.dcm"
SERIES_NUMBERS = {SEGMENTATION: 9001, REPORT: 9002, PICTURE: 9003}  # after those of scanners


def write_results(
    folder: Path,
    mask: Path,
    sources: Mapping[Modality, DicomSeries],
    report: Mapping[str, Any],
    grid: Modality,
    picture: Path | None = None,
) -> list[Path]:
    """Write a segmentation, a structured report and, where there is a picture, a secondary capture.

    The same mask of the same files by the same program always gets the same UIDs, so that a PACS recognises what it has
    stored already. File names tell nothing about the patient.

    Args:
        folder: where ``segmentation.dcm``, ``report.dcm`` and ``picture.dcm`` go, each whole or not at all.
        mask: NIfTI label map on the grid of a series, axes as ``metakd predict --raw`` writes them.
        sources: the series that were used.
        report: what ``metakd predict`` writes of the case (``CASE.json``).
        grid: the sequence on whose grid the mask is.
        picture: such as ``CASE.png``.

    Returns:
        The files.

    Raises:
        UserError: without highdicom; for a mask on another grid, a series that results cannot refer to, and an
            unwritable folder.
    """
    check_highdicom()
    from metakd_monai.apps.dicom_results.picture_capture import make_capture
    from metakd_monai.apps.dicom_results.segmentation_object import make_segmentation
    from metakd_monai.apps.dicom_results.source_series import identify, read_sources
    from metakd_monai.apps.dicom_results.structured_report import make_structured_report

    known = read_sources(sources, grid)
    file = read_nifti(mask)
    labels = read_labels(mask, file)
    known.check_grid(mask, file)
    identity = identify(known, labels, report["settings"])
    segmentation = make_segmentation(labels, known, identity, report, SERIES_NUMBERS[SEGMENTATION])
    volumes = region_ml(labels, file.affine)
    numbers = SERIES_NUMBERS
    objects = {
        SEGMENTATION: segmentation,
        REPORT: make_structured_report(segmentation, volumes, known, identity, report, numbers[REPORT]),
    }
    if picture is not None:
        objects[PICTURE] = make_capture(picture, known, identity, numbers[PICTURE])
    for name, made in objects.items():
        write_safely(folder / name, made.save_as)
    return [folder / name for name in objects]


def check_highdicom() -> None:
    """Raise UserError where highdicom is not installed."""
    if find_spec("highdicom") is None:
        raise UserError("DICOM results: highdicom is not installed; expected pip install 'metakd-monai[dicom]'")
