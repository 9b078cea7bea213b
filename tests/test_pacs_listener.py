"""The listener of ``examples/pacs`` with a PACS in memory: each study once, whatever fails or is killed."""

import sys
from copy import deepcopy
from pathlib import Path

import pytest
from conftest import REPOSITORY

pytest.importorskip("dicomweb_client", reason="needs examples/pacs/requirements.txt")
pytest.importorskip("pydicom", reason="needs metakd-monai[dicom]")

import pydicom
import requests

sys.path.append(str(REPOSITORY / "examples" / "pacs"))

import listen as listener
from dicomweb import INSTANCE, SERIES, STUDY, Pacs, Study
from listen import Desk
from raw_dicom import base

from metakd_monai.data.files import read_json


def image(patient: str, number: int) -> pydicom.Dataset:
    """Return an image without pixels."""
    data = base(f"1.2.{patient}.{number}", "1", {"PatientID": patient})
    data.StudyInstanceUID, data.SeriesInstanceUID = f"1.1.{patient}", f"1.3.{patient}"
    return data


class Server:
    """Stands in for DICOMweb's client; ``trouble`` is raised by the next call of a method that it names."""

    def __init__(self, *patients: str, images: int = 3) -> None:
        self.kept = [image(patient, number) for patient in patients for number in range(1, images + 1)]
        self.stores = 0
        self.trouble: dict[str, Exception] = {}

    def search_for_studies(self, offset: int, search_filters: dict) -> list[dict]:
        assert search_filters == {"ModalitiesInStudy": "MR", "StudyDate": "20200101-"}
        return [told(data) for data in self.kept if data.Modality == "MR"]  # heeds no offset

    def search_for_instances(self, offset: int, study_instance_uid: str, search_filters: dict) -> list[dict]:
        found = [data for data in self.kept if data.StudyInstanceUID == study_instance_uid]
        return [told(d) for d in found if d.Modality == search_filters.get("Modality", d.Modality)][offset : offset + 2]

    def iter_series(self, study: str, series: str):
        if "iter_series" in self.trouble:
            raise self.trouble.pop("iter_series")
        yield from [data for data in self.kept if data.SeriesInstanceUID == series]

    def store_instances(self, datasets: list, study: str) -> None:
        if "store_instances" in self.trouble:
            raise self.trouble.pop("store_instances")
        assert {data.StudyInstanceUID for data in datasets} == {study}
        self.kept += datasets
        self.stores += 1


def told(data) -> dict:
    """Return an instance as DICOMweb tells of it."""
    uids = {STUDY: data.StudyInstanceUID, SERIES: data.SeriesInstanceUID, INSTANCE: data.SOPInstanceUID}
    return {tag: {"Value": [uid]} for tag, uid in uids.items()}


class Tried(Desk):
    """A desk whose segmentation takes no time, and fails for patients 6 and above."""

    def segment(self, work: Path) -> tuple[list[Path], str | None]:
        data = pydicom.dcmread(min((work / "study").iterdir()))
        if int(data.PatientID) > 5:
            return [], "exit status 1: no head"
        result = deepcopy(data)
        result.Modality, result.SeriesInstanceUID = "SEG", f"1.4.{data.PatientID}"
        result.SOPInstanceUID = result.file_meta.MediaStorageSOPInstanceUID = f"1.5.{int(work.name, 16)}"
        (work / "out").mkdir(exist_ok=True)
        result.save_as(work / "out" / "segmentation.dcm", enforce_file_format=True)
        return [work / "out" / "segmentation.dcm"], None


class EnoughError(Exception):
    """Ends the listener."""


@pytest.fixture
def rounds(monkeypatch, tmp_path):
    """Let the listener look a number of times at a server."""

    def run(server: Server, looks: int = 3, attempts: int = 2) -> None:
        left = iter(range(looks - 1))

        def sleep(_: float) -> None:
            if next(left, None) is None:
                raise EnoughError

        monkeypatch.setattr(listener.time, "sleep", sleep)
        with open(tmp_path / "lock", "w") as lock, pytest.raises(EnoughError):
            listener.listen(Pacs(server), Tried(tmp_path, lock, attempts, []), "20200101", 0.0, 1.0)

    return run


def records(folder: Path, kind: str) -> list[dict]:
    return [read_json(path, "a record") for path in sorted((folder / kind).glob("*.json"))]


def segmentations(server: Server) -> list:
    return [data for data in server.kept if data.Modality == "SEG"]


