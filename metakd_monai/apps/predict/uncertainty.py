"""Uncertainty of a mask, voxel by voxel: do other subsets of the given sequences agree?

The measure is the entropy of the mean probability of several predictions, averaged over ET, TC and WT, in bits: 0 where
all are certain and agree, 1 where every region has a mean probability of 0.5. The predictions are

- ``subsets``, for two or more sequences: one from every non-empty subset of them. Each sequence is encoded once, so
  they cost decodings alone. Where one sequence shows what the others do not, its absence would change the mask;
- ``mirroring``, for a single sequence, which has no other subset: one from the image, one from its left-right mirror
  image.

Source: the predictive entropy of an ensemble (Lakshminarayanan et al., 2017). Here one network predicts from
every subset of the sequences, as MetaKD trains it to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from metakd_monai.errors import UserError
from metakd_monai.inferers import ModalityInferer
from metakd_monai.inferers.subset_decoding import MeanProbability, masks_of_subsets
from metakd_monai.networks import SegmentationNetwork

SUBSETS, MIRRORING = "subsets", "mirroring"
LEFT_RIGHT = 2  # axis of (B, C, *S) in the working orientation
STEPS = 1024  # per bit; finer steps are noise that does not compress
Network = Callable[..., Tensor]


def choose_method(available: Sequence[bool]) -> str:
    """Return how uncertainty is measured from the given sequences."""
    return SUBSETS if sum(available) > 1 else MIRRORING


def describe_uncertainty(available: Sequence[bool]) -> dict[str, Any]:
    """Return how uncertainty is measured from the given sequences, for a report."""
    method = choose_method(available)
    return {
        "method": method,
        "opinions": 2 ** sum(available) - 1 if method == SUBSETS else 2,
        "measure": "entropy of the mean probability, mean of ET, TC and WT",
        "unit": "bit",
    }


def measure_uncertainty(
    inferer: ModalityInferer,
    network: Network,
    brain: Tensor,
    available: Tensor,
    logits: Tensor,
    volume: Sequence[int],
    method: str | None = None,
) -> Tensor:
    """Measure the uncertainty of a mask.

    Args:
        inferer: the mask was computed with it.
        network: likewise.
        brain: image in the brain's bounding box, ``(1, N, *box)``, first axis left-right.
        available: ``(1, N)`` bool.
        logits: those of the mask, ``(1, R, *box)``.
        volume: size of the whole volume, for the memory limit.
        method: ``"subsets"`` or ``"mirroring"``; None for that of :func:`choose_method`.

    Returns:
        ``(1, 1, *box)`` float32 from 0 to 1 bit, in steps of 1/1024.

    Raises:
        UserError: for an exported network, whose features cannot be shared.
    """
    if not isinstance(network, SegmentationNetwork):
        raise UserError("weights: exported ones found; expected weights such as model.pt for an uncertainty map")
    own = logits.sigmoid()
    if (method or choose_method(available[0].tolist())) == SUBSETS:
        masks = masks_of_subsets(available)[:-1]  # the last subset is the full set, whose logits are given
        others = inferer.infer_box(brain, MeanProbability(network, masks), available, volume)
        return entropy((others * len(masks) + own) / (len(masks) + 1))
    plain = copy(inferer)
    plain.mirror = "none"
    mirrored = plain.infer_box(brain.flip(LEFT_RIGHT), network, available, volume).flip(LEFT_RIGHT)
    return entropy((mirrored.sigmoid() + own) / 2)


def entropy(probability: Tensor) -> Tensor:
    """Return the binary entropy in bits of probabilities ``(B, R, *S)``, mean over regions, ``(B, 1, *S)``."""
    bits = torch.special.entr(probability) + torch.special.entr(1 - probability)  # in nats
    mean = bits.mean(dim=1, keepdim=True) / torch.log(torch.tensor(2.0))
    return (mean * STEPS).round().clamp_(0, STEPS) / STEPS
