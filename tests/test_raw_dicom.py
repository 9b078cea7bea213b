"""Which DICOM series is which sequence, and that its voxels and its place come out as they went in."""

import re
import shutil

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="needs metakd-monai[raw]")
pytest.importorskip("itk")

import pydicom
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, RLELossless
from raw_dicom import UIDS, pack, write_enhanced, write_series

from metakd_monai.apps.raw.dicom_choice import choose_series, tell
from metakd_monai.apps.raw.dicom_headers import DicomSeries, Frame, find_dicom
from metakd_monai.apps.raw.dicom_volume import load_series
from metakd_monai.apps.raw.raw_cases import find_raw_cases
from metakd_monai.data.cases import check_case_id
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

FLAIR, T1, T1CE, T2 = Modality
TURNED = np.array([[-3.9, 0.3, 0.9, 80.0], [0.4, -3.9, 0.7, 75.0], [0.25, 0.2, 5.4, -40.0], [0, 0, 0, 1.0]])


def orthogonal(affine: np.ndarray) -> np.ndarray:
    """Return an affine with the nearest directions that are at right angles."""
    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    left, _, right = np.linalg.svd(affine[:3, :3] / edges)
    exact = affine.copy()
    exact[:3, :3] = left @ right * edges
    return exact


AFFINE = orthogonal(TURNED)
VOXELS = np.random.default_rng(0).integers(0, 4000, (40, 36, 16)).astype(np.uint16)


def series(description="", tr=None, te=None, ti=None, agent="", methods="se", slices=20, **more) -> DicomSeries:
    numbers = {name: float(v) for name, v in (("tr", tr), ("te", te), ("ti", ti)) if v is not None}
    texts = {"description": description.lower(), "protocol": "", "agent": agent.lower(), "acquisition": "2d"}
    texts |= {"sequence": methods, "variant": "", "image_type": more.pop("image_type", "original primary m")}
    frames = tuple(Frame(None, 0, (0.0, 0.0, float(n)), str(n)) for n in range(slices))
    uid, thick = more.pop("uid", description), more.pop("thickness", 5.0)
    texts |= more
    return DicomSeries(uid, "s", "p", "", texts, numbers, (9, 9), (1, 0, 0, 0, 1, 0), (1, 1), thick, frames)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (series("AX T1 PRE CONTRAST", 600, 10, agent="Gadovist"), T1),
        (series("AX T1 W/O CONTRAST", 600, 10), T1),
        (series("T1 NON CONTRAST", 600, 10), T1),
        (series("t2_tirm_tra_dark-fluid", 9000, 110, 2500), FLAIR),
        (series("t2_tirm_tra_dark-fluid"), FLAIR),
        (series("T2 TIRM", 9000, 110, 2500), FLAIR),
        (series("AX T2 FLAIR", 9000, 120, 2400), FLAIR),
        (series("AX T2 FLAIR", 9000, 120), FLAIR),
        (series("AX T2", 9000, 120, 2400), FLAIR),  # its inversion time says so
        (series("T1 +C", 600, 10), T1CE),
        (series("T1 KM", 600, 10), T1CE),
        (series("AX T1 GADO", 600, 10), T1CE),
        (series("AX T1", 600, 10, agent="Magnevist"), T1CE),
        (series("AX T1", 600, 10, agent="none"), T1),
        (series("SAG MPRAGE", 2000, 3, 900, methods="gr ir"), T1),
        (series("Sag T1 FLAIR", 2200, 10, 800), T1),
        (series("", 600, 10, agent="Gd"), T1CE),
        (series("", 5000, 100), T2),
        (series("brain", 5000, 100), T2),
        (series("T2*", 700, 25, methods="gr"), None),
        (series("AX T2", 700, 25, methods="gr"), None),
        (series("PD", 3000, 20), None),
        (series("AX", 3000, 20), None),
        (series("STIR", 5000, 40, 150), None),
        (series("T2 AX FS", 5000, 60, 170), None),
        (series("ep2d_diff", 5000, 90, methods="ep"), None),
        (series("AX T1 PERFUSION", 600, 10), None),
        (series("T1 SUBTRACTION", 600, 10), None),
        (series("ADC", 5000, 90), None),
        (series("T1 AX", 600, 10, image_type="derived primary projection image"), None),
        (series("LOCALIZER", 20, 5, methods="gr"), None),
        (series("AX T1", 9000, 110), None),  # contradicts its parameters
        (series("AX T1", 600, 10, slices=3), None),
    ],
)
def test_words_and_parameters_say_which_sequence_a_series_is(given, found):
    assert tell(given).found is found, tell(given).reason


