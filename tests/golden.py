"""The golden case: a simulated brain, and the masks that the shipped weights make of it."""

import base64
import zlib
from pathlib import Path

import numpy as np
import torch
from conftest import BUNDLE
from monai.transforms import NormalizeIntensity

from metakd_monai.inferers import ModalityInferer
from metakd_monai.simulation import load_anatomies, simulate
from metakd_monai.transforms import labels_to_regions, regions_to_labels
from metakd_monai.weights import load_network

FILE = Path(__file__).with_name("golden.json")
SEED, SPACING = 2026, 2.0
SUBSETS = {"flair+t1+t1ce+t2": [True] * 4, "flair": [True, False, False, False], "t1ce": [False, False, True, False]}
LEAST_DICE = 0.999  # other CPUs round otherwise, at the border of a mask


def golden_masks() -> dict[str, dict[str, object]]:
    """Segment the golden case in fp32 with one thread; return the label map of each subset, packed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        images, _ = simulate(SEED, load_anatomies(SPACING, brains=1), SPACING)
        image = torch.as_tensor(NormalizeIntensity(nonzero=True, channel_wise=True)(images))[None].float()
        network, inferer = load_network(BUNDLE / "models" / "model.pt"), ModalityInferer(mode="gaussian")
        with torch.inference_mode():
            logits = {name: inferer(image, network, torch.tensor([there])) for name, there in SUBSETS.items()}
        return {name: pack(regions_to_labels(found[0] > 0, 4)[0].numpy()) for name, found in logits.items()}
    finally:
        torch.set_num_threads(threads)


def pack(labels: np.ndarray) -> dict[str, object]:
    """Return a label map ``(*S)`` as JSON."""
    data = base64.b85encode(zlib.compress(labels.astype(np.uint8).tobytes(), 9)).decode()
    return {"shape": list(labels.shape), "voxels": np.bincount(labels.ravel(), minlength=5).tolist(), "labels": data}


def unpack(packed: dict[str, object]) -> np.ndarray:
    """Return a label map ``(*S)`` of what :func:`pack` made."""
    data = zlib.decompress(base64.b85decode(str(packed["labels"])))
    return np.frombuffer(data, np.uint8).reshape(packed["shape"])


def least_dice(found: dict[str, object], known: dict[str, object]) -> float:
    """Return the lowest Dice of ET, TC and WT between two packed label maps; 0 for other shapes."""
    if found["shape"] != known["shape"]:
        return 0.0
    one, other = (labels_to_regions(torch.tensor(unpack(packed))[None]).bool() for packed in (found, known))
    both, sizes = (one & other).sum((1, 2, 3)), one.sum((1, 2, 3)) + other.sum((1, 2, 3))
    return float(torch.where(sizes > 0, 2 * both / sizes.clamp(min=1), 1.0).min())


def agrees(found: dict[str, dict[str, object]], known: dict[str, dict[str, object]]) -> bool:
    """Tell whether two sets of masks are the same up to rounding."""
    return found.keys() == known.keys() and all(least_dice(found[n], known[n]) >= LEAST_DICE for n in found)
