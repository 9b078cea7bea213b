"""Segment what arrives in a PACS: find MR studies by DICOMweb, segment each once, store the results into the study.

Usage: python listen.py http://127.0.0.1:8042/dicom-web --state STATE --since 20260101 [-- options of metakd predict]

A study is taken when its MR images have stayed the same for a while. What has been done stands in STATE, a file for
each study: ``done/`` or ``failed/``; a study is known by its MR images, so that more of them make it a new one. It may
be killed at any moment and started again: what was begun goes on, and results have the same UIDs when they are made
again, so that none is stored twice. Names and passwords are taken from ``~/.netrc``.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import logging
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

import pydicom
import requests
from dicomweb_client import DICOMwebClient

from metakd_monai.data.files import write_json
from metakd_monai.errors import in_one_line

logger = logging.getLogger("listen")
STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"  # tags of their UIDs


@dataclass(frozen=True)
class Study:
    """An MR study: its UID, and the series of each of its MR images."""

    uid: str
    images: dict[str, str]

    @property
    def key(self) -> str:
        """What its files are named after; says nothing of the patient."""
        return hashlib.sha256("\n".join(sorted(self.images)).encode()).hexdigest()[:16]


@dataclass
class Pacs:
    """A server that speaks DICOMweb, and since when each of its studies has not changed."""

    client: DICOMwebClient
    since: str
    steady: dict[str, tuple[str, float]] = field(default_factory=dict)

    def studies(self) -> list[Study]:
        """Return the MR studies."""
        filters = {"ModalitiesInStudy": "MR", "StudyDate": f"{self.since}-"}
        found = search(self.client.search_for_studies, STUDY, search_filters=filters)
        return [Study(uid, self.images(uid, {"Modality": "MR"})) for uid in found]

    def images(self, study: str, filters: dict[str, str] | None = None) -> dict[str, str]:
        """Return the instances of a study, each with its series."""
        found = search(self.client.search_for_instances, INSTANCE, study_instance_uid=study, search_filters=filters)
        return {uid: value(one, SERIES) for uid, one in found.items()}

    def stable_for(self, study: Study) -> float:
        """Return for how many seconds a study has been seen as it is."""
        now = time.monotonic()
        if self.steady.get(study.uid, ("",))[0] != study.key:
            self.steady[study.uid] = (study.key, now)
        return now - self.steady[study.uid][1]

    def fetch(self, study: Study, folder: Path) -> None:
        """Bring a study's MR images into a folder, whole or not at all; raises OSError when some do not come."""
        if folder.exists():
            return
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
        """Store what the study has not got yet; raises OSError when it is not there afterwards."""
        objects = [pydicom.dcmread(path) for path in files]
        there = self.images(study.uid)
        new = [one for one in objects if one.SOPInstanceUID not in there]
        if new:
            self.client.store_instances(new, study.uid)
            there = self.images(study.uid)
        refused = [one for one in objects if one.SOPInstanceUID not in there]
        if refused:
            raise OSError(f"{len(refused)} of {len(objects)} results were not taken")


def search(ask: Callable[..., list[dict[str, Any]]], tag: str, **options: Any) -> dict[str, dict[str, Any]]:
    """Return all answers by a UID, page by page, until there is no new one: some servers do not heed an offset."""
    found: dict[str, dict[str, Any]] = {}
    while True:
        page = {value(one, tag): one for one in ask(offset=len(found), **options)}
        if page.keys() <= found.keys():
            return found
        found |= page


def value(found: dict[str, Any], tag: str) -> str:
    """Return the value of an attribute in an answer of DICOMweb."""
    return str(found[tag]["Value"][0])


