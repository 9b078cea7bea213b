"""What the listener asks of a PACS by DICOMweb: which MR studies there are, their images, and to store results."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from dicomweb_client import DICOMwebClient

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"  # tags of their UIDs


@dataclass(frozen=True)
class Study:
    """An MR study: its UID, and its MR images, each with its series."""

    uid: str
    images: dict[str, str]

    @property
    def key(self) -> str:
        """What its files are named after; says nothing of the patient."""
        return hashlib.sha256("\n".join(sorted(self.images)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Pacs:
    """A server that speaks DICOMweb; methods raise OSError, as requests' errors are, when it is in trouble."""

    client: DICOMwebClient

    def studies(self, since: str) -> list[Study]:
        """Return the MR studies from a date on."""
        filters = {"ModalitiesInStudy": "MR", "StudyDate": f"{since}-"}
        found = search(self.client.search_for_studies, STUDY, search_filters=filters)
        return [Study(uid, self.images(uid, Modality="MR")) for uid in found]

    def images(self, study: str, **filters: str) -> dict[str, str]:
        """Return the instances of a study, each with its series."""
        found = search(self.client.search_for_instances, INSTANCE, study_instance_uid=study, search_filters=filters)
        return {uid: one[SERIES]["Value"][0] for uid, one in found.items()}

    def fetch(self, study: Study, folder: Path) -> None:
        """Bring a study's MR images into a folder, whole or not at all."""
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        missing = set(study.images)
        for series in sorted(set(study.images.values())):
            for data in self.client.iter_series(study.uid, series):
                missing.discard(data.SOPInstanceUID)
                data.save_as(part / f"{len(study.images) - len(missing):06d}.dcm", enforce_file_format=True)
        if missing:
            raise OSError(f"{len(missing)} of {len(study.images)} images did not come")
        part.rename(folder)

    def store(self, study: Study, files: list[Path]) -> None:
        """Store what the study has not got yet."""
        objects = {data.SOPInstanceUID: data for data in map(pydicom.dcmread, files)}
        new = [uid for uid in objects if uid not in self.images(study.uid)]
        if new:
            self.client.store_instances([objects[uid] for uid in new], study.uid)
        if not objects.keys() <= self.images(study.uid).keys():
            raise OSError("results were not taken")


def search(ask: Callable[..., list[dict[str, Any]]], tag: str, **options: Any) -> dict[str, dict[str, Any]]:
    """Return all answers by a UID, page by page, until there is no new one: some servers do not heed an offset."""
    found: dict[str, dict[str, Any]] = {}
    while True:
        page = {one[tag]["Value"][0]: one for one in ask(offset=len(found), **options)}
        if page.keys() <= found.keys():
            return found
        found |= page
