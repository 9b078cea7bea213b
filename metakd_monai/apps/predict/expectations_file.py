"""Write ``expected.json`` beside weights: the measured Dice, and the ranges of the training cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metakd_monai.apps.predict.appearance import Appearance, measure_appearance
from metakd_monai.apps.predict.expectations import FILE, read_expectations
from metakd_monai.apps.predict.input_checks import merge_appearances
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum, read_json, write_json
from metakd_monai.errors import UserError

FOLDS = "folds"  # weights of a cross-validation
MEASURED_PARTS = ("measured", FOLDS, "cases", "least_et_ml", "postprocessing", "subsets", "masks")


def publish_expectations(weights: Path, measured: Path | None, folders: Sequence[Path]) -> str:
    """Write ``expected.json``; return a summary line.

    In an existing file about the same weights, parts that are not given are kept.

    Args:
        weights: their file; ``expected.json`` goes beside it.
        measured: Dice as written by scripts/weights/measure_expectations.py or ``metakd study``: of these weights,
            or of several trained by the same recipe, each on cases not used in its training.
        folders: cases like those of the training.

    Raises:
        UserError: for an invalid file, a file about other weights, or folders without cases.
    """
    path, sha256 = weights.with_name(FILE), checksum(weights)
    kept = read_object(path) if path.is_file() else {}
    content = kept if kept.get("weights_sha256") == sha256 else {}
    content["weights_sha256"] = sha256
    if measured is not None:
        found = read_object(measured)
        if FOLDS not in found and found.get("weights_sha256") != sha256:
            raise UserError(f"{measured}: about the weights {found.get('weights_sha256')}; expected {sha256}")
        content = {name: value for name, value in content.items() if name not in MEASURED_PARTS}
        content |= {name: found[name] for name in MEASURED_PARTS if name in found}
    if folders:
        content["training"] = ranges_of(Predictor(weights), folders)
    write_json(path, content)
    read = read_expectations(weights, sha256)
    if read.note is not None:
        raise UserError(f"{path}: {read.note}; expected what metakd_monai.apps.predict.expectations describes")
    parts = f"{len(read.subsets)} subsets on {len(read.measured_on)} cases, {len(read.models)} models"
    return f"{path}: Dice of {parts}, {len(read.ranges)} ranges"


def ranges_of(predictor: Predictor, folders: Sequence[Path]) -> dict[str, Any]:
    """Return the number of cases in the folders, and the range of each number over them."""
    cases = (case for folder in folders for case in find_cases(folder))
    return merge_appearances(appearance_of(predictor.read(case)) for case in cases)


def appearance_of(item: dict[str, Any]) -> Appearance:
    """Measure a case as the predictor has read it."""
    return measure_appearance(item["image"].as_tensor(), item["available"], item["image"].affine)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises UserError for anything else."""
    content = read_json(path, "a JSON object")
    if not isinstance(content, dict):
        raise UserError(f"{path}: {type(content).__name__} found; expected a JSON object")
    return content
