"""Let ``examples/pacs/listen.py`` serve a PACS: three studies, one of them bad, and kills; see ``try_pacs.sh``.

Usage: try_pacs.py WORK [--studies FOLDER --template FILE --options "..."]; FOLDER has a folder of DICOM for each study
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from deployment_checks import check

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

from dicom_servers import fetch, orthanc
from raw_dicom import SEQUENCES, write_series
from raw_heads import SCANS, image_of, scan, tissues, write_template

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 1800  # seconds for all studies
RESULTS = {"SEG": 1, "SR": 1, "OT": 1}


def write_studies(folder: Path, template: Path) -> None:
    """Write two simulated heads without skull, in two sequences each, and a study of noise."""
    write_template(template, tissues())
    for seed, patient in enumerate(("GOOD-1", "GOOD-2")):
        tissue = tissues(seed)
        for number, modality in enumerate(SCANS, start=1):
            voxels, affine, _ = scan(image_of(tissue, modality).astype(np.float32), modality)
            said = {"PatientID": patient, **SEQUENCES[modality]}
            write_series(folder / patient, voxels.clip(0).astype(np.uint16), affine, str(number), **said)
    noise = np.random.default_rng(0).integers(0, 900, (128, 128, 30)).astype(np.uint16)
    for number, modality in enumerate(SCANS, start=1):
        said = {"PatientID": "BAD", **SEQUENCES[modality]}
        write_series(folder / "BAD", noise, np.diag([1.5, 1.5, 5.0, 1.0]), str(number), **said)


def modalities(port: int) -> dict[str, Counter[str]]:
    """Return how many objects of each modality each patient has in Orthanc."""
    found: dict[str, Counter[str]] = {}
    for series in json.loads(fetch(port, "/series?expand")):
        patient = json.loads(fetch(port, f"/series/{series['ID']}/patient"))["MainDicomTags"]["PatientID"]
        found.setdefault(patient, Counter())[series["MainDicomTags"]["Modality"]] += len(series["Instances"])
    return found


def wait_for(what: str, holds: Callable[[], Any], longest: float = LONGEST) -> None:
    """Wait until something holds."""
    end = time.monotonic() + longest
    while not holds():
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    check(what, bool(holds()), f"not within {longest:g} s")


def listen(port: int, state: Path, options: list[str], started: ExitStack) -> subprocess.Popen[bytes]:
    """Start the listener in a process group of its own; it ends with ``started``."""
    command = [sys.executable, str(ROOT / "examples" / "pacs" / "listen.py")]
    command += [f"http://127.0.0.1:{port}/dicom-web", "--state", str(state), "--since", "20200101"]
    command += ["--stable", "2", "--poll", "1", "--attempts", "2", "--", *options]
    listener = subprocess.Popen(command, start_new_session=True)
    started.callback(listener.terminate)
    return listener


def use(work: Path, studies: Path | None, template: Path | None, options: str) -> None:
    """Do all that a hospital would, and what it would rather not."""
    if studies is None:
        studies, template = work / "studies", work / "template.nii.gz"
        write_studies(studies, template)
    predict = [*(["--template", str(template.absolute())] if template else []), *shlex.split(options)]
    with orthanc(work / "orthanc") as (http, dicom):
        for folder in sorted(studies.iterdir()):
            command = ["storescu", "+sd", "+r", "127.0.0.1", str(dicom), str(folder)]
            sent = subprocess.run(command, capture_output=True, check=False)
            check(f"study {folder.name} sent by storescu", sent.returncode == 0, sent.stderr[-300:])
        with ExitStack() as started:
            serve(http, work / "state", partial(listen, http, work / "state", predict, started))


def serve(port: int, state: Path, start: Callable[[], subprocess.Popen[bytes]]) -> None:
    """Let the listener work, kill it, and look at what is in the PACS and in the records."""
    count = len(modalities(port))

    def running() -> bool:
        return bool(list(state.glob("work/*/out/prepared")))

    def records(kind: str) -> int:
        return len(list(state.glob(f"{kind}/*.json")))

    first = start()
    wait_for("the first study is being prepared", running)
    first.kill()
    first.wait()
    print("ok   listener killed, what it had started lives on; another is started at once", flush=True)
    second = start()
    wait_for("a study is done", lambda: records("done") + records("failed") > 0)
    wait_for("the next is being prepared", lambda: running() or records("done") + records("failed") == count)
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    print("ok   listener killed with all that it had started", flush=True)
    third = start()
    wait_for("all studies are done or have failed", lambda: records("done") + records("failed") == count)
    before = modalities(port)
    time.sleep(5)
    third.terminate()
    third.wait()
    found = modalities(port)
    check("nothing is stored twice", found == before)
    for path in sorted(state.glob("*/*.json")):
        print(f"     {path.parent.name}: {json.dumps(json.loads(path.read_text()))}")
    complete = [p for p, kinds in found.items() if {k: n for k, n in kinds.items() if k != "MR"} == RESULTS]
    untouched = [p for p, kinds in found.items() if set(kinds) == {"MR"}]
    check(f"{complete} have one segmentation, one report, one picture each", len(complete) == records("done"))
    check(f"{untouched} failed and have none", len(untouched) == records("failed") == 1)
    check("no images are left", not list(state.glob("work/*")))
    check_results(port, state)


def check_results(port: int, folder: Path) -> None:
    """Let dciodvfy judge what came back out of the PACS."""
    if shutil.which("dciodvfy") is None:
        print("     dicom3tools are not installed: results not judged by dciodvfy")
        return
    for series in json.loads(fetch(port, "/series?expand")):
        kind = series["MainDicomTags"]["Modality"]
        if kind in RESULTS:
            file = folder / f"{series['ID']}.dcm"
            file.write_bytes(fetch(port, f"/instances/{series['Instances'][0]}/file"))
            told = subprocess.run(["dciodvfy", file], capture_output=True, check=False).stderr
            errors = re.findall("^(?:Error|Abort).*", told.decode(errors="replace"), re.MULTILINE)
            check(f"dciodvfy finds no error in {kind}", not errors, errors)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="is made anew")
    parser.add_argument("--studies", type=Path, help="a folder of DICOM for each of three studies, one of them bad")
    parser.add_argument("--template", type=Path)
    parser.add_argument("--options", default="", help="of metakd predict")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    use(**vars(arguments))
