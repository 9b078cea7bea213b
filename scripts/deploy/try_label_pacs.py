"""Use ``examples/monai_label_app`` with a PACS for a datastore; ``try_monai_label.sh`` starts the servers."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
from deployment_checks import ALL, check, predict, same
from try_label_app import NAMES, Plugins
from try_monai_label import BUNDLE, wait_for

from metakd_monai.data.cases import find_cases

ORTHANC = "http://127.0.0.1:18147"
ORDERS = (NAMES, NAMES, NAMES[::-1])  # of each case, of its segments in 3D Slicer
EMPTY = 1  # the case that has no necrosis


def upload(work: Path) -> None:
    """Store the examinations in Orthanc, before the server asks it what there is: it keeps the answer for two hours."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((work / "dicom").rglob("*.dcm")):
        stored = requests.post(f"{ORTHANC}/instances", data=path.read_bytes(), timeout=60).json()
        found.setdefault(path.parts[-3], {})[path.parts[-2].partition("_")[2]] = stored["ParentSeries"]
    for series in found.values():
        for name, place in series.items():
            series[name] = fetch(f"/series/{place}")["MainDicomTags"]["SeriesInstanceUID"]
    (work / "series.json").write_text(json.dumps(found))


def fetch(path: str) -> Any:
    """Return what Orthanc answers."""
    return requests.get(f"{ORTHANC}{path}", timeout=60).json()


def segment(session: Plugins, uids: dict[str, str]) -> None:
    """Segment a study, series by series."""
    listed = session.client.next_sample("first", {})["id"]
    check(f"Orthanc's series are listed: {listed}", listed in listed_series(session))
    nifti, weights = session.work / "dicom_nifti" / session.case.case_id, session.models / "model.pt"
    mask, told = session.ohif(uids["t1ce"])
    everything = predict(nifti, session.work / "expected", weights, ALL)
    same("OHIF, a series with its study", mask, everything)
    for line in told["notes"]:
        print(f"     {line}")
    alone = predict(nifti, session.work / "expected", weights, ["flair"])
    same("OHIF, a series alone", session.ohif(uids["flair"], siblings=False)[0], alone)
    same("OHIF, another series of the study", session.ohif(uids["t2"])[0], everything)


def listed_series(session: Plugins) -> list[str]:
    """Return the UIDs of all MR series."""
    cases = json.loads((session.work / "series.json").read_text()).values()
    return [uid for case in cases for uid in case.values()]


def truth(session: Plugins, number: int, case: Any) -> nib.Nifti1Image:
    """Return a case's labels on its series' grid, in the bundle's values."""
    flair = nib.load(next((session.work / "dicom_nifti" / case.case_id).glob("*_flair.nii.gz")))
    values = np.asarray(turned(nib.load(case.label), flair).dataobj).astype(np.int16)
    values[values == 4] = 3
    values[(values == 1) & (number == EMPTY)] = 0
    return nib.Nifti1Image(values, flair.affine)


def turned(image: nib.Nifti1Image, like: nib.Nifti1Image) -> nib.Nifti1Image:
    """Return an image with its axes as another one has them."""
    orientation = nib.io_orientation
    return image.as_reoriented(nib.orientations.ornt_transform(orientation(image.affine), orientation(like.affine)))


def renumber(labels: nib.Nifti1Image, order: list[str]) -> nib.Nifti1Image:
    """Return labels with the value n for the n-th name."""
    table = np.zeros(1 + len(NAMES), np.int16)
    for place, name in enumerate(order, start=1):
        table[1 + NAMES.index(name)] = place
    return nib.Nifti1Image(table[np.asarray(labels.dataobj)], labels.affine)


def save(session: Plugins, series: dict[str, dict[str, str]]) -> None:
    """Save a label of each study as 3D Slicer does, one without necrosis, one in another order; look into Orthanc."""
    for number, case in enumerate(find_cases(session.work / "whole")):
        order, path = ORDERS[number], session.work / f"Submitted_{number}.nii.gz"
        drawn = renumber(truth(session, number, case), order)
        nib.save(drawn, path)
        told = {"label_info": [{"name": name, "idx": place} for place, name in enumerate(order, start=1)]}
        uid = series[case.case_id]["flair"]
        session.client.save_label(uid, str(path), params=told)
        check_stored(session, uid, drawn, order)
    empty = session.work / "Submitted_empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(drawn.shape, np.uint8), drawn.affine), empty)
    with empty.open("rb") as content:
        url = f"{session.url}/datastore/label"
        answer = requests.put(url, params={"image": uid}, files={"label": (empty.name, content)}, timeout=60)
    check(f"an empty label map: {answer.status_code} {answer.text}", answer.status_code == 422)


