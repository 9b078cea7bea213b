"""What label maps are called in a PACS: the segments of a DICOM Segmentation. No MONAI Label is needed here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import itk
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

# Of each label of the bundle: what it is, and a colour (Okabe and Ito), in RGB.
KINDS = {
    "necrosis": (codes.SCT.Necrosis, (0, 114, 178)),
    "oedema": (codes.SCT.Edema, (0, 158, 115)),
    "enhancing tumour": (codes.NCIt.EnhancingLesion, (240, 228, 66)),
}
OTHER = (codes.SCT.Lesion, (204, 121, 167))


def present_values(label: Path) -> list[int]:
    """Return the values in a label map, without 0: in a file of any type, or ``.bin``, the bare voxels of OHIF."""
    voxels = np.fromfile(label, np.uint8) if label.suffix == ".bin" else itk.array_from_image(itk.imread(str(label)))
    return [int(value) for value in np.unique(np.rint(voxels)) if value]


def describe_segments(values: Sequence[int], told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the description of each segment that a label map has, as MONAI Label hands it on to dcmqi.

    MONAI Label itself gives the n-th value that is there the n-th name: where there is no necrosis, oedema becomes it.

    Args:
        values: in the label map, ascending.
        told: the client's ``label_info``, names of the values 1, 2, ...; where it is empty, those of :data:`KINDS`.
    """
    names = [str(one["name"]) for one in told] or list(KINDS)
    return [
        {"name": name, "model_name": "Brain tumour, labelled (research use only)", "segmentAttribute": attribute}
        for value in values
        for name in [names[value - 1] if value <= len(names) else f"label {value}"]
        for attribute in [describe_segment(value, name)]
    ]


def describe_segment(value: int, name: str) -> dict[str, Any]:
    """Return dcmqi's description of a segment."""
    kind, colour = KINDS.get(name, OTHER)
    return {
        "labelID": value,
        "SegmentLabel": name,
        "SegmentDescription": name,
        "SegmentAlgorithmType": "SEMIAUTOMATIC",
        "SegmentAlgorithmName": "MetaKD, corrected in MONAI Label",
        "SegmentedPropertyCategoryCodeSequence": in_dcmqi_s_words(codes.SCT.MorphologicallyAbnormalStructure),
        "SegmentedPropertyTypeCodeSequence": in_dcmqi_s_words(kind),
        "AnatomicRegionSequence": in_dcmqi_s_words(codes.SCT.Brain),
        "recommendedDisplayRGBValue": list(colour),
    }


def in_dcmqi_s_words(code: Code) -> dict[str, str]:
    """Return a code as dcmqi reads it."""
    return {"CodeValue": code.value, "CodingSchemeDesignator": code.scheme_designator, "CodeMeaning": code.meaning}


def names_of_segments(segmentation: Dataset) -> list[str]:
    """Return the labels of a segmentation's segments in the order of their numbers, which are its values."""
    segments = sorted(segmentation.SegmentSequence, key=lambda segment: int(segment.SegmentNumber))
    return [str(segment.SegmentLabel) for segment in segments]


def newest_labels(segmentations: Collection[Dataset], known: Collection[str]) -> dict[str, Dataset]:
    """Return the newest segmentation of each series that it refers to, among those with no segment but known ones.

    Others, such as the regions that ``metakd predict --dicom`` writes, are no label maps to train on.
    """
    ours = [one for one in segmentations if one.get("SegmentSequence") and one.get("ReferencedSeriesSequence")]
    ours = [one for one in ours if set(names_of_segments(one)) <= set(known)]
    ours.sort(key=lambda one: (str(one.get("ContentDate", "")), str(one.get("ContentTime", ""))))
    return {str(one.ReferencedSeriesSequence[0].SeriesInstanceUID): one for one in ours}
