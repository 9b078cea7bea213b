"""One case of a cross-validation: measurements and scores of all its masks, kept in a file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nibabel.affines import voxel_sizes
from torch import Tensor

from metakd_monai.apps.calibration.voxelwise import Reliability, score_voxels
from metakd_monai.apps.predict.appearance import measure_appearance
from metakd_monai.apps.predict.mask_quality import FAINT, sum_masks
from metakd_monai.apps.predict.postprocessing import CORNERS, find_tumours
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor
from metakd_monai.apps.predict.uncertainty import entropy
from metakd_monai.apps.study.pictures import read_upright
from metakd_monai.data.boxes import bounding_box
from metakd_monai.data.cases import Case
from metakd_monai.data.files import read_record, write_json
from metakd_monai.errors import UserError
from metakd_monai.transforms import labels_to_regions, regions_to_labels
from metakd_monai.vocabulary import REGION_NAMES, Label, Modality, name_subset

Record = dict[str, Any]
ET_LABEL = int(Label.ET)
UNDER_ANOTHER_NAME = {Modality.T1: Modality.T1CE, Modality.T1CE: Modality.T1}
EXCHANGED = [list(Modality).index(UNDER_ANOTHER_NAME.get(m, m)) for m in Modality]


def measure_once(engine: SubsetPredictor, case: Case, path: Path) -> Record:
    """Return :func:`measure_case`, or its result in a file from an earlier run with the same settings."""
    wanted = json.loads(json.dumps({**asdict(engine.predictor.settings), "label": str(case.label)}))
    record = read_record(path)
    if record.get("settings") != wanted:
        record = {"settings": wanted, **measure_case(engine, case)}
        write_json(path, record)
    return record


def measure_case(engine: SubsetPredictor, case: Case) -> Record:
    """Segment a labelled case in every subset of its sequences, and measure the masks.

    Args:
        engine: weights that were not trained on the case.
        case: with four sequences and a reference.

    Returns:
        ``masks``, one for each subset: see :func:`measure_mask`; ``appearance`` and ``exchanged``, of the files as they
        are and with T1 and T1ce under each other's name; ``reliability`` and ``voxels``: see
        :mod:`metakd_monai.apps.calibration.voxelwise`.

    Raises:
        UserError: for a case that lacks a sequence or a reference.
    """
    start, predictor = time.perf_counter(), engine.predictor
    if case.label is None:
        raise UserError(f"{case.case_id}: no label map; expected one to compare with")
    item = predictor.read(case)
    image, available = item["image"].as_tensor(), item["available"]
    if not bool(available.all()):
        raise UserError(f"{case.case_id}: sequences missing; expected all four")
    edges = [float(edge) for edge in voxel_sizes(np.asarray(item["image"].affine))]
    each = math.prod(edges) / 1000
    truth = labels_to_regions(torch.from_numpy(read_upright(case.label)[item["box"]].copy())[None]) > 0
    brain = (image != 0).any(dim=0)
    reliability, masks = Reliability(), []
    total, full, alone = torch.zeros(()), torch.zeros(()), torch.zeros(())
    for subset, logits in engine.logits(item):
        labels = predictor.label(item, logits, ET_LABEL)
        box = (slice(None), *bounding_box(((logits > FAINT) | truth).any(dim=0).numpy()))
        masks.append({"subset": name_subset(subset), **measure_mask(logits[box], labels[box], truth[box], edges)})
        chance = logits.sigmoid()
        reliability.add(chance[box], truth[box], len(subset) == len(Modality))
        total = total + chance
        full = logits if len(subset) == len(Modality) else full
        alone = logits if subset == (Modality.FLAIR,) else alone
    unsure = {
        "subsets, all four": (full, entropy(total[None] / len(masks))[0, 0]),
        "mask alone, all four": (full, entropy(full.sigmoid()[None])[0, 0]),
        "mirroring, FLAIR alone": (alone, predictor.uncertainty(only(item, Modality.FLAIR), alone)[0]),
    }
    return {
        "case": case.case_id,
        "voxel_ml": each,
        "reference_ml": dict(zip(REGION_NAMES, (truth.flatten(1).sum(dim=1) * each).tolist(), strict=True)),
        "masks": masks,
        "appearance": measure_appearance(image, available, item["image"].affine),
        "exchanged": measure_appearance(image[EXCHANGED], available, item["image"].affine),
        "reliability": reliability.as_dict(),
        "voxels": {name: score_voxels(*found, truth, brain, edges) for name, found in unsure.items()},
        "seconds": time.perf_counter() - start,
    }


def only(item: Mapping[str, Any], modality: Modality) -> dict[str, Any]:
    """Return an item with only one sequence."""
    there = torch.tensor([m is modality for m in Modality])
    return {**item, "available": there}


def measure_mask(logits: Tensor, labels: Tensor, truth: Tensor, edges: Sequence[float]) -> Record:
    """Return the ``sums`` of a mask (:func:`sum_masks`), its correct volume ``right`` in mL, and its ``parts``.

    Args:
        logits: of the mask, ``(R, *S)``.
        labels: the mask, post-processed, ``(1, *S)``; the parts are of the mask before that.
        truth: masks of the reference, ``(R, *S)`` bool.
        edges: of a voxel in mm.
    """
    each = math.prod(edges) / 1000
    right = ((labels_to_regions(labels) > 0) & truth).flatten(1).sum(dim=1) * each
    return {
        "sums": sum_masks(logits, labels, edges),
        "right_ml": dict(zip(REGION_NAMES, right.tolist(), strict=True)),
        "parts": measure_parts(regions_to_labels(logits > 0, ET_LABEL), truth),
    }


def measure_parts(labels: Tensor, truth: Tensor) -> list[list[int]]:
    """Count voxels of each connected tumour of a mask ``(1, *S)``: all, those of ET, TC, WT, and the correct ones.

    ``truth`` are the masks of the reference, ``(R, *S)`` bool.
    """
    parts, sizes = find_tumours(labels[0].numpy(), CORNERS)
    where = parts[parts > 0] - 1
    regions, right = (labels_to_regions(labels) > 0).numpy()[:, parts > 0], truth.numpy()[:, parts > 0]
    columns = [sizes, *(np.bincount(where[m], minlength=len(sizes)) for m in (*regions, *(regions & right)))]
    return np.stack(columns, axis=1).astype(int).tolist()
