"""Check a network's arguments, and infer them from a state dict."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

SHORTEST, LONGEST = 8, 2048  # of a window's lengths; exact as 16-bit floats
WINDOW = "voxels_of_window"  # key in the state dict


def check_arguments(
    spatial_dims: int, channels: Sequence[int], input_stride: int, modality_specific_scales: int
) -> None:
    """Raise ValueError for invalid arguments of a network."""
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}.")
    if len(channels) < 2:
        raise ValueError(f"channels must name at least two scales, got {tuple(channels)!r}.")
    if input_stride < 1:
        raise ValueError(f"input_stride must be 1 or more, got {input_stride!r}.")
    if not 0 <= modality_specific_scales < len(channels):
        raise ValueError(
            f"modality_specific_scales must be 0 or more, and less than {len(channels)} scales,"
            f" got {modality_specific_scales!r}."
        )


def check_window(window: Sequence[float] | Tensor | None) -> tuple[int, int, int] | None:
    """Return the window of weights as integers; raises ValueError unless it is three lengths of 8 to 2048 voxels."""
    if window is None:
        return None
    lengths = window.flatten().tolist() if isinstance(window, Tensor) else list(window)
    if len(lengths) != 3 or not all(SHORTEST <= length <= LONGEST for length in lengths):
        raise ValueError(f"window must be three lengths of {SHORTEST} to {LONGEST} voxels, got {lengths}.")
    x, y, z = (round(length) for length in lengths)
    return x, y, z


def take_window(network: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Set a network's window to that of the weights being loaded; raises ValueError for an invalid one."""
    network.set_window(check_window(state.get(f"{prefix}{WINDOW}")))


def refuse_other_weights(network: nn.Module, keys: Any) -> None:
    """Refuse weights of another network whatever loads them; MONAI Label loads with ``strict=False``.

    Raises:
        RuntimeError: for missing keys, unexpected keys, or weights for another input_stride.
    """
    found_stride = int(getattr(network, "input_stride", 1))
    if found_stride != network.pooling:
        raise RuntimeError(f"found an input_stride of {found_stride}; expected {network.pooling}")
    refuse_other_keys(network, keys)


def refuse_other_keys(network: nn.Module, keys: Any) -> None:
    """Raise RuntimeError for missing or unexpected keys."""
    if keys.missing_keys or keys.unexpected_keys:
        found = [*(f"no {key}" for key in keys.missing_keys), *(f"an unknown {key}" for key in keys.unexpected_keys)]
        rest = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise RuntimeError(f"found {', '.join(found[:3])}{rest}; expected the weights of this {type(network).__name__}")


def infer_architecture(state: dict[str, Tensor]) -> dict[str, object]:
    """Infer a MetaKDUNet's arguments, except the norm, from a state dict: its shapes, input_stride and window.

    Raises:
        ValueError: when it is not a state dict of a MetaKDUNet.
    """
    own, shared = count_widths(state, "own.0"), count_widths(state, "encoder")
    widths = own + shared
    head = state.get("heads.0.conv.weight")
    fusion = state.get("fusion.0.conv.weight")
    if head is None or fusion is None or len(widths) < 2:
        raise ValueError("not a state dict of a MetaKDUNet (expected keys such as 'encoder.0.conv1.conv.weight')")
    return {
        "spatial_dims": head.dim() - 2,
        "in_channels": math.floor(fusion.shape[1] / widths[0]),
        "out_channels": head.shape[0],
        "channels": tuple(widths),
        "deep_supervision": "heads.1.conv.weight" in state,
        "input_stride": int(state.get("input_stride", torch.tensor(1))),
        "modality_specific_scales": len(own),
        "window": check_window(state.get(WINDOW)),
    }


def count_widths(state: dict[str, Tensor], name: str) -> list[int]:
    """Return the widths of an encoder's blocks, from a state dict."""
    widths: list[int] = []
    while (weight := state.get(f"{name}.{len(widths)}.conv1.conv.weight")) is not None:
        widths.append(weight.shape[0])
    return widths
