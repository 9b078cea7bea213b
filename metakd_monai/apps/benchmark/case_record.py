"""One case of a benchmark: its label maps, their scores, and the file that records them."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metakd_monai.apps.predict.outputs import to_native
from metakd_monai.apps.predict.postprocessing import PostProcessing
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor, case_of
from metakd_monai.data.files import read_record as read_json_record
from metakd_monai.data.fingerprint import SCORE_CODE, code_fingerprint
from metakd_monai.data.nifti import AXES, check_grid, check_labels, read_labels, read_nifti
from metakd_monai.data.stream import files_in
from metakd_monai.data.years import find_year
from metakd_monai.errors import UserError
from metakd_monai.metrics.case_scores import measure
from metakd_monai.metrics.conventions import Convention, choose_hd95, convention_of, find_convention
from metakd_monai.transforms import REFERENCE, labels_to_regions
from metakd_monai.vocabulary import Modality, name_subset

logger = logging.getLogger(__name__)

NONE = PostProcessing()
SEAL = "sha256"  # key of a record: the hash over the rest of it
SCORABLE = "Scorable"  # 1 where HD95 is a distance, 0 where it is the convention's value


@dataclass(frozen=True)
class Scoring:
    """How label maps are scored.

    Attributes:
        convention: the scoring rule.
        hd95: kind of HD95.
        postprocessing: scored beside the unprocessed label maps, unless it is ``none``.
        jobs: threads that score the subsets of a case.
    """

    convention: Convention
    hd95: str
    postprocessing: PostProcessing = NONE
    jobs: int = 1

    @property
    def rules(self) -> tuple[PostProcessing, ...]:
        """The post-processing rules that are scored, ``none`` first."""
        return (NONE,) if self.postprocessing == NONE else (NONE, self.postprocessing)

    def settings(self, predictor: Predictor) -> dict[str, Any]:
        """Return all that the scores depend on, apart from the case, ready for JSON."""
        prediction = {name: value for name, value in asdict(predictor.settings).items() if name != "et_label"}
        return {
            **json.loads(json.dumps(prediction)),
            "code_sha256": code_fingerprint(SCORE_CODE),
            "convention": self.convention.name,
            "hd95": self.hd95,
            "postprocessing": self.postprocessing.as_dict(),
        }


def choose_scoring(
    items: Sequence[Mapping[str, Any]],
    convention: str | None,
    hd95: str | None,
    postprocessing: PostProcessing | str,
    jobs: int = 1,
) -> Scoring:
    """Return how to score the items of a datalist; ``None`` takes the convention of their years or names.

    Raises:
        UserError: for unknown names, or items of BraTS 2023 and earlier ones together.
    """
    if convention is None:
        convention = convention_of(((str(item["case_id"]), item.get("year")) for item in items), "cases")
    rule = find_convention(convention)
    chosen = PostProcessing.parse(postprocessing) if isinstance(postprocessing, str) else postprocessing
    return Scoring(rule, choose_hd95(hd95, rule), chosen, jobs)


@dataclass(frozen=True)
class Reference:
    """The reference of a case: ``masks`` ``(R, *S)`` bool on the grid of its files, and the spacing in mm."""

    masks: np.ndarray
    spacing: tuple[float, ...]
    affine: np.ndarray


def read_reference(item: Mapping[str, Any], image: str | Path, convention: Convention) -> Reference:
    """Read the label map of a datalist's item by the convention of its year, else by the scoring rule's.

    Args:
        item: with ``label``, and ``year`` where it is known.
        image: the file whose grid it must be on.
        convention: the scoring rule.

    Raises:
        UserError: when there is no label map, it is unreadable, on another grid, or has values of another year.
    """
    path = item.get("label")
    if not path:
        raise UserError(f"{item['case_id']}: no label map; expected one to score against")
    file, grid = read_nifti(path), read_nifti(image)
    check_grid(path, file.shape, file.affine, grid.shape[:AXES], grid.affine, str(image))
    labels = read_labels(path, file)
    meaning = convention.reference_labels or convention.labels
    if item.get("year"):
        meaning = find_year(str(item["year"])).labels
    check_labels(labels, str(path), meaning)
    masks = labels_to_regions(torch.from_numpy(labels)[None], meaning).bool().numpy()
    return Reference(masks, file.edges, file.affine)


def score_item(predictor: SubsetPredictor, item: Mapping[str, Any], scoring: Scoring) -> dict[str, Any]:
    """Segment and score one case in every subset of the sequences that it has.

    Args:
        predictor: what to segment with.
        item: of a datalist.
        scoring: how to score.

    Returns:
        The record of the case, ready for JSON; ``scores`` by subset, post-processing and column.

    Raises:
        UserError: when the case cannot be read.
    """
    start = time.perf_counter()
    volume = predictor.predictor.read(case_of(item))
    reference = read_reference(item, volume["image"].meta[REFERENCE], scoring.convention)
    maps = predictor.label_maps(volume, scoring.convention.labels.enhancing)
    segmented = time.perf_counter()
    if smaller := predictor.predictor.inferer.describe_window():
        logger.warning("%s: warning: %s", item["case_id"], smaller)
    with ThreadPoolExecutor(scoring.jobs) as pool:
        scores = list(pool.map(lambda labels: score_map(labels, reference, scoring), maps.values()))
    return {
        "case": str(item["case_id"]),
        "available": [m.value for m, there in zip(Modality, volume["available"].tolist(), strict=True) if there],
        "files": fingerprint(item),
        "window": predictor.predictor.inferer.used,
        "seconds": {"segment": segmented - start, "score": time.perf_counter() - segmented},
        "scores": {name_subset(subset): found for subset, found in zip(maps, scores, strict=True)},
    }


def score_map(labels: np.ndarray, reference: Reference, scoring: Scoring) -> dict[str, dict[str, float]]:
    """Score a label map ``(*S)`` of the working orientation under each post-processing rule, by name and column."""
    results: dict[str, dict[str, float]] = {}
    for rule in scoring.rules:
        processed = rule(labels, scoring.convention.labels.enhancing)
        if results and np.array_equal(processed, labels):
            results[rule.name] = dict(results[NONE.name])
            continue
        native = to_native(torch.from_numpy(processed)[None], reference.affine)[..., 0]
        masks = labels_to_regions(torch.from_numpy(native)[None], scoring.convention.labels).bool().numpy()
        found = measure(masks, reference.masks, reference.spacing, scoring.convention, scoring.hd95)
        scorable = {f"{SCORABLE}_{region.value}": float(value) for region, value in found.scorable.items()}
        results[rule.name] = {**found.row, **scorable}
    return results


def fingerprint(item: Mapping[str, Any]) -> str:
    """Return a hash over the files of an item: their names, sizes and modification times."""
    known = {name: item[name] for name in ("image", "label") if item.get(name)}
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files_in(known)]
    return hashlib.sha256(json.dumps([stats, str(item.get("year"))]).encode()).hexdigest()


def read_record(path: Path, item: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record of a case; None if the case must be done: no record, a damaged one, or one of other files.

    Raises:
        UserError: when the record was made with other settings.
    """
    record = read_json_record(path)
    found = record.get("settings", {})
    differ = sorted(name for name in {*found, *settings} if found.get(name) != settings.get(name))
    if record and differ:
        raise UserError(f"{path}: made with other settings ({', '.join(differ)}); expected --overwrite or a new folder")
    return record if record.get(SEAL) == seal(record) and record.get("files") == fingerprint(item) else None


def seal(record: Mapping[str, Any]) -> str:
    """Return a hash over a record, which reveals damage."""
    rest = {name: value for name, value in record.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def subsets_of(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, float]]:
    """Yield a record's scores as ``(subset, region, postprocessing, metric, value)``."""
    for subset, rules in record["scores"].items():
        for rule, columns in rules.items():
            for column, value in columns.items():
                metric, region = column.rsplit("_", 1)
                yield subset, region, rule, metric, value
