"""Instance norm that is fast for one volume on a CPU."""

from typing import Any

import torch
from monai.networks.layers import Norm
from torch import Tensor, nn
from torch.nn import functional

VOLUME_NORM = "volume"  # MONAI's name for it: norm=("volume", {"affine": True})


def norm_volume(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, inplace: bool = False) -> Tensor:
    """Instance norm of ``(B, C, *S)``; for one volume on a CPU through batch norm, which is then the same.

    PyTorch's batch norm reads channels-last volumes as they lie, its instance norm copies them. With ``inplace``, and
    where no gradient is asked for, the result takes the place of x: new memory costs as much time as the norm itself.
    """
    if x.shape[0] != 1 or x.device != torch.device("cpu"):
        return functional.instance_norm(x, None, None, weight, bias, True, 0.0, eps)
    if torch.jit.is_scripting() or not inplace or torch.is_grad_enabled() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
        return functional.batch_norm(x, None, None, weight, bias, True, 0.0, eps)
    statistics = torch.empty(2, x.shape[1], device=x.device)
    torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps, out=(x, *statistics))
    return x


class VolumeNorm2d(nn.InstanceNorm2d):
    """Instance norm of images, :func:`norm_volume`; arguments of InstanceNorm2d, and ``inplace``."""

    def __init__(self, num_features: int, *args: Any, inplace: bool = False, **kwargs: Any) -> None:
        super().__init__(num_features, *args, **kwargs)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` with mean 0 and variance 1 in each channel, then scaled and shifted."""
        return norm_volume(x, self.weight, self.bias, self.eps, self.inplace)


class VolumeNorm3d(nn.InstanceNorm3d):
    """Instance norm of volumes, :func:`norm_volume`; arguments of InstanceNorm3d, and ``inplace``."""

    def __init__(self, num_features: int, *args: Any, inplace: bool = False, **kwargs: Any) -> None:
        super().__init__(num_features, *args, **kwargs)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, D, H, W)`` with mean 0 and variance 1 in each channel, then scaled and shifted."""
        return norm_volume(x, self.weight, self.bias, self.eps, self.inplace)


@Norm.factory_function(VOLUME_NORM)
def volume_norm_factory(dim: int) -> type[nn.Module]:
    """Tell MONAI's layer factory which class to build for 2 or 3 spatial dimensions."""
    return {2: VolumeNorm2d, 3: VolumeNorm3d}[dim]
