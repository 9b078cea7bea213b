"""The sliding window of a network: that of its weights, unless the user chooses another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from metakd_monai.errors import UserError

WHOLE = "whole"  # the brain's bounding box, in one window
Window = Sequence[int] | int | str | None


def parse_window(window: Window) -> tuple[int, ...] | str | None:
    """Parse a window as given by a user.

    Args:
        window: ``"160,160,80"``, ``[160, 160, 80]`` or one length for all axes; ``"whole"`` (or MONAI's -1) for the
            whole box; None for the window of the weights.

    Returns:
        Three lengths in voxels, :data:`WHOLE`, or None.

    Raises:
        UserError: for anything else.
    """
    if window is None or window == WHOLE or window == -1:
        return None if window is None else WHOLE
    parts = window.replace("x", ",").split(",") if isinstance(window, str) else window
    try:
        lengths = [int(part) for part in parts] if isinstance(parts, Sequence) else [int(parts)] * 3
        if not isinstance(window, str) and lengths != list(parts if isinstance(parts, Sequence) else [parts] * 3):
            lengths = []  # not integers
    except (TypeError, ValueError):
        lengths = []
    if len(lengths) != 3 or min(lengths) < 1:
        raise UserError(f"window: {window!r} found; expected three numbers of voxels such as 160,160,80, or {WHOLE}")
    return tuple(lengths)


def window_of(network: Callable[..., Tensor]) -> tuple[int, ...] | str:
    """Return the window of a network's weights; the whole box if they have none."""
    window = getattr(network, "window", None)
    return WHOLE if window is None else tuple(window)


def fit_window(window: tuple[int, ...] | str, box: Sequence[int]) -> tuple[int, ...]:
    """Return a window clipped to the size of a box."""
    lengths = box if isinstance(window, str) else window
    return tuple(min(length, longest) for length, longest in zip(lengths, box, strict=True))
