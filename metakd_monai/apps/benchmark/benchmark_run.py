"""Run a benchmark: score case after case, then write tables and pictures."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from metakd_monai import __version__
from metakd_monai.apps.benchmark.benchmark_items import Items, check_items
from metakd_monai.apps.benchmark.case_record import (
    SEAL,
    Scoring,
    choose_scoring,
    read_record,
    score_item,
    seal,
    subsets_of,
)
from metakd_monai.apps.benchmark.comparison import Comparison, ReferenceTable, read_reference, write_comparison
from metakd_monai.apps.benchmark.figures import draw_curves, draw_heatmap
from metakd_monai.apps.benchmark.subset_tables import MEAN, Score, ScoreTable, make_markdown, write_scores, write_wide
from metakd_monai.apps.predict.postprocessing import PostProcessing
from metakd_monai.apps.predict.predictor import Compute, Predictor
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor
from metakd_monai.data.files import check_writable, write_json, write_text
from metakd_monai.data.temporaries import refuse_folders, remove
from metakd_monai.errors import explain
from metakd_monai.inferers import Window
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES

logger = logging.getLogger(__name__)

MOST_JOBS = 8
REWRITTEN = ("heatmap.png", "curves.png", "comparison.md", "comparison.csv")  # not written by every run
WRITTEN = ("table.md", "table.csv", "scores.csv", "manifest.json")
DEFAULT_RULE = PostProcessing("small_et")  # so that ET is always reported with and without it


def run_benchmark(
    items: Items,
    weights: str | Path,
    output: str | Path,
    device: str | torch.device = "cpu",
    convention: str | None = None,
    hd95: str | None = None,
    postprocessing: PostProcessing | str = DEFAULT_RULE,
    compare: str | Path | None = None,
    compare_method: str | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    source: Mapping[str, Any] | None = None,
    window: Window = None,
    mirror: str = "none",
) -> dict[str, Any]:
    """Score a network on every subset of the sequences of every case; write tables, pictures and a manifest.

    What is scored is the composed label map, as it would be submitted. A finished case is recorded under ``cases/`` and
    not computed again. An unusable case is reported, and the others are done. A case that lacks sequences counts only
    in subsets of those it has.

    Args:
        items: of a datalist: ``image``, ``label``, ``case_id``, and ``year`` where it is known.
        weights: see :func:`~metakd_monai.weights.load.load_network`.
        output: folder for the results.
        device: of the network.
        convention: ``"brats2020"`` or ``"brats2023"``; None to go by years or names.
        hd95: ``"pooled"``, ``"directed"`` or ``"surface"``; None for the convention's own.
        postprocessing: scored beside the unprocessed label maps; see :mod:`metakd_monai.apps.predict.postprocessing`.
        compare: see :func:`~metakd_monai.apps.benchmark.comparison.read_reference`.
        compare_method: the method to compare with, in a published table; default MetaKD.
        jobs: threads for scoring; None for one per core, at most 8.
        overwrite: redo cases that were recorded with other settings.
        source: where the items come from, for the manifest.
        window: see :class:`~metakd_monai.apps.predict.predictor.Compute`.
        mirror: likewise.

    Returns:
        The manifest, as written to ``manifest.json``; ``cases["failed"]`` says what went wrong, by case.

    Raises:
        UserError: when an argument cannot be used, or records with other settings exist.
    """
    start, folder = time.perf_counter(), Path(output)
    check_items(items)
    scoring = choose_scoring(items, convention, hd95, postprocessing, jobs or min(os.cpu_count() or 1, MOST_JOBS))
    reference = None if compare is None else read_reference(compare, compare_method or "MetaKD")
    check_writable(folder)
    refuse_folders(*(folder / name for name in (*REWRITTEN, *WRITTEN)))
    predictor = Predictor(weights, device, compute=Compute(mirror=mirror, window=window))
    engine = SubsetPredictor(predictor)
    records, failed, resumed = score_cases(engine, items, scoring, folder / "cases", overwrite)
    table = ScoreTable(tuple(Score(record["case"], *row) for record in records for row in subsets_of(record)))
    comparisons = write_results(folder, table, scoring, reference)
    manifest = {
        "version": __version__,
        "settings": scoring.settings(predictor),
        "weights": str(weights),
        "device": str(device),
        "source": dict(source or {}),
        "cases": {"given": len(items), "scored": len(records), "resumed": resumed, "failed": failed},
        **summarise(table, records),
        "comparison": describe(reference, comparisons),
    }
    manifest["seconds"]["total"] = time.perf_counter() - start
    write_json(folder / "manifest.json", manifest)
    return manifest


def score_cases(
    engine: SubsetPredictor, items: Items, scoring: Scoring, folder: Path, overwrite: bool
) -> tuple[list[dict[str, Any]], dict[str, str], int]:
    """Score case after case, each recorded in a folder as soon as it is done.

    Returns:
        The records, the reasons of failed cases by name, and how many were done before.

    Raises:
        UserError: when a record with other settings exists.
    """
    settings = scoring.settings(engine.predictor)
    known: dict[str, dict[str, Any]] = {}
    for item in items:
        name = str(item["case_id"])
        record = None if overwrite else read_record(folder / f"{name}.json", item, settings)
        if record is not None:
            known[name] = record
    failed: dict[str, str] = {}
    records = []
    for item in tqdm(items, desc="15 subsets", unit="case", disable=None):
        name = str(item["case_id"])
        if name in known:
            records.append(known[name])
            continue
        try:
            record = {"settings": settings, **score_item(engine, item, scoring)}
        except Exception as error:  # a failing case must not stop the others
            failed[name] = explain(error)
            logger.error("%s: failed: %s", name, failed[name])
            logger.debug("traceback of %s", name, exc_info=True)
            continue
        write_json(folder / f"{name}.json", {**record, SEAL: seal(record)})
        records.append(record)
    return records, failed, len(known)


def write_results(
    folder: Path, table: ScoreTable, scoring: Scoring, reference: ReferenceTable | None
) -> list[Comparison]:
    """Write the tables and pictures of all cases, replacing earlier ones; return the comparison, if any."""
    for name in REWRITTEN:
        remove(folder / name)
    title = f"15 subsets, {len(table.cases)} cases"
    note = (
        f"Convention {scoring.convention.name}, HD95 {scoring.hd95}, post-processing {scoring.postprocessing}."
        f" Means over cases; metakd_monai {__version__}."
    )
    text = make_markdown(table, title, note)
    write_text(folder / "table.md", text)
    write_wide(folder / "table.csv", table)
    write_scores(folder / "scores.csv", table)
    if not table.scores:
        return []
    lesions = "LesionWise_Dice" in table.metrics
    metric, name = ("LesionWise_Dice", "Lesion-wise Dice") if lesions else ("Dice", "Dice")
    draw_heatmap(folder / "heatmap.png", table, metric, f"{name} in %, {len(table.cases)} cases")
    draw_curves(folder / "curves.png", table, metric, f"{name} in %, {len(table.cases)} cases")
    return [] if reference is None else write_comparison(folder, table, reference)


def summarise(table: ScoreTable, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the manifest's summary: incomplete cases, subsets, means over the subsets, seconds."""
    return {
        "incomplete": {r["case"]: r["available"] for r in records if len(r["available"]) < len(MODALITY_NAMES)},
        "subsets": table.counts(),
        "means": {
            rule: {metric: mean_by_region(table, metric, rule) for metric in table.metrics} for rule in table.rules
        },
        "seconds": {"cases": {r["case"]: r["seconds"] for r in records}},
    }


def mean_by_region(table: ScoreTable, metric: str, rule: str) -> dict[str, float | None]:
    """Return a metric's mean over the subsets, for each region."""
    means = table.means(metric, rule)
    return {region: finite(means[MEAN, region]) for region in REGION_NAMES}


def describe(reference: ReferenceTable | None, comparisons: Sequence[Comparison]) -> dict[str, Any] | None:
    """Return a comparison for the manifest; None if there is none."""
    if reference is None or not comparisons:
        return None
    tests = {
        found.rule: {
            region: {name: finite(value) for name, value in asdict(test).items()}
            for region, test in found.tests.items()
        }
        for found in comparisons
    }
    return {"with": reference.name, "tests": tests}


def finite(value: float) -> float | None:
    """Return a number, or None for ``nan``, which JSON does not have."""
    return value if math.isfinite(value) else None
