"""Use ``examples/monai_label_app`` as the plugins of 3D Slicer and OHIF do; ``try_monai_label.sh`` starts the servers.

What the plugins send was read in their source (MONAI Label's repository, ``plugins/slicer`` and ``plugins/ohifv3``);
neither of them runs here.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import requests
from deployment_checks import ALL, check, predict, read, same
from requests_toolbelt.multipart.decoder import MultipartDecoder
from try_monai_label import BUNDLE, Session, wait_for

from metakd_monai.data.cases import find_cases

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

from raw_heads import SCANS, image_of, scan, tissues, write_scan, write_template

WRITTEN = {"result_extension": ".nrrd", "result_dtype": "uint8"}
SLICER = {"sequence": "by name", "siblings": True, "device": "cpu", **WRITTEN}
NAMES = ["necrosis", "oedema", "enhancing tumour"]


def prepare(work: Path) -> None:
    """Lay out a datastore of single 3-D images, named by case and sequence; and a head that has to be prepared."""
    (work / "files").mkdir()
    for case in find_cases(work / "whole"):
        for name, path in case.as_item()["image"].items():
            shutil.copy(path, work / "files" / f"{case.case_id}_{name}.nii.gz")
    write_raw(work / "raw")


class Plugins(Session):
    """What the plugins send."""

    def slicer(self, image: str, session: str | None = None, **options: Any) -> tuple[nib.Nifti1Image, dict[str, Any]]:
        """Segment an image of the datastore or a session's, as 3D Slicer does; return the mask and what is told."""
        mask, told = self.client.infer(BUNDLE, image, {**SLICER, **options}, session_id=session)
        return self.opened(Path(mask)), told

    def ohif(self, image: str, **options: Any) -> tuple[nib.Nifti1Image, dict[str, Any]]:
        """Segment a series as OHIF does; return the mask and what is told."""
        written = {**WRITTEN, "result_dtype": "uint16", "result_compress": False}
        params = {**written, "restore_label_idx": False, **options}
        form = {"params": (None, json.dumps(params))}
        answer = requests.post(
            f"{self.url}/infer/{BUNDLE}", params={"image": image, "output": "all"}, files=form, timeout=900
        )
        check(f"OHIF's request: {answer.status_code}", answer.status_code == 200, answer.text[:500])
        params_part, image_part = MultipartDecoder.from_response(answer).parts
        path = self.work / "downloads" / "ohif.nrrd"
        path.write_bytes(image_part.content)
        return self.opened(path), json.loads(params_part.content)

    def opened(self, path: Path) -> nib.Nifti1Image:
        """Read an NRRD mask; of whole numbers of 16 bits, as OHIF wants them, too."""
        image = itk.imread(str(path), itk.UC)
        itk.imwrite(image, str(path.with_suffix(".nii.gz")))
        return read(path.with_suffix(".nii.gz"))

    def info_of(self, image: str) -> dict[str, Any]:
        """Return what the datastore knows of an image."""
        found: dict[str, Any] = requests.get(f"{self.url}/datastore/image/info?image={image}", timeout=60).json()
        return found


def as_slicer_shows(mask: nib.Nifti1Image, labels: dict[str, int]) -> None:
    """Check the values as 3D Slicer shows them: it sorts names by value, and the i-th segment is value i + 1."""
    found = np.unique(np.asarray(mask.dataobj)).tolist()
    order = sorted(labels, key=lambda name: labels[name])
    shown = dict(enumerate(order, start=1))
    check(f"3D Slicer shows {shown}; values in a mask: {found}", set(found) - {0} == set(shown) and order == NAMES)


def files(session: Plugins) -> None:
    """A datastore of files: requests of both plugins, sessions, refusals, scores, training."""
    case = session.case.case_id
    flair = f"{case}_flair"
    everything = session.expected(ALL)
    mask, told = session.slicer(flair)
    same("3D Slicer, one image with its siblings, .nrrd", mask, everything)
    as_slicer_shows(mask, session.client.info()["models"][BUNDLE]["labels"])
    check(f"told: {told['modalities']['used']}, {told['volumes_ml']}", told["modalities"]["used"] == ALL)
    same("OHIF, output=all, .nrrd, restore_label_idx false", session.ohif(f"{case}_t1ce")[0], everything)
    same("3D Slicer, one image alone", session.slicer(flair, siblings=False)[0], session.expected(["flair"]))
    upload = shutil.copy(session.case.as_item()["image"]["t1ce"], session.work / "volume.nii.gz")
    number = session.client.create_session(str(upload))["session_id"]
    chosen, _ = session.slicer("volume", number, sequence="t1ce")
    same("3D Slicer, a session, sequence t1ce chosen", chosen, session.expected(["t1ce"]))
    form = {"params": (None, json.dumps(SLICER))}
    answer = requests.post(f"{session.url}/infer/{BUNDLE}", params={"session_id": number}, files=form, timeout=60)
    detail = answer.json().get("detail", "")
    check(f"a session, nothing chosen: {answer.status_code} {detail}", answer.status_code == 422, answer.text)
    scores(session)
    train(session)


