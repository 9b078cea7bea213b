"""Precision: 16-bit numbers where the device computes them faster, else 32-bit."""

from __future__ import annotations

import contextlib

import torch

from metakd_monai.errors import UserError

PRECISIONS = ("auto", "fp32", "bf16")
CPU_BF16 = ("avx512_bf16", "amx_bf16")  # without one of these a CPU emulates bf16, many times slower than fp32


def choose_precision(precision: str, device: torch.device) -> str:
    """Return ``"fp32"`` or ``"bf16"``; ``"auto"`` is bf16 if the device has it in hardware.

    Raises:
        UserError: for an unknown name.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision: {precision!r} found; expected one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision
    return "bf16" if has_bf16(device) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device computes bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch before 2.10 lacks it
    return any(capabilities.get(name, False) for name in CPU_BF16)


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return the autocast context of a precision."""
    if choose_precision(precision, device) == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
