"""Measure metakd's way from raw scans and back against a preparation by others, and against reference transforms.

Usage: python scripts/reproduce/measure_raw_scans.py DATA TEMPLATE OUT [--strip deepbet]

DATA holds raw_cc-by and tcga_cc-by: TCGA-FG-6692 raw, with skull, and as others prepared it; two openMS patients with
reference transforms.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine
from scipy.ndimage import affine_transform

from metakd_monai.apps.raw.registration import FINISH, refine, register
from metakd_monai.apps.raw.template import AFFINE, SHAPE
from metakd_monai.apps.raw.volumes import coarse, read_raw
from metakd_monai.data.nifti import read_labels, read_nifti
from metakd_monai.metrics.region_scores import count_overlap
from metakd_monai.vocabulary import Region, split_regions

CASE = "TCGA-FG-6692"
SEQUENCES = ("flair", "t1", "t1ce", "t2")
STUDIES = (("openMS_patient03", "study2"), ("openMS_patient04", "study1"))


def run(*arguments: object) -> float:
    """Run a command of metakd; return its seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "metakd_monai", *map(str, arguments)], check=True)
    return time.perf_counter() - start


def compare(data: Path, template: Path, output: Path, strip: str, given: tuple[str, ...]) -> dict[str, object]:
    """Segment the raw case and the same case prepared by others; return Dice of the masks once the pose is removed."""
    raw, results = output / "raw" / CASE, output / f"{strip}_{'_'.join(given)}"
    raw.mkdir(parents=True, exist_ok=True)
    for name in SEQUENCES:
        if name in given:
            shutil.copy(data / "raw_cc-by" / CASE / f"{CASE}_raw_{name}.nii.gz", raw / f"{CASE}_{name}.nii.gz")
        else:
            (raw / f"{CASE}_{name}.nii.gz").unlink(missing_ok=True)
    options = ("--template", template, "--strip", strip, "--output", results, "--no-preview")
    seconds = run("predict", output / "raw", "--raw", *options)
    reference, by_others = output / f"reference_{'_'.join(given)}", data / "tcga_cc-by" / CASE
    run("predict", by_others, "--modalities", ",".join(given), "--output", reference, "--no-preview")
    return {
        "seconds": round(seconds, 1),
        **score(results, reference, by_others, "t1ce" if "t1ce" in given else given[0]),
    }


def score(results: Path, reference: Path, by_others: Path, sequence: str) -> dict[str, object]:
    """Return Dice of brain and tumour, the pose, and the volumes on the raw grids."""
    prepared = results / "prepared" / CASE
    ours = read_raw(prepared / f"{CASE}_{sequence}.nii.gz")
    theirs = read_raw(by_others / f"{CASE}_{sequence}.nii.gz")
    fit = register(coarse(theirs), coarse(ours), [np.eye(4)])
    # Half a millimetre matters to a small tumour.
    matrix = refine(coarse(theirs, 1.0), coarse(ours, 1.0), fit.matrix, FINISH)
    inside = np.argwhere(theirs.voxels > 0)[::501].astype(float)
    pose = np.linalg.norm(apply_affine(matrix, apply_affine(AFFINE, inside)) - apply_affine(AFFINE, inside), axis=1)
    place = np.linalg.inv(AFFINE) @ matrix @ AFFINE

    def aligned(mask: np.ndarray) -> np.ndarray:
        moved = affine_transform(mask.astype(np.float32), place[:3, :3], place[:3, 3], SHAPE, order=1)
        return np.asarray(moved > 0.5)

    found: dict[str, object] = {"pose_mm": [round(float(pose.mean()), 2), round(float(pose.max()), 2)]}
    found["brain"] = round(count_overlap(aligned(ours.voxels > 0), theirs.voxels > 0).dice, 4)
    masks = (split_regions(read_labels(folder / f"{CASE}.nii.gz")) for folder in (results, reference))
    for region, mine, other in zip(Region, *masks, strict=True):
        found[region.value] = round(count_overlap(aligned(mine), other).dice, 4)
    found["volumes_ml"] = json.loads((results / f"{CASE}_native" / "volumes.json").read_text())["volumes_ml"]
    found["case_ml"] = json.loads((results / f"{CASE}.json").read_text())["volumes_ml"]
    return found


def read_itk(path: Path) -> np.ndarray:
    """Read an ITK text transform as a matrix ``(4, 4)`` between worlds towards right, anterior, superior."""
    lines = dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
    numbers, centre = (np.array(lines[name].split(), float) for name in ("Parameters", "FixedParameters"))
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    flip = np.diag([-1.0, -1, 1, 1])
    return np.asarray(flip @ matrix @ flip)


def registration_errors(data: Path) -> dict[str, float]:
    """Return the mean distance in mm over the brain between each registration and the reference transform."""
    errors = {}
    for patient, study in STUDIES:
        folder = data / "raw_cc-by" / patient
        fixed = coarse(read_raw(folder / f"{study}_FLAIR.nii.gz"))
        mask = folder / "common_brainmask.nii.gz"
        points = np.argwhere(read_labels(mask) > 0)[::501].astype(float)
        to_flair = read_itk(folder / f"common_{study}_FLAIR_to_common_space.txt")
        places = apply_affine(to_flair, apply_affine(read_nifti(mask).affine, points))
        for name in ("T1W", "T2W"):
            moving = coarse(read_raw(folder / f"{study}_{name}.nii.gz"))
            fit = register(fixed, moving, [np.eye(4)])
            wanted = apply_affine(read_itk(folder / f"{study}_{name}_intrastudy_to_FLAIR.txt"), places)
            errors[f"{patient} {name}"] = round(
                float(np.linalg.norm(apply_affine(fit.matrix, places) - wanted, axis=1).mean()), 2
            )
    return errors


def read_options(text: str | None) -> argparse.Namespace:
    """Read the command line of this script, and of break_raw_scans.py."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("data", type=Path)
    parser.add_argument("template", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--strip", default="deepbet")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = read_options(__doc__)
    print("registration errors in mm:", json.dumps(registration_errors(options.data)))
    for given in (SEQUENCES, ("flair",), ("t2",), ("t1ce",)):
        found = compare(options.data, options.template, options.output, options.strip, given)
        print(", ".join(given), json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
