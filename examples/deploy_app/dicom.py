"""DICOM series in, DICOM SEG out, with highdicom."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import torch
from descriptions import sequence_of
from monai.data import MetaTensor
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from metakd_monai import __version__
from metakd_monai.data.files import write_safely
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality, Region

logger = logging.getLogger(__name__)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# DICOM PS3.16 CID 7159 (Lesion Segmentation Types) and SNOMED CT; tumour core and whole tumour are BraTS' notions.
SEGMENTS = {
    Region.ET: ("enhancing tumour", Code("C113842", "NCIt", "Enhancing Lesion")),
    Region.TC: ("tumour core: enhancing and necrotic tumour", codes.SCT.Neoplasm),
    Region.WT: ("whole tumour: tumour core and oedema", Code("52988006", "SCT", "Lesion")),
}
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")


@dataclass(frozen=True)
class Volume:
    """A series as an image.

    Attributes:
        image: ``(1, slices, rows, columns)`` float32 with its affine (to right, anterior, superior).
        instances: of the series, slice by slice.
    """

    image: MetaTensor
    instances: Sequence[Any]


def find_series(folder: Path) -> tuple[str, dict[Modality, list[Any]]]:
    """Find the MR series of one patient and say which sequence each is, by the words of its description.

    Returns:
        The patient's ID, and the instances of each sequence.

    Raises:
        UserError: for no MR series, several patients, several frames of reference, no sequence recognised, or two
            series for one.
    """
    headers = [header for path in sorted(folder.rglob("*")) if path.is_file() and (header := read_header(path))]
    if not headers:
        raise UserError(f"{folder}: no NIfTI file and no DICOM MR image found; expected the sequences of one patient")
    patient = only_one(folder, headers, "PatientID", "patient")
    series = defaultdict(list)
    for header in headers:
        series[header.SeriesInstanceUID].append(header)
    found: dict[Modality, list[Any]] = {}
    for instances in series.values():
        description = str(instances[0].get("SeriesDescription", ""))
        modality = sequence_of(description, bool(instances[0].get("ContrastBolusAgent")))
        if modality in found:
            raise UserError(f"{folder}: two series are {modality.value}; expected at most one of each sequence")
        if modality is None:
            logger.warning("series %r: left out, its description names no one sequence", description)
        else:
            found[modality] = instances
    if not found:
        names = ", ".join(repr(str(instances[0].get("SeriesDescription", ""))) for instances in series.values())
        raise UserError(f"{folder}: series {names}; expected descriptions that name FLAIR, T1, T1ce or T2")
    only_one(folder, [instances[0] for instances in found.values()], "FrameOfReferenceUID", "frame of reference")
    return patient, found


def read_header(path: Path) -> Any:
    """Return the data set of an MR image without its pixels; None for any other file."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError):
        return None
    return header if header.get("Modality") == "MR" and "SeriesInstanceUID" in header else None


def only_one(folder: Path, headers: Sequence[Any], attribute: str, what: str) -> str:
    """Return the value that all data sets share; raises UserError when there are several."""
    values = sorted({str(header.get(attribute, "")) for header in headers})
    if len(values) > 1:
        advice = ": register the sequences to each other first" if attribute == "FrameOfReferenceUID" else ""
        raise UserError(f"{folder}: {len(values)} {what}s found ({', '.join(values)}); expected one{advice}")
    return values[0]


def read_series(headers: Sequence[Any]) -> Volume:
    """Read a series whole; raises UserError when its slices are no regular volume."""
    instances = hd.spatial.sort_datasets([pydicom.dcmread(header.filename) for header in headers])
    try:
        volume = hd.get_volume_from_series(instances, dtype=np.float32)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"series {headers[0].get('SeriesDescription', '')!r}: {error}; expected one regular volume"
        ) from error
    image = torch.from_numpy(np.ascontiguousarray(volume.array))[None]
    return Volume(MetaTensor(image, affine=torch.as_tensor(LPS_TO_RAS @ volume.affine)), instances)


def write_segmentation(path: Path, regions: np.ndarray, instances: Sequence[Any]) -> None:
    """Write regions as a DICOM SEG: one binary segment for each, since they overlap, referring to the source series.

    Args:
        path: where to; written whole or not at all.
        regions: ``(R, slices, rows, columns)``, ET, TC, WT.
        instances: of the series whose grid it is, slice by slice.
    """
    algorithm = hd.AlgorithmIdentificationSequence(
        name="MetaKD", version=__version__, family=codes.DCM.ArtificialIntelligence, source="metakd-monai"
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"{region.value} ({SEGMENTS[region][0]})",
            segmented_property_category=ABNORMAL,
            segmented_property_type=SEGMENTS[region][1],
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            anatomic_regions=[codes.SCT.Brain],
        )
        for number, region in enumerate(Region, start=1)
    ]
    segmentation = hd.seg.Segmentation(
        source_images=instances,
        pixel_array=np.moveaxis(regions, 0, -1).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=100 + int(instances[0].get("SeriesNumber") or 0),
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="metakd-monai contributors",
        manufacturer_model_name="metakd-monai",
        software_versions=__version__,
        device_serial_number="0",
        content_description="Brain tumour, research use only",
        series_description="Brain tumour segmentation (research use only)",
    )
    write_safely(path, segmentation.save_as)
