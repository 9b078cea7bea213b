"""A mask as DICOM Segmentation on the grid of an original series: ET, TC and WT, binary segments that overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.sr.codedict import codes

from metakd_monai import __version__
from metakd_monai.apps.dicom_results.dicom_terms import (
    ABNORMAL,
    ALGORITHM,
    MAKER,
    SEGMENTS,
    equipment,
    parameters_of,
)
from metakd_monai.apps.dicom_results.source_series import Identity, Sources
from metakd_monai.vocabulary import Region, split_regions


def make_segmentation(
    labels: np.ndarray, sources: Sources, identity: Identity, report: Mapping[str, Any], series_number: int
) -> Any:
    """Return the segmentation object.

    Args:
        labels: ``(columns, rows, slices)``, as :func:`~metakd_monai.apps.raw.dicom_volume.load_series` has its axes.
        sources: the series that the mask was made from.
        identity: determines the UIDs.
        report: on the case.
        series_number: of its series.
    """
    regions = np.stack([mask.T for mask in split_regions(labels)], axis=-1)  # (slices, rows, columns, R)
    grid, step = sources.grid, float(np.linalg.norm(sources.step))
    # highdicom takes one enhanced file for the grid
    first = 1 if "NumberOfFrames" in sources.headers[0] else len(sources.headers)
    return hd.seg.Segmentation(
        source_images=sources.headers[:first],
        further_source_images=[*sources.headers[first:], *sources.others],
        pixel_array=regions.astype(np.uint8),
        plane_positions=[hd.PlanePositionSequence("PATIENT", frame.position) for frame in sources.frames],
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", grid.orientation),
        pixel_measures=hd.PixelMeasuresSequence(grid.spacing, grid.thickness or step, step),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[describe(region, identity, report) for region in Region],
        series_instance_uid=identity.uid("segmentation"),
        series_number=series_number,
        sop_instance_uid=identity.uid("segmentation", "object"),
        instance_number=1,
        content_label="BRAIN_TUMOUR",
        content_description="Brain tumour, research use only",
        series_description="Brain tumour segmentation (research use only)",
        **equipment(),
    )


def describe(region: Region, identity: Identity, report: Mapping[str, Any]) -> Any:
    """Return the description of a region's segment."""
    words, kind, colour = SEGMENTS[region]
    algorithm = hd.AlgorithmIdentificationSequence(
        ALGORITHM, codes.DCM.ArtificialIntelligence, __version__, MAKER, parameters_of(report)
    )
    return hd.seg.SegmentDescription(
        segment_number=number_of(region),
        segment_label=f"{region.value} ({words})",
        segmented_property_category=ABNORMAL,
        segmented_property_type=kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(region, identity),
        tracking_id=region.value,
        anatomic_regions=[codes.SCT.Brain],
        display_color=hd.color.CIELabColor.from_rgb(*colour),
    )


def number_of(region: Region) -> int:
    """Return the number of a region's segment."""
    return 1 + list(Region).index(region)


def tracking_uid(region: Region, identity: Identity) -> hd.UID:
    """Return the UID that identifies a region in both the segmentation and the structured report."""
    return identity.uid("tracking", region.value)