@dataclass(frozen=True)
class Desk:
    """Where the work lies, and how it is done."""

    state: Path
    lock: IO[str]
    attempts: int
    predict: list[str]

    def tidy(self, studies: list[Study]) -> None:
        """Remove what lies there of studies that are not to be done, or have changed."""
        wanted = {study.key for study in studies if not self.record(study)}
        for folder in (self.state / "work").glob("*"):
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def record(self, study: Study) -> Path | None:
        """Return the record of a study that is done or has failed."""
        paths = [self.state / kind / f"{study.key}.json" for kind in ("done", "failed")]
        return next((path for path in paths if path.exists()), None)

    def handle(self, pacs: Pacs, study: Study) -> None:
        """Segment a study and store its results; what fails as often as it may is recorded as failed.

        Raises:
            OSError: when the PACS or the disk is in trouble, which is no matter of the study.
        """
        work = self.state / "work" / study.key
        try:
            pacs.fetch(study, work / "study")
            results, reason = self.segment(work)
            if reason is None:
                pacs.store(study, results)
                self.close(study, "done", stored=[path.name for path in results])
                return
        except requests.HTTPError as error:
            if error.response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            reason = in_one_line(error)
        with open(work / "failures.txt", "a+", encoding="utf-8") as failures:
            failures.write(f"{reason}\n")
            failures.seek(0)
            tried = len(failures.readlines())
        logger.warning("%s: attempt %d of %d failed: %s", study.key, tried, self.attempts, reason)
        if tried >= self.attempts:
            self.close(study, "failed", reason=reason)
        else:
            pacs.steady.pop(study.uid)  # it waits as long as a new one

    def segment(self, work: Path) -> tuple[list[Path], str | None]:
        """Return the results of a study, or why there are none."""
        command = [sys.executable, "-m", "metakd_monai", "predict", str(work / "study"), "--raw", "--dicom"]
        command += ["--output", str(work / "out"), *self.predict]
        # The program holds the lock too: while it lives, no other listener begins, whatever becomes of this one.
        with open(work / "log.txt", "w+", encoding="utf-8", errors="replace") as log:
            ended = subprocess.run(command, stdout=log, stderr=log, pass_fds=[self.lock.fileno()], check=False)
            log.seek(0)
            lines = [line.strip() for line in log if line.strip()]
        results = sorted((work / "out").glob("*_dicom/*.dcm"))
        if ended.returncode == 0 and results:
            return results, None
        told = [line for line in lines if "failed" in line or "expected" in line] or lines
        return [], f"exit status {ended.returncode}: {in_one_line(told[-1] if told else 'no word')}"

    def close(self, study: Study, kind: str, **told: Any) -> None:
        """Record what became of a study, and remove its images."""
        record = self.state / kind / f"{study.key}.json"
        write_json(record, {"study": study.uid, "images": len(study.images), "at": time.strftime("%F %T"), **told})
        shutil.rmtree(self.state / "work" / study.key, ignore_errors=True)
        logger.info("%s: %s %s", study.key, kind, told)


def listen(pacs: Pacs, desk: Desk, stable: float, poll: float) -> None:
    """Look for studies and handle them, one after the other, until it is stopped."""
    while True:
        studies: list[Study] = []
        try:
            studies = pacs.studies()
            desk.tidy(studies)
        except OSError as error:  # of the network too
            logger.warning("the PACS does not answer, tried again in %g s: %s", poll, in_one_line(error))
        for study in studies:
            if not study.images or desk.record(study) or pacs.stable_for(study) < stable:
                continue
            try:
                desk.handle(pacs, study)
            except OSError as error:
                logger.warning("%s: not now, tried again in %g s: %s", study.key, poll, in_one_line(error))
        time.sleep(poll)


def main() -> None:
    """Read the arguments and listen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of DICOMweb")
    parser.add_argument("--state", type=Path, required=True, help="folder for what is being done and what was")
    parser.add_argument("--since", required=True, help="earliest date of a study, as 20260101")
    parser.add_argument(
        "--stable", type=float, default=60, help="seconds that a study stays the same before it is taken"
    )
    parser.add_argument("--poll", type=float, default=10, help="seconds between looks")
    parser.add_argument("--attempts", type=int, default=3, help="after which a study has failed")
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, predict = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1 :]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logger.setLevel(logging.INFO)
    warnings.simplefilter("ignore")  # pydicom's may print names of patients
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.state.mkdir(parents=True, exist_ok=True)
    with open(options.state / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("%s: another listener is at work, or what one left running; waiting", options.state)
            fcntl.flock(lock, fcntl.LOCK_EX)
        pacs = Pacs(DICOMwebClient(options.url), options.since)
        desk = Desk(options.state.absolute(), lock, options.attempts, predict)
        listen(pacs, desk, options.stable, options.poll)


if __name__ == "__main__":
    main()
