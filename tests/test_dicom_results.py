"""Results as DICOM: right voxels and references, valid for others' readers, whole whatever the source lacks."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs metakd-monai[dicom]")
pytest.importorskip("itk")

import highdicom as hd
import nibabel as nib
import pydicom
from dicom_servers import fetch, free_port, orthanc, server
from PIL import Image
from raw_dicom import UIDS, write_enhanced, write_series

from metakd_monai.apps.dicom_results import write_objects
from metakd_monai.apps.dicom_results.write_objects import PICTURE, REPORT, SEGMENTATION, write_results
from metakd_monai.apps.raw.raw_cases import find_raw_cases
from metakd_monai.data.nifti import region_ml
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality, Region, split_regions

FLAIR, T1, T1CE, T2 = Modality
AFFINE = np.diag([-4.0, -3.5, 5.0, 1.0]) + np.outer([70, 60, -40, 0], [0, 0, 0, 1])
OTHER = np.diag([-3.0, -3.0, 6.0, 1.0]) + np.outer([75, 62, -41, 0], [0, 0, 0, 1])
FLAIR_TIMES = {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
WORDS = {"SeriesDescription": "AX FLAIR", **FLAIR_TIMES}
REPORTED = {
    "settings": {"weights_sha256": "ab" * 32},
    "modalities": {"used": ["flair", "t1ce"], "missing": ["t1", "t2"]},
    "expected": {
        "predicted": {"WT": {"dice": 0.87, "low": 0.8, "high": 0.92, "flagged": False}},
        "dice": {region: {"cases": 28, "median": 0.7, "low": 0.5, "high": 0.9} for region in ("ET", "WT")},
    },
    "warnings": ["the skull seems to be there"],
}


PACKAGES = {
    **dict.fromkeys(("dciodvfy", "dcentvfy"), "Debian's dicom3tools"),
    **dict.fromkeys(("storescu", "storescp"), "Debian's dcmtk"),
    **dict.fromkeys(("segimage2itkimage", "tid1500reader"), "PyPI's dcmqi"),
    "Orthanc": "Debian's orthanc and orthanc-dicomweb",
}


def tool(name: str) -> str:
    """Return where a program is; skip the test, and say what to install, where it is not."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed: {PACKAGES[name]}")
    return found


def said(*command) -> str:
    """Run a program; return all that it says, which is what those of dicom3tools are judged by."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    return done.stdout + done.stderr


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, shape).astype(np.uint16)


@pytest.fixture
def study(tmp_path) -> Path:
    write_series(tmp_path / "study", noise(40, 36, 16), AFFINE, "1", **WORDS)
    write_series(tmp_path / "study", noise(30, 32, 16), OTHER, "2", SeriesDescription="AX T1 POST")
    return tmp_path / "study"


def draw(shape=(40, 36, 16)) -> np.ndarray:
    """Return a label map of nested boxes, in no symmetry."""
    labels = np.zeros(shape, np.uint8)
    labels[8:30, 10:25, 3:12] = 2
    labels[12:25, 12:20, 5:11] = 1
    labels[14:20, 15:19, 6:9] = 4
    return labels


def results(study: Path, labels: np.ndarray | None = None, report: dict = REPORTED, grid=FLAIR, affine=AFFINE) -> Path:
    """Write results of a study beside it; return their folder."""
    folder = study.parent
    nib.save(nib.Nifti1Image(draw() if labels is None else labels, affine), folder / "mask.nii.gz")
    Image.fromarray(noise(50, 60, 3).astype(np.uint8)).save(folder / "picture.png")
    (case,) = find_raw_cases(study)
    write_results(folder / "out", folder / "mask.nii.gz", case.series, report, grid, folder / "picture.png")
    return folder / "out"


def voxels_of(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the segments of a SEG file, ``(R, columns, rows, slices)``, placed by their own positions."""
    data = pydicom.dcmread(path)
    found = np.zeros((len(data.SegmentSequence), *shape), np.uint8)
    for frame, groups in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float) * [-1, -1, 1]
        where = np.linalg.solve(affine, [*place, 1])
        assert np.allclose(where[:2], 0, atol=1e-3)
        found[number - 1, :, :, round(where[2])] = frame.T
    return found


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