def test_the_better_of_two_is_taken_and_said_and_an_override_wins():
    thick, thin = series("T1 POST", 600, 10, uid="a"), series("T1 POST 3D", 600, 4, uid="b", thickness=1.0)
    chosen = choose_series([thick, thin, series("ADC", 5000, 90, uid="c")], {})
    assert chosen.series == {T1CE: thin}
    assert any("rather than t1 post" in note for note in chosen.notes)
    assert any("adc" in note and "skipped" in note for note in chosen.notes)
    assert choose_series([thick, thin], {T1CE: "a"}).series == {T1CE: thick}
    with pytest.raises(UserError, match="--series: t1ce=z: no such series"):
        choose_series([thick, thin], {T1CE: "z"})
    assert "no series is known" in choose_series([series("ADC", 5000, 90)], {}).problem


def test_a_shuffled_series_comes_out_as_it_went_in(tmp_path):
    write_series(tmp_path, VOXELS, AFFINE, "1", ending="")
    (found,) = find_dicom(tmp_path).values()
    volume = load_series(found[0])
    assert (volume.voxels == VOXELS).all()
    assert np.allclose(volume.affine, AFFINE, atol=1e-4)


def test_a_mixed_folder_is_sorted_out_and_a_prior_study_is_a_case_of_its_own(tmp_path):
    write_series(tmp_path, VOXELS, AFFINE, "1", SeriesDescription="AX T1")
    write_series(tmp_path, VOXELS, AFFINE, "2", SeriesDescription="AX FLAIR", RepetitionTime=9000, EchoTime=120)
    prior = {"StudyInstanceUID": f"{UIDS}77", "StudyDate": "20190101"}
    write_series(tmp_path, VOXELS, AFFINE, "3", SeriesDescription="AX T2", RepetitionTime=5000, EchoTime=99, **prior)
    (tmp_path / "notes.txt").write_text("no image")
    cases = {case.case_id: case for case in find_raw_cases(tmp_path, patient_ids=True)}
    assert set(cases) == {"P1_20200102", "P1_20190101"}
    assert set(cases["P1_20200102"].series) == {T1, FLAIR}
    assert any(note.startswith("flair: ax flair") for note in cases["P1_20200102"].notes)


def test_an_enhanced_file_is_read(tmp_path):
    told = {"SeriesDescription": "T2 AX", "RepetitionTime": 9000.0, "EchoTime": 110.0, "InversionTime": 2500.0}
    write_enhanced(tmp_path / "enhanced", VOXELS, AFFINE, **told)
    (case,) = find_raw_cases(tmp_path)
    assert set(case.series) == {FLAIR}
    volume = case.read(FLAIR)
    assert (volume.voxels == VOXELS).all()
    assert np.allclose(volume.affine, AFFINE, atol=1e-4)


def missing(folder, paths):
    next(path for path in paths if b"3.1.8" in path.read_bytes()).unlink()


def copied(folder, paths):
    shutil.copy(paths[3], folder / "copy.dcm")


def twice(folder, paths):
    import pydicom

    data = pydicom.dcmread(paths[3])
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{UIDS}9.9"
    data.save_as(folder / "again.dcm")


