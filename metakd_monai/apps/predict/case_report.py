"""One case from its files to its mask, and the report on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from nibabel.affines import voxel_sizes

from metakd_monai.apps.predict.mask_quality import describe_predicted, predict_dice, warn_of
from metakd_monai.apps.predict.outputs import Outputs, is_done, mask_path, write_outputs
from metakd_monai.apps.predict.predictor import Predictor, Settings
from metakd_monai.apps.predict.subset_masks import remove_subsets, segment_subsets, write_subsets
from metakd_monai.apps.predict.uncertainty import describe_uncertainty
from metakd_monai.data.cases import Case
from metakd_monai.data.files import mark_unfinished, write_json
from metakd_monai.data.nifti import region_ml
from metakd_monai.data.temporaries import mark_finished, refuse_folders, remove
from metakd_monai.transforms import NOTE
from metakd_monai.vocabulary import MODALITY_NAMES, Modality


@dataclass(frozen=True)
class Segmented:
    """The result of one case.

    Attributes:
        item: as read, see :meth:`Predictor.read`.
        logits: ``(R, *S)`` on the item's box.
        labels: ``(1, *S)`` on the case's grid.
        entropy: ``(1, *S)`` in bits on the case's grid; None if not requested.
        subsets: label maps of the subsets of its sequences; None if not requested.
        window: size of the sliding window in voxels.
        smaller: why the window was smaller than the weights' own, if it was.
        seconds: time for reading and segmenting.
    """

    item: dict[str, Any]
    logits: torch.Tensor
    labels: torch.Tensor
    entropy: torch.Tensor | None
    subsets: dict[str, torch.Tensor] | None
    window: Any
    smaller: str | None
    seconds: dict[str, float]


def predict_case(
    predictor: Predictor, case: Case, outputs: Outputs, read: Callable[[Case], dict[str, Any]] | None = None
) -> Callable[[], str]:
    """Segment one case; return a function that writes its files and may be called in another thread.

    The function writes the report last, and returns a summary line and a line for each warning. ``read`` replaces
    :meth:`Predictor.read` for a case that was read ahead.
    """
    settings = predictor.settings_for(case)
    mask, report_path = mask_path(outputs, case), outputs.directory / f"{case.case_id}.json"
    refuse_folders(*outputs.files(case.case_id))
    done = not outputs.overwrite and is_done(mask, report_path, settings)
    if done and all(path.exists() for path, asked in outputs.maps(case.case_id).items() if asked):
        return lambda: f"done before with the same settings, left as it is ({report_path})"
    found = segment_case(predictor, case, outputs, settings, read or predictor.read)
    return partial(write_case, predictor, case, outputs, settings, found, done)


def write_case(
    predictor: Predictor, case: Case, outputs: Outputs, settings: Settings, found: Segmented, done: bool
) -> str:
    """Write the files of a case; see :func:`predict_case`. ``done``: a mask with these settings exists."""
    start = time.perf_counter()
    mask, report_path = mask_path(outputs, case), outputs.directory / f"{case.case_id}.json"
    report = make_report(predictor, case, found, settings)
    mark_unfinished(mask, report_path)
    for path, asked in outputs.maps(case.case_id).items():
        if not (asked or done):  # left by an earlier mask; it would be mistaken for this one's
            remove(path)
    folder = outputs.subset_folder(case.case_id)
    if not (outputs.subsets or done):
        remove_subsets(folder)
    if found.subsets is not None:
        write_subsets(folder, predictor, found.item, found.subsets, found.labels, settings.et_label)
    title = f"{case.case_id}\n{title_of(report)}"
    write_outputs(outputs, case.case_id, found.item, found.logits, found.labels, title, found.entropy)
    report["seconds"]["write"] = time.perf_counter() - start
    write_json(report_path, report)
    mark_finished(mask)
    return sum_up(predictor, report)


def segment_case(
    predictor: Predictor,
    case: Case,
    outputs: Outputs,
    settings: Settings,
    read: Callable[[Case], dict[str, Any]],
) -> Segmented:
    """Read a case and segment it; nothing is written."""
    start = time.perf_counter()
    item = read(case)
    was_read = time.perf_counter()
    logits = predictor.segment(item)
    window, smaller = predictor.inferer.used, predictor.inferer.describe_window()
    labels = predictor.label(item, logits, settings.et_label)
    entropy = predictor.uncertainty(item, logits) if outputs.uncertainty else None
    subsets = segment_subsets(predictor, item, settings.et_label) if outputs.subsets else None
    seconds = {"read": was_read - start, "segment": time.perf_counter() - was_read}
    return Segmented(item, logits, labels, entropy, subsets, window, smaller, seconds)


def make_report(predictor: Predictor, case: Case, found: Segmented, settings: Settings) -> dict[str, Any]:
    """Return the report on a case, ready for JSON."""
    image, available = found.item["image"], found.item["available"]
    used = [m.value for m, there in zip(Modality, available.tolist(), strict=True) if there]
    expectations, edges = predictor.expectations, [float(edge) for edge in voxel_sizes(np.asarray(image.affine))]
    unusual = expectations.find_unusual(image.as_tensor(), available, image.affine)
    volumes = region_ml(found.labels, image.affine)
    predicted = predict_dice(expectations.models, found.logits, found.labels, edges, used)
    warnings = warn_of(predicted, volumes) if expectations.models else []
    return {
        "case": case.case_id,
        "settings": asdict(settings),
        "weights": str(predictor.weights),
        "device": str(predictor.device),
        "window": found.window,
        "files": case.as_item()["image"],
        "notes": list(case.notes),
        "modalities": {"used": used, "missing": [name for name in MODALITY_NAMES if name not in used]},
        "volumes_ml": volumes,
        "expected": expectations.report(used, predicted),
        "warnings": [*case.warnings, *warnings, *filter(None, [image.meta.get(NOTE), found.smaller]), *unusual],
        "uncertainty": None if found.entropy is None else describe_uncertainty(available.tolist()),
        "seconds": dict(found.seconds),
    }


def given_and_absent(report: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of the given sequences of a case, and of the absent ones."""
    modalities = report["modalities"]
    return ", ".join(modalities["used"]), ", ".join(modalities["missing"]) or "none"


def list_volumes(report: Mapping[str, Any]) -> list[str]:
    """Return each region with its volume."""
    return [f"{region} {volume:.1f} mL" for region, volume in report["volumes_ml"].items()]


def title_of(report: Mapping[str, Any]) -> str:
    """Return the title of a case's picture."""
    given, absent = given_and_absent(report)
    return f"given: {given}   absent: {absent}\n{'   '.join(list_volumes(report))}"


def sum_up(predictor: Predictor, report: Mapping[str, Any]) -> str:
    """Return a report's summary line, and a line for each warning."""
    given, absent = given_and_absent(report)
    expectations = predictor.expectations
    predicted = describe_predicted((report["expected"] or {}).get("predicted", {}))
    known = (predicted or expectations.describe(report["modalities"]["used"]), expectations.note)
    notes = "".join(f"; {note}" for note in known if note)
    took = f"{sum(report['seconds'].values()):.1f} s"
    line = f"{', '.join(list_volumes(report))} (given {given}; absent {absent}) in {took}{notes}"
    return "\n".join([line, *(f"warning: {text}" for text in report["warnings"])])
