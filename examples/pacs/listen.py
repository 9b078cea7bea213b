"""Segment what arrives in a PACS: find MR studies by DICOMweb, segment each once, store the results into the study.

Usage: python listen.py http://127.0.0.1:8042/dicom-web --state STATE --since 20260101 [-- options of metakd predict]

A study is taken when its MR images have stayed the same for a while. It is known by them, so that more images make it a
new one. What became of it stands in ``STATE/done`` or ``STATE/failed``. The listener may be killed at any moment and
started again: what was begun goes on, and results that are made again have the same UIDs, so that none is stored twice.
User and password are taken from ``~/.netrc``.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

import requests
from click import ClickException
from dicomweb import Pacs, Study
from dicomweb_client import DICOMwebClient

from metakd_monai.apps.dicom_results.write_objects import check_highdicom
from metakd_monai.cli.predict import predict as predict_command
from metakd_monai.data.files import write_json
from metakd_monai.errors import UserError, explain, in_one_line

logger = logging.getLogger("listen")
TROUBLE = (OSError, UserError)  # of network, PACS and disk
FIXED = ("--raw", "--dicom")  # options of metakd predict


@dataclass(frozen=True)
class Desk:
    """Where the work lies, and how it is done."""

    state: Path
    lock: IO[str]
    attempts: int
    predict: list[str]

    def is_closed(self, study: Study) -> bool:
        """Tell whether a study is done or has failed."""
        return any((self.state / kind / f"{study.key}.json").exists() for kind in ("done", "failed"))

    def tidy(self, studies: list[Study]) -> None:
        """Remove what lies there of studies that are closed, or have changed."""
        wanted = {study.key for study in studies if not self.is_closed(study)}
        for folder in (self.state / "work").glob("*"):
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def handle(self, pacs: Pacs, study: Study) -> None:
        """Segment a study and store its results; what fails as often as it may is recorded as failed.

        Raises:
            OSError, UserError: when the PACS or the disk is in trouble, which is no matter of the study.
        """
        work = self.state / "work" / study.key
        try:
            if not (work / "study").exists():
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
        except TROUBLE:
            raise
        except Exception as error:  # whatever is wrong with one study of many
            reason = explain(error)
        with open(work / "failures.txt", "a+", encoding="utf-8") as failures:
            failures.write(f"{reason}\n")
            failures.seek(0)
            tried = len(failures.readlines())
        logger.warning("%s: attempt %d of %d failed: %s", study.key, tried, self.attempts, reason)
        if tried >= self.attempts:
            self.close(study, "failed", reason=reason)

    def segment(self, work: Path) -> tuple[list[Path], str | None]:
        """Return the results of a study, or why there are none."""
        command = [sys.executable, "-m", "metakd_monai", "predict", str(work / "study"), *FIXED]
        command += ["--output", str(work / "out"), *self.predict]
        # The program holds the lock too: while it lives, no other listener begins, whatever becomes of this one.
        with open(work / "log.txt", "w+", encoding="utf-8", errors="replace") as log:
            ended = subprocess.run(command, stdout=log, stderr=log, pass_fds=[self.lock.fileno()], check=False)
            log.seek(0)
            lines = [line.strip() for line in log if line.strip()]
        results = sorted((work / "out").glob("*_dicom/*.dcm"))
        if ended.returncode == 0 and results:
            return results, None
        told = [line for line in lines if "expected" in line] or lines or ["no word"]
        return [], f"exit status {ended.returncode}: {in_one_line(told[-1])}"

    def close(self, study: Study, kind: str, **told: Any) -> None:
        """Record what became of a study, and remove its images."""
        known = {"study": study.uid, "images": len(study.images), "at": time.strftime("%F %T")}
        write_json(self.state / kind / f"{study.key}.json", {**known, **told})
        shutil.rmtree(self.state / "work" / study.key, ignore_errors=True)
        logger.info("%s: %s %s", study.key, kind, told)


def listen(pacs: Pacs, desk: Desk, since: str, stable: float, poll: float) -> None:
    """Look for studies and handle them, one after the other, until it is stopped."""
    next_turn: dict[str, float] = {}  # of each study
    trouble = "%s: in trouble, tried again in %g s: %s"
    while True:
        studies: list[Study] = []
        try:
            studies = pacs.studies(since)
            desk.tidy(studies)
        except TROUBLE as error:
            logger.warning(trouble, "the PACS", poll, in_one_line(error))
        for study in studies:
            now = time.monotonic()
            if not study.images or desk.is_closed(study) or next_turn.setdefault(study.key, now + stable) > now:
                continue
            next_turn.pop(study.key)
            try:
                desk.handle(pacs, study)
            except TROUBLE as error:
                logger.warning(trouble, study.key, stable + poll, in_one_line(error))
        time.sleep(poll)


def main() -> None:
    """Read the arguments and listen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of DICOMweb")
    parser.add_argument("--state", type=Path, required=True, help="folder for what is being done and what was")
    parser.add_argument("--since", required=True, help="earliest date of a study, as 20260101")
    parser.add_argument("--stable", type=float, default=60, help="seconds that a study stays the same, 60")
    parser.add_argument("--poll", type=float, default=10, help="seconds between looks, 10")
    parser.add_argument("--attempts", type=int, default=3, help="after which a study has failed, 3")
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, predict = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1 :]
    try:
        time.strptime(options.since, "%Y%m%d")
        client = DICOMwebClient(options.url)
        client.set_http_retry_params(retry=False)  # this is done here, and said
        predict_command.make_context("metakd predict", ["STUDY", *FIXED, "--output", "OUT", *predict])
        check_highdicom()
    except (ValueError, ClickException) as error:
        parser.error(in_one_line(error))
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
        desk = Desk(options.state.absolute(), lock, options.attempts, predict)
        listen(Pacs(client), desk, options.since, options.stable, options.poll)


if __name__ == "__main__":
    main()
