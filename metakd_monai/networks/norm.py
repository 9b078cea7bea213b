"""Instance norm that is fast for one volume on a CPU."""

from typing import Any

import torch
from monai.networks.layers import Norm
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

VOLUME_NORM = "volume"  # MONAI's name for it: norm=("volume", {"affine": True})
STEPWISE_NORM = "stepwise"
FEW = 1024  # up to this many voxels PyTorch's fp32 sum is accurate
FOLD = 32  # voxels folded into the channels
SLAB = 1 << 17  # numbers in a chunk: half a megabyte in fp32


def norm_volume(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, inplace: bool = False) -> Tensor:
    """Instance norm of ``(B, C, *S)``; for one volume on a CPU through batch norm, which is then the same.

    PyTorch's batch norm reads channels-last volumes in place, while its instance norm copies them. But it sums the
    voxels of such a volume one by one in fp32: values of standard deviation 1 are wrong by up to 0.02 at 144x176x144.
    So mean and variance are passed to it (:func:`find_statistics`), with gradients too (:class:`ExactNorm`). With
    ``inplace``, if no gradient is needed, the result overwrites x: new memory costs as much time as the norm itself.
    """
    if x.shape[0] != 1 or x.device != torch.device("cpu"):
        return functional.instance_norm(x, None, None, weight, bias, True, 0.0, eps)
    if torch.jit.is_scripting() or torch.compiler.is_compiling():
        return norm_in_graph(x, weight, bias, eps)
    return norm_exactly(x, weight, bias, eps, inplace)


