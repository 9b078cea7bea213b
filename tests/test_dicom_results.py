"""Results as DICOM: right voxels and references, UIDs that stay, whole whatever the source lacks."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs metakd-monai[dicom]")
pytest.importorskip("itk")

import highdicom as hd
import pydicom
from dicom_cases import (
    AFFINE,
    REPORTED,
    T1CE,
    T2,
    WORDS,
    change,
    draw,
    groups_of,
    noise,
    results,
    voxels_of,
    write_study,
)
from raw_dicom import UIDS, write_enhanced

from metakd_monai.apps.dicom_results import write_objects
from metakd_monai.apps.dicom_results.write_objects import PICTURE, REPORT, SEGMENTATION
from metakd_monai.data.nifti import region_ml
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Region, split_regions


@pytest.fixture
def study(tmp_path) -> Path:
    return write_study(tmp_path)


def test_segments_are_the_masks_of_the_regions_and_refer_to_all_sources(study):
    data = pydicom.dcmread(results(study) / SEGMENTATION)
    assert (voxels_of(study.parent / "out" / SEGMENTATION, AFFINE, (40, 36, 16)) == split_regions(draw())).all()
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in study.iterdir()]
    assert {item.ReferencedSOPInstanceUID for item in data.SourceImageSequence} == {h.SOPInstanceUID for h in headers}
    assert {item.SeriesInstanceUID for item in data.ReferencedSeriesSequence} == {h.SeriesInstanceUID for h in headers}
    same = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
    assert all(data[name].value == headers[0][name].value for name in same)
    assert data.SeriesInstanceUID not in {h.SeriesInstanceUID for h in headers}
    first = data.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert first.SpatialLocationsPreserved == "YES"


def test_segments_say_what_they_are_their_colour_and_what_made_them(study):
    data = pydicom.dcmread(results(study) / SEGMENTATION)
    assert [item.SegmentLabel[:2] for item in data.SegmentSequence] == [region.value for region in Region]
    assert len({item.TrackingUID for item in data.SegmentSequence}) == 3
    assert len({tuple(item.RecommendedDisplayCIELabValue) for item in data.SegmentSequence}) == 3
    algorithm = data.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert f"weights_sha256={'ab' * 32}" in algorithm.AlgorithmParameters
    assert "sequences_used=flair,t1ce" in algorithm.AlgorithmParameters
    assert algorithm.AlgorithmVersion == data.SoftwareVersions


def test_the_report_measures_each_segment(study):
    folder = results(study)
    report, data = hd.sr.srread(folder / REPORT), pydicom.dcmread(folder / SEGMENTATION)
    groups = report.content.get_volumetric_roi_measurement_groups()
    truth = region_ml(draw(), AFFINE)
    for number, (region, group) in enumerate(zip(Region, groups, strict=True), start=1):
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == data.SOPInstanceUID
        assert segment.referenced_segment_numbers == [number]
        assert group.tracking_uid == data.SegmentSequence[number - 1].TrackingUID
        values = {m.name.value: m.value for m in group.get_measurements()}
        assert values["118565006"] == pytest.approx(truth[region.value])
        dice = {"ET": 0.7, "TC": None, "WT": 0.87}[region.value]  # measured; unknown; predicted, which goes first
        assert values.get("DICE") == dice


def test_the_picture_is_as_it_was_and_says_that_a_name_may_stand_in_it(study):
    data = pydicom.dcmread(results(study) / PICTURE)
    assert (data.pixel_array == noise(50, 60, 3).astype(np.uint8)).all()
    assert (data.BurnedInAnnotation, data.PhotometricInterpretation) == ("YES", "RGB")


def test_the_same_result_has_the_same_uids_and_another_has_others(study):
    def uids(folder):
        return {path.name: str(pydicom.dcmread(path).SOPInstanceUID) for path in folder.iterdir()}

    first = uids(results(study))
    assert uids(results(study)) == first
    changed = draw()
    changed[0, 0, 0] = 2
    other = uids(results(study, changed))
    weights = uids(results(study, report={**REPORTED, "settings": {"weights_sha256": "cd" * 32}}))
    assert len({*first.values(), *other.values(), *weights.values()}) == 9


@pytest.mark.parametrize(
    "values",
    [
        dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"), None),
        dict.fromkeys(("AccessionNumber", "StudyID", "ReferringPhysicianName", "Manufacturer"), None),
        {"PatientSex": "U", "BodyPartExamined": None},
    ],
)
def test_what_a_source_lacks_is_empty(study, values):
    change(study, **values)
    folder = results(study)
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        assert not data.get("PatientSex")
        assert "StudyInstanceUID" in data


def test_a_name_in_another_alphabet_stays(study):
    change(study, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", PatientID="Å1")
    for path in results(study).iterdir():
        data = pydicom.dcmread(path)
        assert (str(data.PatientName), data.PatientID) == ("Müller^Jörg", "Å1")


def test_an_enhanced_file_is_referred_to_frame_by_frame(tmp_path):
    write_enhanced(tmp_path / "study" / "enhanced.dcm", noise(40, 36, 16), AFFINE, **WORDS)
    report = {**REPORTED, "modalities": {"used": ["flair"], "missing": ["t1", "t1ce", "t2"]}}
    folder = results(tmp_path / "study", report=report)
    assert (voxels_of(folder / SEGMENTATION, AFFINE, (40, 36, 16)) == split_regions(draw())).all()
    data = pydicom.dcmread(folder / SEGMENTATION)
    item = data.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    source = pydicom.dcmread(tmp_path / "study" / "enhanced.dcm")
    frame = source.PerFrameFunctionalGroupsSequence[int(item.ReferencedFrameNumber) - 1]
    place = data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, place)


def test_a_mask_without_tumour_is_written_too(study):
    folder = results(study, np.zeros((40, 36, 16), np.uint8))
    assert not voxels_of(folder / SEGMENTATION, AFFINE, (40, 36, 16)).any()
    (values,) = {m.value for g in groups_of(folder) for m in g.get_measurements() if m.name.value == "118565006"}
    assert values == 0


def test_a_mask_without_enhancing_tumour_refers_to_an_empty_segment(study):
    labels = draw()
    labels[labels == 4] = 1
    volumes = [group.get_measurements()[0].value for group in groups_of(results(study, labels))]
    assert volumes[0] == 0 < volumes[1] < volumes[2]


def test_what_cannot_be_referred_to_is_refused_in_one_line(study, monkeypatch):
    with pytest.raises(UserError, match=r"mask.nii.gz: shape .* found; expected .* as in ax t1 post"):
        results(study, grid=T1CE)
    with pytest.raises(UserError, match="grid: t2 found; expected one of the series used \\(flair, t1ce\\)"):
        results(study, grid=T2)
    change(study, FrameOfReferenceUID=None)
    with pytest.raises(UserError, match="no FrameOfReferenceUID found; expected one"):
        results(study)
    assert not (study.parent / "out").exists()
    monkeypatch.setattr(write_objects, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"expected pip install 'metakd-monai\[dicom\]'"):
        results(study)


def test_series_of_other_frames_of_reference_are_sources_too(study):
    for path in study.glob("IM2_*"):
        data = pydicom.dcmread(path)
        data.FrameOfReferenceUID = f"{UIDS}44"
        data.save_as(path)
    data = pydicom.dcmread(results(study) / SEGMENTATION)
    assert len(data.ReferencedSeriesSequence) == 2
    assert data.FrameOfReferenceUID == f"{UIDS}4"
