"""One case from its files to its mask, and the report on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from metakd_monai.apps.predict.outputs import Outputs, is_done, mask_path, write_outputs
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.uncertainty import describe_uncertainty
from metakd_monai.data.cases import Case
from metakd_monai.data.files import mark_unfinished, write_json
from metakd_monai.data.nifti import voxel_ml
from metakd_monai.data.temporaries import mark_finished, refuse_folders, remove
from metakd_monai.transforms import NOTE, labels_to_regions
from metakd_monai.vocabulary import MODALITY_NAMES, Modality, Region


def predict_case(
    predictor: Predictor, case: Case, outputs: Outputs, read: Callable[[Case], dict[str, Any]] | None = None
) -> str:
    """Segment one case and write its files, the report last; return a line that sums it up, and one for each warning.

    ``read`` stands in for :meth:`Predictor.read`, so that a case may have been read ahead.
    """
    settings = predictor.settings_for(case)
    report_path = outputs.directory / f"{case.case_id}.json"
    refuse_folders(*outputs.files(case.case_id))
    done = not outputs.overwrite and is_done(mask_path(outputs, case), report_path, settings)
    if done and all(path.exists() for path, asked in outputs.maps(case.case_id).items() if asked):
        return f"done before with the same settings, left as it is ({report_path})"
    outdated = [path for path, asked in outputs.maps(case.case_id).items() if not (asked or done)]
    start = time.perf_counter()
    item = (read or predictor.read)(case)
    was_read = time.perf_counter()
    logits = predictor.segment(item)
    window, smaller = predictor.inferer.used, predictor.inferer.describe_window()
    labels = predictor.label(item, logits, settings.et_label)
    unsure = predictor.uncertainty(item, logits) if outputs.uncertainty else None
    segmented = time.perf_counter()
    used = [m.value for m, there in zip(Modality, item["available"].tolist(), strict=True) if there]
    missing = [name for name in MODALITY_NAMES if name not in used]
    given, absent = ", ".join(used), ", ".join(missing) or "none"
    image, expectations = item["image"], predictor.expectations
    volumes = measure(labels, image.affine)
    sizes = [f"{region} {volume:.1f} mL" for region, volume in volumes.items()]
    unusual = expectations.find_unusual(image.as_tensor(), item["available"], image.affine)
    unusual = [*filter(None, [image.meta.get(NOTE), smaller]), *unusual]
    title = f"{case.case_id}\ngiven: {given}   absent: {absent}\n{'   '.join(sizes)}"
    mark_unfinished(mask_path(outputs, case), report_path)
    for path in outdated:  # maps of an earlier mask, which would be taken for this one's
        remove(path)
    write_outputs(outputs, case.case_id, item, logits, labels, title, unsure)
    written = time.perf_counter()
    report = {
        "case": case.case_id,
        "settings": asdict(settings),
        "weights": str(predictor.weights),
        "device": str(predictor.device),
        "window": window,
        "files": case.as_item()["image"],
        "notes": list(case.notes),
        "modalities": {"used": used, "missing": missing},
        "volumes_ml": volumes,
        "expected": expectations.report(used),
        "warnings": unusual,
        "uncertainty": None if unsure is None else describe_uncertainty(item["available"].tolist()),
        "seconds": {"read": was_read - start, "segment": segmented - was_read, "write": written - segmented},
    }
    write_json(report_path, report)
    mark_finished(mask_path(outputs, case))
    notes = "".join(f"; {note}" for note in (expectations.describe(used), expectations.note) if note)
    line = f"{', '.join(sizes)} (given {given}; absent {absent}) in {written - start:.1f} s{notes}"
    return "\n".join([line, *(f"warning: {text}" for text in unusual)])


def measure(labels: torch.Tensor, affine: torch.Tensor) -> dict[str, float]:
    """Return the volumes of ET, TC and WT in mL of a label map ``(1, *S)`` with an affine ``(4, 4)`` in mm."""
    each = voxel_ml(affine)
    return {r.value: round(float(m.sum()) * each, 3) for r, m in zip(Region, labels_to_regions(labels), strict=True)}