def norm_in_graph(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Instance norm of one volume in operations that TorchScript and exports have; exact without gradients."""
    if torch.is_grad_enabled() or x.dtype != torch.float32:
        return functional.batch_norm(x, None, None, weight, bias, True, 0.0, eps)
    axes = [2, 3, 4][: x.dim() - 2]
    mean = x.mean(axes)[0]
    variance = ((x * x).mean(axes)[0] - mean * mean).clamp(min=0)
    return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)


@torch.jit.unused
def norm_exactly(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, inplace: bool) -> Tensor:
    """Instance norm of one volume on a CPU, exact and differentiable."""
    if torch.is_grad_enabled() and (x.is_contiguous() or x[0, 0].numel() <= FEW):  # summed in float64, or few voxels
        return functional.batch_norm(x, None, None, weight, bias, True, 0.0, eps)
    if torch.is_grad_enabled():
        plain = x.as_subclass(Tensor)  # a MetaTensor would return a view, which cannot be changed in place
        normed: Tensor = ExactNorm.apply(plain, weight, bias, eps)
        return normed
    mean, variance = find_statistics(x)
    return put_norm(x if inplace else torch.empty_like(x), x, mean, variance, weight, bias, eps)


class ExactNorm(torch.autograd.Function):
    """Instance norm of one volume ``(1, C, *S)``; sums over voxels are taken in small chunks (:func:`slabs_of`)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        """Return the norm, ``(1, C, *S)``."""
        mean, variance = find_statistics(x)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        return put_norm(torch.empty_like(x), x, mean, variance, weight, bias, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        """Return the gradients of x, ``scale * (g - mean(g) - normed * mean(g * normed))``, weight and bias."""
        x, weight, mean, rate = ctx.saved_tensors
        if gradient.stride() != x.stride():
            gradient = torch.empty_like(x).copy_(gradient)
        with_normed, plain = add_up(gradient, x, mean, rate)
        size = x[0, 0].numel()
        scale = rate.double() if weight is None else rate.double() * weight
        slope = -scale * rate * with_normed / size
        shift = -scale * plain / size - slope * mean
        found = torch.empty_like(x)
        put_norm(found, gradient, torch.zeros_like(rate), torch.ones_like(rate), scale.to(rate), shift.to(rate), 0.0)
        for part, values in zip(slabs_of(found), slabs_of(x), strict=True):  # in bf16 six times as fast as one addcmul_
            part.addcmul_(values, slope.to(x).repeat(part.shape[1] // len(slope)).reshape(1, -1, 1, 1))
        _, for_weight, for_bias, _ = ctx.needs_input_grad
        return found, with_normed.to(rate) if for_weight else None, plain.to(rate) if for_bias else None, None


def find_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of one volume ``(1, C, *S)``, both ``(C,)`` fp32, accurate to 1e-6.

    Those of chunks are combined in float64 (Chan, Golub and LeVeque 1983).
    """
    shares, means, variances = [], [], []
    for slab in slabs_of(x):
        start = torch.zeros(slab.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))  # fp32 for bf16
        mean, variance = torch.batch_norm_update_stats(slab, start, start, 0.0)
        means.append(mean.double().reshape(-1, x.shape[1]))
        variances.append(variance.double().reshape(-1, x.shape[1]))
        shares += [slab.shape[3] / x[0, 0].numel()] * len(means[-1])
    share, means_of_slabs = torch.tensor(shares, dtype=torch.float64)[:, None], torch.cat(means)
    mean = (share * means_of_slabs).sum(0)
    variance = (share * (torch.cat(variances) + (means_of_slabs - mean).square())).sum(0)
    return mean.to(start), variance.to(start)


def add_up(gradient: Tensor, x: Tensor, mean: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over voxels of ``gradient * (x - mean) * rate`` and of ``gradient``, both ``(C,)`` in float64."""
    sums = []
    for part, values in zip(slabs_of(gradient), slabs_of(x), strict=True):
        known = [row.repeat(values.shape[1] // len(row)) for row in (rate, mean, rate, mean, rate)]
        found = torch.ops.aten.native_batch_norm_backward(part, values, *known, True, 0.0, [False, True, True])
        sums.append(torch.stack([row.double().reshape(-1, len(mean)).sum(0) for row in found[1:]]))
    with_normed, plain = torch.stack(sums).sum(0)
    return with_normed, plain


def slabs_of(x: Tensor) -> list[Tensor]:
    """View one volume ``(1, C, *S)`` as chunks ``(1, K * C, 1, n)`` that fit the cache and are summed accurately.

    A contiguous volume is one chunk, which PyTorch sums in float64. Else K voxels count as one with K * C channels, so
    that each fp32 sum is over at most n = 512 numbers; the last voxels, fewer than K, form a chunk of their own.
    """
    if x.is_contiguous():
        return [x.flatten(2).unsqueeze(2)]
    voxels = x.flatten(2)[0].t()  # (voxels, C), in memory order
    whole = len(voxels) // FOLD * FOLD
    parts = [*voxels[:whole].reshape(-1, FOLD * x.shape[1]).split(max(1, SLAB // (FOLD * x.shape[1]))), voxels[whole:]]
    return [part.reshape(1, 1, *part.shape).permute(0, 3, 1, 2) for part in parts if len(part)]


def put_norm(
    out: Tensor, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Write the norm of ``(1, C, *S)`` with given mean and variance, ``(C,)``, to ``out``, which may be x."""
    no_statistics = torch.empty(2, 0, dtype=mean.dtype)
    torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, out=(out, *no_statistics))
    return out


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


class StepwiseNorm3d(nn.InstanceNorm3d):
    """Instance norm in basic operations, with means taken axis by axis.

    ONNX Runtime's own instance norm sums all voxels of a volume one by one, in fp32: at 144x176x144 its error is up to
    0.007 (for values with a standard deviation of 1), this one's 1e-6.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, D, H, W)`` with mean 0 and variance 1 in each channel, then scaled and shifted."""
        centred = x - mean_by_axis(x)
        scale = torch.rsqrt(mean_by_axis(centred * centred) + self.eps) * self.weight.reshape(1, -1, 1, 1, 1)
        return centred * scale + self.bias.reshape(1, -1, 1, 1, 1)


def mean_by_axis(x: Tensor) -> Tensor:
    """Return the means of ``(B, C, D, H, W)`` over space, ``(B, C, 1, 1, 1)``."""
    return x.mean(4, keepdim=True).mean(3, keepdim=True).mean(2, keepdim=True)


@Norm.factory_function(STEPWISE_NORM)
def stepwise_norm_factory(dim: int) -> type[nn.Module]:
    """Tell MONAI's layer factory which class to build."""
    return {3: StepwiseNorm3d}[dim]
