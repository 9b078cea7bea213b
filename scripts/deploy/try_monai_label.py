"""Use a running MONAI Label server with our bundle as its clients do; see ``try_monai_label.sh``, which starts it."""

import argparse
import json
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from deployment_checks import ALL, LACKING, OTHERS, check, predict, read, same, stack

from metakd_monai.data.cases import find_cases
from metakd_monai.vocabulary import Modality

BUNDLE = "brats_mri_metakd_segmentation"
LOG_SECONDS = 10.0


def prepare(work: Path) -> None:
    """Lay out what clients hand over: 4-D files, a folder of three, bad files; and the masks that are expected."""
    studies, inputs = work / "studies", work / "inputs"
    studies.mkdir()
    inputs.mkdir()
    cases = find_cases(work / "cohort")
    for case in cases:
        nib.save(stack(case), studies / f"{case.case_id}.nii.gz")
    full = nib.load(studies / f"{cases[0].case_id}.nii.gz")
    voxels = np.asarray(full.dataobj)
    number = list(Modality).index(LACKING)
    zeroed = voxels.copy()
    zeroed[..., number] = 0
    shutil.copy(cases[0].as_item()["image"]["t2"], inputs / "unnamed.nii.gz")
    for name, content in {
        "zeroed": zeroed,
        "three_channels": np.delete(voxels, number, axis=-1),
        "empty": np.zeros_like(voxels),
    }.items():
        nib.save(nib.Nifti1Image(content, full.affine), inputs / f"{name}.nii.gz")
    shutil.copytree(work / "cohort" / cases[0].case_id, inputs / "three")
    next((inputs / "three").glob(f"*_{LACKING.value}.nii.gz")).unlink()


class Session:
    """A client and what it has to find.

    Args:
        work: folder that ``prepare`` filled.
        url: of the server.
        app: the server's, in that folder.
        cohort: of cases in that folder, the first of which is asked for.
    """

    def __init__(self, work: Path, url: str, app: str = "apps/monaibundle", cohort: str = "cohort") -> None:
        from monailabel.client import MONAILabelClient

        self.work, self.url = work, url
        downloads = work / "downloads"  # in /tmp, a server on the same machine would remove them as its own
        downloads.mkdir(exist_ok=True)
        self.client = MONAILabelClient(url, str(downloads))
        self.models = work / app / "model" / BUNDLE / "models"
        self.case = find_cases(work / cohort)[0]
        self.folder = work / cohort / self.case.case_id

    def infer(self, where: str = "", file: str | None = None, **options: Any) -> nib.Nifti1Image:
        """Return the mask of one request, of an image on the server or of a file to upload."""
        params = {"device": "cpu", "result_extension": ".nii.gz", **options}
        mask, _ = self.client.infer(BUNDLE, where, params, file=file)
        return read(mask)

    def post(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        """Send JSON; return HTTP status and text."""
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=1800) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def refused(self, what: str, expected: str, model: str = BUNDLE, file: str = "", **options: Any) -> None:
        """Upload what must be refused; see that the server says why, in its log alone, and answers on."""
        from monailabel.client.client import MONAILabelClientException

        log = self.work / "server.log"
        before = len(log.read_text())
        params = {"device": "cpu", "result_extension": ".nii.gz", **options}
        try:
            self.client.infer(model, "", params, file=file)
        except MONAILabelClientException as error:
            answer = str(error.msg)
        else:
            raise SystemExit(f"{what}: accepted; expected to be refused")
        reasons: list[str] = []
        until = time.monotonic() + LOG_SECONDS  # it writes the log after it has answered
        while not reasons and time.monotonic() < until:
            reasons = [line for line in log.read_text()[before:].splitlines() if expected in line]
            time.sleep(0.2)
        check(f"{what}: {answer}", "Status: 500" in answer and bool(reasons), log)
        print(f"     {reasons[-1][:300]}")
        self.client.info()

    def labels(self) -> dict[str, int]:
        """Compare the labels of ``/info`` with those of the written map."""
        labels: dict[str, int] = self.client.info()["models"][BUNDLE]["labels"]
        found = {int(value) for value in np.unique(self.infer(file=str(self.studies(self.case.case_id))).dataobj)}
        check(f"GET /info: {labels}; values in a written map: {sorted(found)}", found == {0, *labels.values()})
        return labels

    def studies(self, case_id: str) -> Path:
        """Return the 4-D file of a case."""
        return self.work / "studies" / f"{case_id}.nii.gz"

    def expected(self, modalities: list[str], case: Path | None = None) -> nib.Nifti1Image:
        """Return the mask of the command line with the server's weights."""
        return predict(case or self.folder, self.work / "expected", self.models / "model.pt", modalities)


def use(work: Path, url: str, real_case: Path | None) -> None:
    """Do all that a client does."""
    session = Session(work, url)
    session.labels()
    infer(session)
    if real_case is not None:
        mask = session.infer(str(real_case))
        same(f"POST /infer, real case {real_case.name}", mask, session.expected(ALL, real_case))
    batch(session)
    bad_input(session)
    train(session)
    same("POST /infer after training", session.infer(str(session.folder)), session.expected(ALL))