def scores(session: Plugins) -> None:
    """Score all images, compare with ``metakd predict``, and ask for the next one to label."""
    status, text = session.post("/scoring/expected_dice?run_sync=true", {"device": "cpu"})
    check(f"POST /scoring/expected_dice: {status} {text[:200]}", status == 200)
    images = [path.name.removesuffix(".nii.gz") for path in (session.work / "files").glob("*.nii.gz")]
    found = {image: session.info_of(image) for image in images}
    predict(session.folder, session.work / "expected", session.models / "model.pt", ALL)
    report = json.loads(next((session.work / "expected").glob("*.json")).read_text())
    values = [one["dice"] for one in report["expected"]["predicted"].values()]
    mine = found[f"{session.case.case_id}_flair"]["expected_dice"]
    check(f"expected Dice {mine:.3f}, of metakd predict {np.mean(values):.3f}", abs(mine - np.mean(values)) < 1e-3)
    for strategy, best in (("uncertainty", max), ("expected_dice", min)):
        wanted = best(info[strategy] for info in found.values())
        chosen = session.client.next_sample(strategy, {})
        check(f"POST /activelearning/{strategy}: {chosen['id']}, {wanted:.3f}", found[chosen["id"]][strategy] == wanted)


def train(session: Plugins) -> None:
    """Save labels as 3D Slicer does, one of them NRRD with its segments in another order, and train on them."""
    for number, case in enumerate(find_cases(session.work / "whole")[:3]):
        labels = nib.load(case.label)
        values = np.asarray(labels.dataobj).astype(np.int16)
        values[values == 4] = 3
        order, path = NAMES, session.work / f"Segmentation_{number}.nii.gz"
        if number == 0:
            order = NAMES[::-1]
            values = np.array([0, 3, 2, 1], np.int16)[values]
        nib.save(nib.Nifti1Image(values, labels.affine), path)
        if number == 0:
            itk.imwrite(itk.imread(str(path)), str(path.with_name("Segmentation.nrrd")))
            path = path.with_name("Segmentation.nrrd")
        info = [{"name": name, "idx": place} for place, name in enumerate(order, start=1)]
        session.client.save_label(f"{case.case_id}_t1", str(path), params={"label_info": info})
        chosen = session.client.next_sample("uncertainty", {})["id"]
        check(f"next after {case.case_id}: {chosen}", number == 2 or not chosen.startswith(case.case_id))
    before = (session.models / "model.pt").read_bytes()
    options = {"max_epochs": 1, "device": "cpu", "val_split": 0.3}
    session.client.train_start(BUNDLE, options)
    task = wait_for(session)
    check(f"POST /train on labels 1, 2, 3: {task['status']}", task["status"] == "DONE", task)
    check("model.pt is new", (session.models / "model.pt").read_bytes() != before)
    same("3D Slicer, after training", session.slicer(f"{session.case.case_id}_flair")[0], session.expected(ALL))


def write_raw(folder: Path) -> None:
    """Write a simulated head as scanned, in two sequences, each on a grid of its own; and the template beside it."""
    folder.mkdir()
    tissue = tissues()
    write_template(folder.parent / "template.nii.gz", tissue)
    for modality in SCANS:
        voxels, affine, _ = scan(image_of(tissue, modality).astype(np.float32), modality)
        write_scan(folder / f"Head_{modality.value}.nii.gz", voxels.clip(0), affine)


def raw(session: Plugins, folder: Path) -> None:
    """Segment images as scanned: prepared, with the mask, and the warnings, of ``metakd predict --raw``."""
    output = session.work / "expected_raw"
    shutil.rmtree(output, ignore_errors=True)
    command = ["metakd", "predict", str(folder), "--raw", "--output", str(output), "--et-label", "3", "--no-preview"]
    weights = ["--weights", str(session.models / "model.pt"), "--device", "cpu"]
    subprocess.run([*command, *weights], check=True, capture_output=True)
    report = json.loads(next(output.glob("*.json")).read_text())
    for modality, path in find_cases(folder)[0].as_item()["image"].items():
        mask, told = session.slicer(path)
        wanted = read(next(output.glob(f"*_native/*_{modality}.nii.gz")))
        differ = int((np.asarray(mask.dataobj) != np.asarray(wanted.dataobj)).sum())
        grid = np.allclose(mask.affine, wanted.affine, atol=1e-3)
        voxels = int((np.asarray(wanted.dataobj) > 0).sum())
        check(
            f"raw, asked for by its {modality}: {differ} of {wanted.shape} differ, {voxels} labelled",
            not differ and grid,
        )
        check(f"     told: {told['warnings']}", told["warnings"] == report["warnings"])
        check(f"     told: {told['volumes_ml']}", told["volumes_ml"] == report["volumes_ml"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("prepare", "files"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:18123")
    parser.add_argument("--raw-case", type=Path, help="a folder of NIfTI images of a head, as scanned")
    arguments = parser.parse_args()
    if arguments.action == "prepare":
        prepare(arguments.work)
    else:
        plugins = Plugins(arguments.work, arguments.url, "app", "whole")
        raw(plugins, arguments.raw_case or arguments.work / "raw")
        files(plugins)
