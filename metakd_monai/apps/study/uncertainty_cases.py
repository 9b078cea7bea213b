"""The uncertainty of all cases of a study, measured, drawn and recorded once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metakd_monai.apps.benchmark.benchmark_items import Items
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.apps.predict.subset_predictor import case_of
from metakd_monai.apps.study.evidence import Evidence
from metakd_monai.apps.study.uncertainty_score import (
    UncertaintyRow,
    draw_scored,
    picture_name,
    read_uncertainty,
    score_uncertainty,
    segment_case,
    write_uncertainty,
)
from metakd_monai.vocabulary import Modality


def uncertainty_rows(
    weights: Path, device: str, items: Items, evidence: Evidence, output: Path, overwrite: bool
) -> list[UncertaintyRow]:
    """Measure the uncertainty of all cases, from all their sequences and from FLAIR alone where they have more.

    Args:
        weights: what to segment with.
        device: and where.
        items: the cases.
        evidence: their scores; cases without scores are skipped.
        output: folder for pictures and records.
        overwrite: measure again what was recorded.
    """
    flair = Modality.FLAIR.value
    everything = Predictor(weights, device)
    alone = Predictor(weights, device, modalities=[Modality.FLAIR])
    found = []
    for item in tqdm(items, desc="uncertainty", unit="case", disable=None):
        full = evidence.full.get(str(item["case_id"]))
        if full is not None:
            predictors = {full: everything, **({flair: alone} if flair in full.split("+")[:-1] else {})}
            found += [uncertainty_of(one, item, given, output, overwrite) for given, one in predictors.items()]
    return found


def uncertainty_of(
    predictor: Predictor, item: Mapping[str, Any], given: str, output: Path, overwrite: bool
) -> UncertaintyRow:
    """Measure and draw the uncertainty of one case from a subset, or use the record."""
    sha256 = predictor.settings.weights_sha256
    record = output / "uncertainty" / f"{item['case_id']}_{given}.json"
    found = None if overwrite else read_uncertainty(record, sha256)
    if found is None:
        scored = segment_case(predictor, case_of(item), Path(item["label"]))
        found = score_uncertainty(scored)
        draw_scored(output / picture_name(found.case, given), scored)
        write_uncertainty(record, found, sha256)
    return found