def infer(session: Session) -> None:
    """Every form in which a case can be handed over."""
    inputs = session.work / "inputs"
    complete, incomplete = session.expected(ALL), session.expected(OTHERS)
    upload = session.infer(file=str(session.studies(session.case.case_id)))
    same("POST /infer, 4-D NIfTI uploaded", upload, complete)
    same(
        "POST /infer, 4-D NIfTI with T1ce zeroed, uploaded",
        session.infer(file=str(inputs / "zeroed.nii.gz")),
        incomplete,
    )
    same("POST /infer, image of the datastore", session.infer(session.case.case_id), complete)
    same("POST /infer, folder of four files", session.infer(str(session.folder)), complete)
    same("POST /infer, folder of three files", session.infer(str(inputs / "three")), incomplete)
    files = [str(path) for path in sorted((inputs / "three").glob("*.nii.gz")) if "seg" not in path.name]
    same("POST /infer, list of three files", session.infer("list", image=files), incomplete)
    one = session.folder / f"{session.case.case_id}_{LACKING.value}.nii.gz"
    same("POST /infer, one 3-D file with its siblings", session.infer(str(one)), complete)
    alone = session.infer(str(one), siblings=False)
    same("POST /infer, one 3-D file alone", alone, session.expected([LACKING.value]))
    unnamed = session.infer(file=str(inputs / "unnamed.nii.gz"), sequence="t2")
    same("POST /infer, one 3-D file uploaded, sequence t2 chosen", unnamed, session.expected(["t2"]))


def batch(session: Session) -> None:
    """Segment all images of the datastore."""
    params = {"device": "cpu", "multi_gpu": False, "save_label": True, "label_tag": "original"}
    status, text = session.post(f"/batch/infer/{BUNDLE}?run_sync=true", params)
    saved = list((session.work / "studies" / "labels" / "original").glob("*.nii.gz"))
    check(f"POST /batch/infer: {status}, {len(saved)} labels saved", status == 200 and len(saved) == 5, text[:500])


def bad_input(session: Session) -> None:
    """What must be refused, with a reason, by a server that goes on."""
    inputs = session.work / "inputs"
    session.refused("unknown model", "no model 'unknown'", model="unknown", file=str(inputs / "zeroed.nii.gz"))
    session.refused("three channels", "expected a 4-D file with 4 channels", file=str(inputs / "three_channels.nii.gz"))
    session.refused("3-D, no name", "expected a choice of sequence (flair,", file=str(inputs / "unnamed.nii.gz"))
    session.refused("empty volume", "no modality left", file=str(inputs / "empty.nii.gz"))
    import torch

    weights = torch.load(session.models / "model.pt", weights_only=True)
    other = {f"module.{name}": value for name, value in weights.items()}
    torch.save(other, session.models / "other_weights.pt")
    upload: dict[str, Any] = {"file": str(inputs / "zeroed.nii.gz"), "model_filename": "other_weights.pt"}
    session.refused("weights of another network", "expected the weights of this MetaKDUNet", **upload)
    (session.models / "other_weights.pt").unlink()
    same("POST /infer after all that", session.infer(str(session.folder)), session.expected(ALL))


def train(session: Session) -> None:
    """Label four cases, train on them, twice: as REST users do, and with all options as 3D Slicer sends them."""
    for case in find_cases(session.work / "cohort")[:4]:
        session.client.save_label(case.case_id, str(case.label), tag="final")
    options = session.client.info()["trainers"][BUNDLE]["config"]
    first = {name: value[0] if isinstance(value, list) else value for name, value in options.items()}
    for what, params in {
        "train": {"max_epochs": 2},
        "train again, with all options as 3D Slicer sends them": {**first, "max_epochs": 1},
    }.items():
        before = (session.models / "model.pt").read_bytes()
        session.client.train_start(BUNDLE, {**params, "device": "cpu", "val_split": 0.25})
        task = wait_for(session)
        changed = (session.models / "model.pt").read_bytes() != before
        check(f"POST /{what}: {task['status']}, model.pt is new: {changed}", task["status"] == "DONE" and changed, task)
        rows = (session.models / "training.csv").read_text().splitlines()
        print("     training.csv:", *rows, sep="\n     ")


def wait_for(session: Session) -> dict[str, Any]:
    """Return the newest training task when it has ended."""
    while True:
        task: dict[str, Any] = session.client.train_status(False)
        if task["status"] not in ("SUBMITTED", "RUNNING"):
            return task
        time.sleep(2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("prepare", "use"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:18123")
    parser.add_argument("--real-case", type=Path)
    arguments = parser.parse_args()
    if arguments.action == "prepare":
        prepare(arguments.work)
    else:
        use(arguments.work, arguments.url, arguments.real_case)
