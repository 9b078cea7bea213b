"""A prepared cohort as MONAI datalists, and encoders that fit it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from metakd_monai.apps.adni.prepare import FILE, MANIFEST, MODALITIES, PARTS
from metakd_monai.errors import UserError
from metakd_monai.networks import ConvEncoder, VectorEncoder


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read ``adni.json``; raises UserError when it is missing or damaged."""
    path = Path(folder) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a folder that `metakd adni-prepare` wrote") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: unreadable ({error}); expected what `metakd adni-prepare` wrote") from None
    return manifest


def read_cohort(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Read a prepared cohort.

    Returns:
        Items by part, ``training`` with its synthetic samples: each modality as a tensor (NaN if absent, so that
        reading it would show), ``label``, ``available`` ``(4,)`` bool, ``case_id``.

    Raises:
        UserError: when the folder is not what ``metakd adni-prepare`` wrote.
    """
    read_manifest(folder)
    path = Path(folder) / FILE
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        tensors = {name: torch.from_numpy(arrays[name]) for name in (*MODALITIES, "available")}
        labels = torch.from_numpy(arrays["label"].astype(np.int64))
        parts, ptids = arrays["part"].tolist(), arrays["ptid"].tolist()
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: unreadable ({error}); expected what `metakd adni-prepare` wrote") from None
    items: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    for n, (part, ptid) in enumerate(zip(parts, ptids, strict=True)):
        values = {name: tensor[n] for name, tensor in tensors.items()}
        items[PARTS[part]].append({**values, "label": labels[n], "case_id": ptid})
    return items


def make_encoders(
    folder: str | Path, features: int = 32, hidden: int = 32, dropout: float = 0.3
) -> dict[str, nn.Module]:
    """Make an encoder for each modality of a prepared cohort: fully connected for vectors, convolutions for maps.

    Args:
        folder: of the cohort.
        features: length C of all feature vectors.
        hidden: see :class:`~metakd_monai.networks.VectorEncoder`.
        dropout: in the encoders.
    """
    shapes = read_manifest(folder)["shapes"]
    encoders: dict[str, nn.Module] = {}
    for name in MODALITIES:
        shape = shapes[name]
        if len(shape) == 1:
            encoders[name] = VectorEncoder(shape[0], features, hidden, dropout)
        else:
            encoders[name] = ConvEncoder(shape[1:], (8, 16, 32), 3, features, dropout=dropout)
    return encoders
