"""All subsets of a case's sequences, each sequence encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metakd_monai.cases import Case
from metakd_monai.networks import MetaKDUNet
from metakd_monai.predict import THRESHOLD, Predictor
from metakd_monai.transforms import regions_to_labels
from metakd_monai.transforms.images import files_of
from metakd_monai.vocabulary import Modality, Region, UserError, modality_subsets

Subset = tuple[Modality, ...]


class SubsetPredictor:
    """A predictor that segments a case once for every subset of its sequences.

    The features of a window are computed once and decoded for each subset. Subsets whose brains fill different boxes
    (of images that were not masked alike) are windowed apart, so that each result is what the predictor gives when
    only that subset's files are there.

    Args:
        predictor: with its weights.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def probabilities(self, item: Mapping[str, Any]) -> Iterator[tuple[Subset, Tensor]]:
        """Yield subsets and the probabilities of ET, TC and WT, ``(R, *S)`` on the grid of ``item["image"]``.

        Args:
            item: what :meth:`~metakd_monai.predict.Predictor.read` returned.
        """
        device = self.predictor.device
        image = item["image"].as_tensor()[None].to(device)
        for subsets in self.group(image, item["available"]):
            union = mask_of({m for subset in subsets for m in subset}).to(device)
            masks = [mask_of(subset).to(device) for subset in subsets]
            with torch.inference_mode():
                network = partial(decode_all, self.predictor.network, masks)
                logits = self.predictor.inferer(image, network, union)[0]
                for subset, part in zip(subsets, logits.split(len(Region)), strict=True):
                    yield subset, part.sigmoid().cpu()

    def group(self, image: Tensor, available: Tensor) -> list[list[Subset]]:
        """Put subsets with the same box around the brain of an image ``(1, N, *S)`` together."""
        there = [m for m, present in zip(Modality, available.tolist(), strict=True) if present]
        boxes = {m: self.predictor.inferer.foreground(image, mask_of([m]).to(image.device)) for m in there}
        groups: dict[tuple[tuple[int, int], ...], list[Subset]] = {}
        for subset in modality_subsets(there):
            axes = zip(*(boxes[m] for m in subset), strict=True)
            box = tuple((min(part.start for part in axis), max(part.stop for part in axis)) for axis in axes)
            groups.setdefault(box, []).append(subset)
        return list(groups.values())

    def label_maps(self, item: Mapping[str, Any], et_label: int) -> dict[Subset, np.ndarray]:
        """Return the label map ``(*S)`` uint8 of each subset, in the paper's order."""
        maps = {
            subset: regions_to_labels(probabilities > THRESHOLD, et_label)[0].numpy()
            for subset, probabilities in self.probabilities(item)
        }
        return {subset: maps[subset] for subset in modality_subsets() if subset in maps}


def mask_of(subset: Sequence[Modality] | set[Modality]) -> Tensor:
    """Return which modalities a subset has, ``(1, N)`` bool."""
    return torch.tensor([[m in subset for m in Modality]])


def decode_all(network: MetaKDUNet, masks: Sequence[Tensor], x: Tensor, available: Tensor) -> Tensor:
    """Encode windows once and decode them for K subsets.

    Args:
        network: the network.
        masks: K masks of modalities, each ``(1, N)``.
        x: windows ``(W, N, *S)``.
        available: the modalities to encode, ``(1, N)``.

    Returns:
        Logits ``(W, K*R, *S)``, subset after subset.
    """
    features = network.encode(x, available.expand(len(x), -1))
    size = list(x.shape[2:])
    return torch.cat([network.decode(features, mask.expand(len(x), -1), None, size) for mask in masks], dim=1)


def name_subset(subset: Sequence[Modality]) -> str:
    """Name a subset, as ``flair+t1ce``."""
    return "+".join(m.value for m in subset)


def case_of(item: Mapping[str, Any]) -> Case:
    """Turn an entry of a datalist into a case; raises UserError for unrecognised files, or for its ``problem``."""
    if item.get("problem"):
        raise UserError(str(item["problem"]))
    image, label = item["image"], item.get("label")
    stack = isinstance(image, (str, Path)) and not Path(image).is_dir()
    return Case(str(item["case_id"]), Path(image) if stack else files_of(image), Path(label) if label else None)