def uneven(folder, paths):
    import pydicom

    data = pydicom.dcmread(paths[3])
    data.ImagePositionPatient = [
        x + 1.5 * n for x, n in zip(data.ImagePositionPatient, AFFINE[:3, 2] / 5.5, strict=True)
    ]
    data.save_as(paths[3])


def cut_short(folder, paths):
    paths[3].write_bytes(paths[3].read_bytes()[:-500])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, "1 of 16 slices missing"),
        (twice, "1 slices at a place that has one"),
        (uneven, "mm apart found; expected equal distances"),
        (cut_short, "cannot be unpacked|slices missing"),
    ],
)
def test_a_spoilt_series_is_refused(tmp_path, spoil, words):
    spoil(tmp_path, write_series(tmp_path, VOXELS, AFFINE))
    (case,) = find_raw_cases(tmp_path)
    with pytest.raises(UserError, match=words):
        case.read(T1)


def test_copies_of_a_slice_are_passed_over_with_a_word(tmp_path):
    copied(tmp_path, write_series(tmp_path, VOXELS, AFFINE))
    (case,) = find_raw_cases(tmp_path)
    assert (case.read(T1).voxels == VOXELS).all()
    assert any("1 copies of slices skipped" in note for note in case.notes)


@pytest.mark.parametrize("patient", ["../../x", "12/345", "", None, "A" * 300, "a\nb", "SMITH^JOHN"])
def test_names_of_results_are_safe_and_say_nothing_of_the_patient_unless_asked_for(patient, tmp_path):
    for path in write_series(tmp_path, VOXELS, AFFINE):
        data = pydicom.dcmread(path)
        data.PatientID = patient
        if patient is None:
            del data.PatientID, data.StudyDate
        data.save_as(path)
    (hidden,), (shown,) = find_raw_cases(tmp_path), find_raw_cases(tmp_path, patient_ids=True)
    assert re.fullmatch("study_[0-9a-f]{10}", hidden.case_id)
    assert check_case_id(hidden.case_id)
    assert check_case_id(shown.case_id)
    assert shown.case_id.startswith((patient or UIDS)[:2].strip("./")[:1])


def test_two_studies_are_named_apart_and_a_study_always_alike(tmp_path):
    write_series(tmp_path / "a", VOXELS, AFFINE, "1")
    write_series(tmp_path / "b", VOXELS, AFFINE, "2", StudyInstanceUID=f"{UIDS}77")
    names = [case.case_id for case in find_raw_cases(tmp_path)]
    assert len(set(names)) == 2
    assert [case.case_id for case in find_raw_cases(tmp_path / "a")] == names[:1]


def test_nothing_that_is_printed_quotes_a_header(tmp_path, caplog, recwarn):
    paths = write_series(tmp_path / "SMITH", VOXELS, AFFINE, PatientID="SMITH", SeriesInstanceUID="1.2.3456")
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"1.2.3456", b"1.SMITH2"))
    paths[1].write_bytes(paths[1].read_bytes()[:400])
    (case,) = find_raw_cases(tmp_path)
    with pytest.raises(UserError) as caught:
        case.read(T1)
    said = [caplog.text, str(caught.value), case.case_id, *case.notes, *(str(w.message) for w in recwarn)]
    assert not any("SMITH" in text for text in said)
    assert "IM1_0001.dcm: skipped, not a valid DICOM file" in caplog.text


@pytest.mark.parametrize(
    ("kind", "syntax"), [("JPEG", JPEGLosslessSV1), ("JPEG2000", JPEG2000Lossless), ("RLE", RLELossless)]
)
def test_compressed_series_are_read(kind, syntax, tmp_path):
    for path in write_series(tmp_path, VOXELS, AFFINE):
        pack(path, kind)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    (case,) = find_raw_cases(tmp_path)
    assert (case.read(T1).voxels == VOXELS).all()