def test_each_study_is_done_once_and_a_bad_one_stops_no_other(rounds, tmp_path):
    server = Server("7", "1", "2")
    rounds(server, looks=5)
    rounds(server)  # started again
    assert (len(segmentations(server)), server.stores) == (2, 2)
    assert {one["study"] for one in records(tmp_path, "done")} == {"1.1.1", "1.1.2"}
    (failed,) = records(tmp_path, "failed")
    assert (failed["study"], failed["images"], failed["reason"]) == ("1.1.7", 3, "exit status 1: no head")
    assert not list((tmp_path / "work").iterdir())


def test_a_study_fails_after_as_many_attempts_as_it_may_have(rounds, tmp_path):
    rounds(Server("7"), looks=2, attempts=3)
    assert records(tmp_path, "failed") == []
    rounds(Server("7"), looks=1, attempts=3)  # attempts count over restarts
    assert len(records(tmp_path, "failed")) == 1


def refused(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} said", response=response)


@pytest.mark.parametrize("where", ["iter_series", "store_instances"])
@pytest.mark.parametrize("error", [requests.ConnectionError("gone"), refused(503), OSError("no space left")])
def test_trouble_of_the_pacs_or_the_disk_counts_as_no_attempt(rounds, tmp_path, where, error):
    server = Server("1")
    server.trouble[where] = error
    rounds(server, looks=1, attempts=1)
    assert records(tmp_path, "failed") == records(tmp_path, "done") == []
    rounds(server, looks=1, attempts=1)
    assert len(records(tmp_path, "done")) == len(segmentations(server)) == 1


def test_a_study_that_cannot_be_read_is_recorded_and_stops_no_other(rounds, tmp_path):
    server = Server("1", "2")
    server.trouble["iter_series"] = AttributeError("no pixels")
    rounds(server, looks=1, attempts=1)
    assert [one["reason"] for one in records(tmp_path, "failed")] == ["AttributeError: no pixels"]
    assert [one["study"] for one in records(tmp_path, "done")] == ["1.1.2"]


def test_a_study_in_trouble_stops_no_other(rounds, tmp_path):
    server = Server("1", "2")
    server.trouble["iter_series"] = refused(503)
    rounds(server, looks=1)
    assert [one["study"] for one in records(tmp_path, "done")] == ["1.1.2"]


def test_what_the_pacs_refuses_is_recorded(rounds, tmp_path):
    server = Server("1")
    server.trouble["store_instances"] = refused(409)
    rounds(server, looks=1, attempts=1)
    assert records(tmp_path, "failed")[0]["reason"] == "409 said"


def test_killed_between_storing_and_recording_it_stores_nothing_twice(rounds, tmp_path):
    server = Server("1")
    rounds(server)
    (record,) = (tmp_path / "done").iterdir()
    record.unlink()
    rounds(server)
    assert (len(segmentations(server)), server.stores) == (1, 1)
    assert record.exists()


def test_images_that_come_later_make_a_new_study_and_half_of_one_is_not_taken(rounds, tmp_path):
    server = Server("1")
    rounds(server)
    server.kept.append(image("1", 4))
    left = tmp_path / "work" / "of-what-it-was"
    left.mkdir(parents=True)
    rounds(server)
    assert sorted(one["images"] for one in records(tmp_path, "done")) == [3, 4]
    assert not left.exists()


def test_images_that_do_not_all_come_are_fetched_again(tmp_path):
    server = Server("1")
    study = Study("1.1.1", {**Pacs(server).images("1.1.1"), "1.2.1.9": "1.3.1"})
    with pytest.raises(OSError, match="1 of 4 images did not come"):
        Pacs(server).fetch(study, tmp_path / "study")
    assert not (tmp_path / "study").exists()
    server.kept.append(image("1", 9))
    Pacs(server).fetch(study, tmp_path / "study")
    assert len(list((tmp_path / "study").iterdir())) == 4


def test_a_study_waits_until_it_has_not_changed_for_a_while(monkeypatch, tmp_path):
    clock, server, looks = [0.0], Server("1"), iter(range(5))

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        look = next(looks, None)
        if look is None:
            raise EnoughError
        if look == 1:
            server.kept.append(image("1", 4))  # at 20 s
        handled.append(len(records(tmp_path, "done")))

    handled: list[int] = []
    monkeypatch.setattr(listener.time, "sleep", sleep)
    monkeypatch.setattr(listener.time, "monotonic", lambda: clock[0])
    with open(tmp_path / "lock", "w") as lock, pytest.raises(EnoughError):
        listener.listen(Pacs(server), Tried(tmp_path, lock, 1, []), "20200101", 25.0, 10.0)
    assert handled == [0, 0, 0, 0, 0]  # 20 s after the first look it has changed
    assert records(tmp_path, "done")[0]["images"] == 4
