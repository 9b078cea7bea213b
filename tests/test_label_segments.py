"""Labels of MONAI Label in a PACS: ``examples/monai_label_app/segments.py``."""

import json
import sys

import nibabel as nib
import numpy as np
import pytest
from conftest import REPOSITORY

pytest.importorskip("pydicom", reason="needs metakd-monai[raw]")
sys.path.append(str(REPOSITORY / "examples" / "monai_label_app"))

from pydicom import Dataset
from segments import KINDS, describe_segments, names_of_segments, newest_labels, present_values

METADATA = REPOSITORY / "bundles" / "brats_mri_metakd_segmentation" / "configs" / "metadata.json"


def test_segments_have_the_names_of_the_bundle_s_values():
    found = json.loads(METADATA.read_text())["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert list(KINDS) == [found[value] for value in sorted(found) if value != "0"]


def named(values, *told):
    found = describe_segments(values, [{"name": name} for name in told])
    assert [one["name"] for one in found] == [one["segmentAttribute"]["SegmentLabel"] for one in found]
    return {one["segmentAttribute"]["labelID"]: one["name"] for one in found}


@pytest.mark.parametrize(
    ("values", "told", "expected"),
    [
        ([1, 2, 3], [], {1: "necrosis", 2: "oedema", 3: "enhancing tumour"}),
        ([2, 3], list(KINDS), {2: "oedema", 3: "enhancing tumour"}),  # MONAI Label: necrosis, oedema
        ([1, 3], ["enhancing tumour", "oedema", "necrosis"], {1: "enhancing tumour", 3: "necrosis"}),
        ([1, 4], ["cyst"], {1: "cyst", 4: "label 4"}),
        ([], list(KINDS), {}),
    ],
)
def test_each_value_has_its_own_name(values, told, expected):
    assert named(values, *told) == expected


def test_kinds_are_coded_and_coloured():
    (oedema,) = describe_segments([2], [])
    attribute = oedema["segmentAttribute"]
    code = {"CodeValue": "79654002", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Edema"}
    assert attribute["SegmentedPropertyTypeCodeSequence"] == code
    assert attribute["recommendedDisplayRGBValue"] == [0, 158, 115]


def test_values_of_a_file_and_of_bare_voxels(tmp_path):
    voxels = np.zeros((4, 4, 4), np.uint8)
    voxels[0, 0, :2] = 3, 1
    voxels.tofile(tmp_path / "label.bin")
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), tmp_path / "label.nii.gz")
    assert present_values(tmp_path / "label.bin") == present_values(tmp_path / "label.nii.gz") == [1, 3]


def segmentation(image, time, *names):
    """Return the headers of a segmentation of an image, its segments in the opposite order."""
    made, referenced = Dataset(), Dataset()
    made.ContentDate, made.ContentTime = "20260101", time
    referenced.SeriesInstanceUID = image
    made.ReferencedSeriesSequence = [referenced]
    made.SegmentSequence = []
    for number, name in reversed(list(enumerate(names, start=1))):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, name
        made.SegmentSequence.append(segment)
    return made


def test_the_newest_label_of_an_image_counts_and_a_mask_of_regions_is_none():
    new, old = segmentation("1.1", "120001", "oedema", "enhancing tumour"), segmentation("1.1", "120000", "oedema")
    regions, bare = segmentation("1.2", "130000", "ET", "TC", "WT"), Dataset()
    assert newest_labels([new, regions, old, bare], KINDS) == {"1.1": new}
    assert names_of_segments(new) == ["oedema", "enhancing tumour"]