def check_stored(session: Plugins, image: str, drawn: nib.Nifti1Image, order: list[str]) -> None:
    """Read back from Orthanc, by dcmqi, the segmentation of an image: its names, and each segment's voxels."""
    (place,) = [one["ID"] for one in fetch("/series?expand") if refers_to(one, image)]
    folder = session.work / "stored"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (instance,) = fetch(f"/series/{place}")["Instances"]
    file = folder / "segmentation.dcm"
    file.write_bytes(requests.get(f"{ORTHANC}/instances/{instance}/file", timeout=60).content)
    same_study = fetch(f"/series/{place}/study")["ID"] == fetch(f"/series/{id_of(image)}/study")["ID"]
    check("the label is in its image's study", same_study)
    command = ["segimage2itkimage", "--inputDICOM", file, "--outputDirectory", folder, "--outputType", "nii"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    meta = json.loads((folder / "meta.json").read_text())
    labels = {segment["labelID"]: segment["SegmentLabel"] for group in meta["segmentAttributes"] for segment in group}
    values = np.unique(np.asarray(drawn.dataobj))[1:].tolist()
    check(f"its segments: {labels}", list(labels.values()) == [order[value - 1] for value in values], meta)
    for number, value in enumerate(values, start=1):
        sent = nib.Nifti1Image((np.asarray(drawn.dataobj) == value).astype(np.uint8), drawn.affine)
        places = [places_of(image) for image in (nib.load(folder / f"{number}.nii.gz"), sent)]
        check(f"{labels[number]}: {len(places[1])} voxels, {len(places[0] ^ places[1])} differ", places[0] == places[1])
    if shutil.which("dciodvfy"):
        said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False).stderr
        errors = [line for line in said.splitlines() if line.startswith("Error")]
        check(f"dciodvfy: {len(errors)} errors", not errors, errors)


def places_of(mask: nib.Nifti1Image) -> set[tuple[float, ...]]:
    """Return where a mask's voxels are, in mm: a segmentation has no empty slices."""
    places = nib.affines.apply_affine(mask.affine, np.argwhere(np.asarray(mask.dataobj)))
    return set(map(tuple, places.round(2).tolist()))


def id_of(uid: str) -> str:
    """Return Orthanc's name of a series."""
    (found,) = [one["ID"] for one in fetch("/series?expand") if one["MainDicomTags"]["SeriesInstanceUID"] == uid]
    return str(found)


def refers_to(series: Any, image: str) -> bool:
    """Tell whether a series is a segmentation of an image."""
    if series["MainDicomTags"]["Modality"] != "SEG":
        return False
    tags = fetch(f"/instances/{series['Instances'][0]}/simplified-tags")
    return bool(tags["ReferencedSeriesSequence"][0]["SeriesInstanceUID"] == image)


def come_back(session: Plugins, series: dict[str, dict[str, str]]) -> None:
    """With a fresh cache: labels of the PACS are known, and a training reads them, with their names."""
    chosen = session.client.next_sample("first", {})["id"]
    labelled = [one["flair"] for one in series.values()]
    check(f"what is labelled in the PACS is not asked for again: {chosen}", chosen not in labelled)
    session.client.train_start(BUNDLE, {"max_epochs": 1, "device": "cpu", "val_split": 0.3})
    task = wait_for(session)
    check(f"POST /train on the PACS' labels: {task['status']}", task["status"] == "DONE", task)
    for number, case in enumerate(find_cases(session.work / "whole")):
        uid = series[case.case_id]["flair"]
        url = f"{session.url}/datastore/label"
        info = requests.get(f"{url}/info", params={"label": uid, "tag": "final"}, timeout=60).json()
        names = [one["name"] for one in info["label_info"]]
        path = session.work / f"back{Path(info['name']).suffix}"
        path.write_bytes(requests.get(url, params={"label": uid, "tag": "final"}, timeout=60).content)
        found, wanted = session.opened(path), renumber(truth(session, number, case), names)
        wanted = turned(wanted, found)
        differ = int((np.asarray(found.dataobj) != np.asarray(wanted.dataobj)).sum())
        grid = np.allclose(found.affine, wanted.affine, atol=1e-3)
        check(f"label of {case.case_id} fetched: {names}, {differ} voxels differ", differ == 0 and grid)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("upload", "use", "come_back"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:18123")
    arguments = parser.parse_args()
    if arguments.action == "upload":
        upload(arguments.work)
    else:
        plugins = Plugins(arguments.work, arguments.url, "app", "whole")
        studies = json.loads((arguments.work / "series.json").read_text())
        if arguments.action == "use":
            segment(plugins, studies[plugins.case.case_id])
            save(plugins, studies)
        else:
            come_back(plugins, studies)
