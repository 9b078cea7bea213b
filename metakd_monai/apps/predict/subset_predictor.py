"""All subsets of a case's sequences, each sequence encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metakd_monai.apps.predict.predictor import Predictor, to_volume
from metakd_monai.data.cases import Case
from metakd_monai.errors import UserError
from metakd_monai.inferers import autocast, inside, paste
from metakd_monai.inferers.subset_decoding import DecodeAll, mask_of
from metakd_monai.networks import SegmentationNetwork
from metakd_monai.transforms import regions_to_labels
from metakd_monai.transforms.images import files_of
from metakd_monai.vocabulary import Modality, Region, modality_subsets

Subset = tuple[Modality, ...]


class SubsetPredictor:
    """A predictor that segments a case once for every subset of its sequences.

    The features of a window are computed once and decoded for each subset. Subsets with different bounding boxes
    of the brain (of images that were not masked alike) are computed separately, so that each result is what the
    predictor returns when only that subset's files are given.

    Args:
        predictor: with its weights.

    Raises:
        UserError: for an exported network, whose encoder cannot be run separately.
    """

    def __init__(self, predictor: Predictor) -> None:
        if not isinstance(predictor.network, SegmentationNetwork):
            raise UserError(f"weights: {predictor.weights} is exported; expected weights such as model.pt")
        self.predictor, self.network = predictor, predictor.network

    def logits(self, item: Mapping[str, Any]) -> Iterator[tuple[Subset, Tensor]]:
        """Yield subsets and the logits of ET, TC and WT, ``(R, *box)`` on the grid of ``item["image"]``.

        Args:
            item: what :meth:`~metakd_monai.apps.predict.predictor.Predictor.read` returned.
        """
        image = item["image"].as_tensor()[None].to(self.predictor.device)
        for subsets in self.group(image, item["available"]):
            union = mask_of({m for subset in subsets for m in subset}).to(image.device)
            box = self.predictor.inferer.foreground(image, union)
            parts = self.decode_box(image[inside(box)], subsets, union, item["size"])
            for subset, part in zip(subsets, parts, strict=True):
                yield subset, paste(part.cpu(), box, image.shape[2:])[0]

    def decode_box(
        self, brain: Tensor, subsets: Sequence[Subset], union: Tensor, volume: Sequence[int]
    ) -> Iterator[Tensor]:
        """Yield each subset's logits ``(1, R, *box)`` in a box ``(1, N, *box)``; of a single window, one by one."""
        network, inferer = self.network, self.predictor.inferer
        together = DecodeAll(network, [mask_of(subset).to(brain.device) for subset in subsets])
        if not inferer.is_one_pass(brain, network, volume):
            with torch.inference_mode():
                found = inferer.infer_box(brain, together, union, volume)
            yield from found.split(len(Region), dim=1)
            return
        with torch.inference_mode(), autocast(inferer.precision, brain.device):
            features = network.encode(brain, union)
        for mask in together.masks:
            with torch.inference_mode(), autocast(inferer.precision, brain.device):
                part = network.decode(features, mask, None, list(brain.shape[2:]), union).float()
            yield part

    def group(self, image: Tensor, available: Tensor) -> list[list[Subset]]:
        """Group subsets with the same bounding box of the brain in an image ``(1, N, *S)``."""
        there = [m for m, present in zip(Modality, available.tolist(), strict=True) if present]
        boxes = {m: self.predictor.inferer.foreground(image, mask_of([m]).to(image.device)) for m in there}
        groups: dict[tuple[tuple[int, int], ...], list[Subset]] = {}
        for subset in modality_subsets(there):
            axes = zip(*(boxes[m] for m in subset), strict=True)
            box = tuple((min(part.start for part in axis), max(part.stop for part in axis)) for axis in axes)
            groups.setdefault(box, []).append(subset)
        return list(groups.values())

    def label_maps(self, item: Mapping[str, Any], et_label: int) -> dict[Subset, np.ndarray]:
        """Return the label map of the whole volume ``(*S)`` uint8 for each subset, in the paper's order."""
        maps = {
            subset: to_volume(regions_to_labels(logits > 0, et_label), item)[0].numpy()
            for subset, logits in self.logits(item)
        }
        return {subset: maps[subset] for subset in modality_subsets() if subset in maps}


def case_of(item: Mapping[str, Any]) -> Case:
    """Turn an entry of a datalist into a case; raises UserError for unrecognised files, or for its ``problem``."""
    if item.get("problem"):
        raise UserError(str(item["problem"]))
    image, label = item["image"], item.get("label")
    stack = isinstance(image, (str, Path)) and not Path(image).is_dir()
    return Case(str(item["case_id"]), Path(image) if stack else files_of(image), Path(label) if label else None)
