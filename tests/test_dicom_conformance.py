"""Results as DICOM hold before the programs of others: dicom3tools, dcmtk, Orthanc, dcmqi; what is absent is said."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("highdicom", reason="needs metakd-monai[dicom]")
pytest.importorskip("itk")

import pydicom
from dicom_cases import AFFINE, REPORTED, change, draw, results, write_study
from dicom_servers import fetch, free_port, orthanc, server

from metakd_monai.apps.dicom_results.write_objects import PICTURE, REPORT, SEGMENTATION
from metakd_monai.data.nifti import region_ml
from metakd_monai.vocabulary import Region, split_regions

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


@pytest.fixture
def study(tmp_path) -> Path:
    return write_study(tmp_path)


def errors(*command) -> list[str]:
    """Return the lines in which a program of dicom3tools speaks of an error, or of its use."""
    return [line for line in said(*command).splitlines() if line.startswith(("Error", "Abort", "Usage"))]


def test_dciodvfy_finds_no_error_in_sources_and_results(study):
    program = tool("dciodvfy")
    assert not [
        found for path in (*study.glob("IM?_0000.dcm"), *results(study).iterdir()) for found in errors(program, path)
    ]


def test_dciodvfy_finds_no_error_in_results_of_sources_that_lack_much(study):
    program = tool("dciodvfy")
    change(study, **dict.fromkeys(("PatientID", "PatientBirthDate", "StudyDate", "StudyID", "BodyPartExamined")))
    assert not [found for path in results(study).iterdir() for found in errors(program, path)]


def test_dcentvfy_finds_all_of_one_patient_study_and_frame(study):
    assert not errors(tool("dcentvfy"), *study.iterdir(), *results(study).iterdir())


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
