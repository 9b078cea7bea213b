"""Choose the largest sliding window that memory allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from metakd_monai.data.memory_limit import BASE_BYTES, GIB, VOLUME_BYTES
from metakd_monai.errors import UserError

UNKNOWN_BYTES = 1024  # per voxel of a window, for a network without its own estimate
STEP = 16  # windows shrink in steps of a five-scale U-Net's stride, or of the network's if that is longer
SMALLEST = 32  # voxels along an axis


def bytes_per_voxel(network: Callable[..., Tensor]) -> float:
    """Return a network's own estimate of the memory per voxel of a window."""
    estimate: Callable[[], float] | None = getattr(network, "bytes_per_voxel", None)
    return UNKNOWN_BYTES if estimate is None else estimate()


def window_step(network: Callable[..., Tensor]) -> int:
    """Return the number that window lengths must be multiples of, so that the network pads nothing."""
    return math.lcm(STEP, int(getattr(network, "factor", 1)))


def choose_roi(
    box: Sequence[int], volume: Sequence[int], limit: float, per_voxel: float, step: int = STEP
) -> tuple[int, ...]:
    """Return the largest window of a box that keeps the process below a memory limit.

    It depends only on sizes, not on free memory, so that results are reproducible.

    Args:
        box: size of the brain's bounding box.
        volume: size of the whole volume.
        limit: GiB for the process.
        per_voxel: bytes per voxel of a window.
        step: see :func:`window_step`.

    Raises:
        UserError: if not even the smallest window fits.
    """
    fixed = BASE_BYTES + VOLUME_BYTES * math.prod(volume)
    voxels = (limit * GIB - fixed) / per_voxel
    roi = [max(step, step * math.ceil(length / step)) for length in box]
    while math.prod(roi) > voxels:
        smaller = shrink(roi, step)
        if smaller is None:
            needed = math.ceil(10 * (fixed + math.prod(roi) * per_voxel) / GIB) / 10  # rounded up, to be sufficient
            raise UserError(f"memory_limit: {limit:g} GiB found; expected at least {needed:.1f} GiB for this volume")
        roi = list(smaller)
    return tuple(roi)


def shrink(roi: Sequence[int], step: int = STEP) -> tuple[int, ...] | None:
    """Return a window one step shorter along its longest axis; None if it is already the smallest."""
    longest = max(range(len(roi)), key=lambda axis: roi[axis])
    smallest = max(SMALLEST, step)
    if roi[longest] <= smallest:
        return None
    length = max(smallest, step * math.ceil(roi[longest] / step) - step)
    return tuple(length if axis == longest else size for axis, size in enumerate(roi))