@pytest.mark.parametrize("program", ["dciodvfy", "dcentvfy"])
def test_others_find_no_error_in_sources_and_results(study, program):
    program = tool(program)
    files = [*study.glob("IM?_0000.dcm"), *results(study).iterdir()]
    texts = [said(program, *files)] if program.endswith("dcentvfy") else [said(program, path) for path in files]
    assert not [line for text in texts for line in text.splitlines() if re.match("Error|Abort|Usage", line)]


def test_dcmqi_reads_the_same_voxels(study, tmp_path):
    program, folder = tool("segimage2itkimage"), results(study)
    (tmp_path / "read").mkdir()
    said(program, "--inputDICOM", folder / SEGMENTATION, "--outputDirectory", tmp_path / "read", "-t", "nifti")
    for number, wanted in enumerate(split_regions(draw()), start=1):
        image = nib.load(tmp_path / "read" / f"{number}.nii.gz")
        to_mask = np.linalg.inv(AFFINE) @ image.affine
        voxels = nib.affines.apply_affine(to_mask, np.argwhere(np.asarray(image.dataobj)))
        assert np.array_equal(np.unique(np.rint(voxels), axis=0), np.argwhere(wanted))


def test_dcmqi_reads_the_report(study, tmp_path):
    program, folder = tool("tid1500reader"), results(study)
    said(program, "--inputDICOM", folder / REPORT, "--outputMetadata", tmp_path / "report.json")
    read = json.loads((tmp_path / "report.json").read_text())
    truth = region_ml(draw(), AFFINE)
    for region, group in zip(Region, read["Measurements"], strict=True):
        assert float(group["measurementItems"][0]["value"]) == pytest.approx(truth[region.value])
        made_by = group["measurementAlgorithmIdentification"]["AlgorithmParameters"]
        assert made_by == [f"weights_sha256={'ab' * 32}"]
        told = [(e["conceptCode"]["CodeValue"], e["conceptValue"]) for e in group["qualitativeEvaluations"]]
        used = [value["CodeValue"] for name, value in told if name == "SEQUENCE_USED"]
        assert used == ["FLAIR", "T1CE"]
    assert ("121106", REPORTED["warnings"][0]) in told


def change(study: Path, **values) -> None:
    """Set attributes in all files of a study; None takes one away."""
    for path in study.iterdir():
        data = pydicom.dcmread(path)
        for name, value in values.items():
            if value is None:
                del data[name]
            else:
                setattr(data, name, value)
        data.save_as(path)


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
    if shutil.which("dciodvfy"):
        assert not [p for p in folder.iterdir() if re.search("^Error", said("dciodvfy", p), re.M)]


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


def groups_of(folder: Path) -> list:
    return hd.sr.srread(folder / REPORT).content.get_volumetric_roi_measurement_groups()


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


def test_dcmtk_sends_and_takes_results_unchanged(study, tmp_path):
    send, take, port, folder = tool("storescu"), tool("storescp"), free_port(), results(study)
    (tmp_path / "taken").mkdir()
    with server([take, "--output-directory", tmp_path / "taken", port], port, tmp_path / "log.txt"):
        assert "E:" not in said(send, "-R", "127.0.0.1", port, *folder.iterdir())
    sent, taken = (
        {d.SOPInstanceUID: d for d in map(pydicom.dcmread, f.iterdir())} for f in (folder, tmp_path / "taken")
    )
    assert sent == taken


def test_orthanc_keeps_results_in_the_study_and_gives_them_back_unchanged(study, tmp_path):
    send, folder = tool("storescu"), results(study)
    with orthanc(tmp_path, tool("Orthanc")) as (http, dicom):
        for _ in range(2):  # what is stored again is no duplicate
            assert "E:" not in said(send, "-R", "127.0.0.1", dicom, *study.iterdir(), *folder.iterdir())
        (kept,) = json.loads(fetch(http, "/studies?expand"))
        found = json.loads(fetch(http, f"/studies/{kept['ID']}/series?expand"))
        kinds = {one["MainDicomTags"]["Modality"]: one["Instances"] for one in found}
        assert {kind: len(instances) for kind, instances in kinds.items() if kind != "MR"} == {
            "SEG": 1,
            "SR": 1,
            "OT": 1,
        }
        for kind, name in (("SEG", SEGMENTATION), ("SR", REPORT), ("OT", PICTURE)):
            (tmp_path / name).write_bytes(fetch(http, f"/instances/{kinds[kind][0]}/file"))
            assert pydicom.dcmread(tmp_path / name) == pydicom.dcmread(folder / name)
