"""How many floating-point operations a network needs."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from metakd_monai.networks.segmentation_network import SegmentationNetwork

SIZE = (64, 32, 32)  # voxels of the volume used for counting, at a stride of 1
VOXELS = 128**3  # of the volume that is reported


def count_operations(network: SegmentationNetwork, modalities: int) -> float:
    """Return TFLOP of one pass over 128x128x128 voxels with the first ``modalities`` of four.

    A multiply-add counts as two operations. The count is made on a smaller volume and scaled up, as is right for
    convolutions. Attention itself is not counted, but the linear layers around it are.

    Args:
        network: in evaluation mode.
        modalities: how many are present.
    """
    size = [length * network.pooling for length in SIZE]
    image = torch.zeros(1, 4, *size, device=next(network.parameters()).device)
    available = torch.arange(4, device=image.device)[None] < modalities
    with FlopCounterMode(display=False) as counter:  # with gradients; otherwise transformers run as one uncounted step
        network(image, available)
    return counter.get_total_flops() * VOXELS / image[0, 0].numel() / 1e12
