"""The four scores of the paper's Table 2, and networks scored with every set of modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metakd_monai.apps.classification.batches import BatchLoader, PrepareModalities
from metakd_monai.data.spreadsheets import write_csv
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import subsets_of

SCORES = ("accuracy", "f1", "balanced_accuracy", "micro_f1")


def score(labels: Sequence[int] | Tensor, predictions: Sequence[int] | Tensor, classes: int) -> dict[str, float]:
    """Score predicted classes as Table 2 does, in percent.

    Every sample has one class, so micro-F1 *is* accuracy; the paper's table gives the two different values.

    Args:
        labels: ``(B,)``.
        predictions: ``(B,)``.
        classes: number of classes; one without samples and predictions counts 0 for macro-F1.

    Returns:
        ``accuracy``, ``f1`` (macro), ``balanced_accuracy`` (mean recall of the classes that occur), ``micro_f1``.

    Raises:
        UserError: for a sample without a class (a label below 0).
    """
    unknown = int((torch.as_tensor(labels) < 0).sum())
    if unknown:
        raise UserError(f"{unknown} samples without a class found; expected one for each sample that is scored")
    table = torch.zeros(classes, classes, dtype=torch.float64)  # truth, prediction
    pairs = torch.as_tensor(labels).long() * classes + torch.as_tensor(predictions).long()
    table = torch.bincount(pairs, minlength=classes**2).double().view_as(table)
    hits, truth, found = table.diag(), table.sum(1), table.sum(0)
    accuracy = 100 * hits.sum() / table.sum()
    f1 = 100 * (2 * hits / (truth + found).clamp(min=1)).mean()
    recall = 100 * (hits / truth.clamp(min=1))[truth > 0].mean()
    return dict(zip(SCORES, map(float, (accuracy, f1, recall, accuracy)), strict=True))


@torch.no_grad()
def predict(
    network: nn.Module,
    items: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    present: Iterable[str] | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return logits ``(B, classes)`` of items, using only the given modalities.

    Args:
        network: see :class:`~metakd_monai.networks.MetaKDClassifier`; it is left in evaluation mode.
        items: a datalist with ``available``.
        names: of the modalities, in the network's order.
        present: modalities that may be used; None for what each item has.
        device: where the network is.
    """
    allowed = torch.tensor([present is None or name in set(present) for name in names])
    prepare, logits = PrepareModalities(names), []
    network.eval()
    for batch in BatchLoader(items, 256, endless=False, shuffle=False):
        x, _, (available,), _ = prepare(batch, device)
        logits.append(network(x, available & allowed.to(available.device)).cpu())
    return torch.cat(logits)


def score_subsets(
    network: nn.Module,
    items: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    classes: int,
    device: torch.device | str = "cpu",
) -> list[dict[str, Any]]:
    """Score a network with every subset of the modalities, each on the items that have all of it.

    Returns:
        A row for each subset: ``modalities`` (``"C+G"``), ``samples`` and the four scores in percent, NaN without
        samples; the last row holds means over the subsets.

    Raises:
        UserError: when there is no item.
    """
    if not items:
        raise UserError("no samples to score: the list is empty; expected at least one")
    rows: list[dict[str, Any]] = []
    for subset in subsets_of(names):
        wanted = torch.tensor([name in subset for name in names])
        fitting = [item for item in items if bool(item["available"][wanted].all())]
        row: dict[str, Any] = {"modalities": "+".join(subset), "samples": len(fitting)}
        if fitting:
            predictions = predict(network, fitting, names, subset, device).argmax(1)
            row |= score([int(item["label"]) for item in fitting], predictions, classes)
        else:
            row |= dict.fromkeys(SCORES, float("nan"))
        rows.append(row)
    means = {name: torch.tensor([row[name] for row in rows]).nanmean().item() for name in SCORES}
    return [*rows, {"modalities": "mean", "samples": len(items), **means}]


def write_scores(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of scores as CSV, numbers with two decimals."""
    lines = [[f"{value:.2f}" if isinstance(value, float) else value for value in row.values()] for row in rows]
    write_csv(Path(path), [list(rows[0]), *lines])
