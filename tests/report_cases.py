"""Output folders as metakd predict leaves them, made of simulated cases and their labels, without a network."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

from metakd_monai.data.cases import find_cases
from metakd_monai.data.nifti import read_labels, read_nifti, region_ml

PREDICTED = {"dice": 0.81, "low": 0.7, "high": 0.9, "flagged": False}


def make_result(source: Path, output: Path, case_id: str, warnings: tuple[str, ...] = (), unsure: bool = False) -> None:
    """Write the mask and the report of a case as if its label had been predicted."""
    output.mkdir(exist_ok=True)
    case = find_cases(source)[0]
    mask = output / f"{case_id}.nii.gz"
    shutil.copyfile(case.label, mask)
    labels = read_labels(mask)
    affine = read_nifti(mask).affine
    if unsure:
        bits = np.linspace(0, 1, labels.size, dtype=np.float32).reshape(labels.shape)
        nib.save(nib.Nifti1Image(bits, affine), output / f"{case_id}_uncertainty.nii.gz")
    report = {
        "case": case_id,
        "settings": {"version": "0.3.0", "weights_sha256": "a" * 64, "compute": {"precision": "fp32"}, "et_label": 4},
        "weights": "/somewhere/model.pt",
        "device": "cpu",
        "files": case.as_item()["image"],
        "notes": [],
        "modalities": {"used": list(case.as_item()["image"]), "missing": []},
        "volumes_ml": region_ml(labels, affine),
        "expected": {"predicted": {"WT": PREDICTED}, "dice": {}, "measured": "cross-validation, 28 cases"},
        "warnings": list(warnings),
        "uncertainty": {"method": "subsets"} if unsure else None,
        "seconds": {"segment": 1.0},
    }
    (output / f"{case_id}.json").write_text(json.dumps(report), encoding="utf-8")
