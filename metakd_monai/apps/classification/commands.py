"""The functions that evaluate.json and inference.json of the classification bundles call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from metakd_monai.apps.classification.class_scores import predict, score_subsets, write_scores
from metakd_monai.data.spreadsheets import write_csv
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.vocabulary import check_modalities
from metakd_monai.weights.load import read_state

logger = logging.getLogger(__name__)


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load a state dict strictly; raises UserError when it is missing, damaged or of another network."""
    try:
        network.load_state_dict(read_state(Path(path)))
    except RuntimeError as error:
        reason = in_one_line(error)
        raise UserError(f"{path}: weights of another network found; expected those of this bundle ({reason})") from None


def evaluate(
    network: nn.Module,
    weights: str | Path,
    items: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    classes: Sequence[str],
    output: str | Path,
    device: torch.device | str = "cpu",
) -> list[dict[str, Any]]:
    """Score weights with every subset of the modalities; write and return the rows of the paper's Table 2.

    Args:
        network: of the weights.
        weights: a state dict.
        items: what to score.
        names: of the modalities, in the network's order.
        classes: names of the classes.
        output: the CSV file to write.
        device: where to compute.
    """
    load_weights(network, weights)
    rows = score_subsets(network, items, names, len(classes), device)
    write_scores(output, rows)
    for row in rows:
        logger.info(", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    return rows


def classify(
    network: nn.Module,
    weights: str | Path,
    items: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    classes: Sequence[str],
    output: str | Path,
    present: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Classify samples from their modalities; write a CSV of case, prediction, probabilities and modalities used.

    Args:
        network: of the weights.
        weights: a state dict.
        items: what to classify; those without any of the modalities to use are left out, with a warning.
        names: of the modalities, in the network's order.
        classes: names of the classes.
        output: the CSV file to write.
        present: modalities that may be used; None for all.
        device: where to compute.

    Raises:
        UserError: for an unknown modality, or when nothing is left to classify.
    """
    allowed = tuple(names) if present is None else tuple(present)
    check_modalities(allowed, names)
    used = [[n for n, there in zip(names, item["available"].tolist(), strict=True) if there] for item in items]
    used = [[name for name in mine if name in allowed] for mine in used]
    kept = [(item, mine) for item, mine in zip(items, used, strict=True) if mine]
    if len(kept) < len(items):
        logger.warning("%d samples left out: they have none of %s", len(items) - len(kept), ", ".join(allowed))
    if not kept:
        raise UserError(f"no sample has any of {', '.join(allowed)}; expected at least one")
    load_weights(network, weights)
    chances = predict(network, [item for item, _ in kept], names, allowed, device).softmax(1)
    lines = [["case", "prediction", *classes, "modalities"]]
    for (item, mine), row in zip(kept, chances, strict=True):
        values = [f"{value:.4f}" for value in row.tolist()]
        lines.append([item["case_id"], classes[int(row.argmax())], *values, "+".join(mine)])
    write_csv(Path(output), lines)
    logger.info("%d samples: %s", len(kept), output)
