"""U-HVED's features at a scale: a Gaussian for each modality, their product, and the divergence of products."""

from itertools import combinations

import torch
from torch import Tensor

from metakd_monai.equations import spread


def fuse_gaussians(features: Tensor, available: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the Gaussians of the available modalities with a standard normal.

    Args:
        features: means and log-variances, ``(B, N, 2C, *S)``; the latter are clipped to +-50, and 1e-7 is added to
            variances, so that all numbers are finite.
        available: ``(B, N)`` bool.

    Returns:
        Mean and variance of the product, each ``(B, C, *S)``.
    """
    mean, log_variance = features.chunk(2, dim=2)
    there = spread(available, mean).to(mean)
    precision = there / (log_variance.clamp(-50.0, 50.0).exp() + 1e-7)
    total = 1 + precision.sum(dim=1)
    return (mean * precision).sum(dim=1) / total, 1 / total


def divergence(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean Kullback-Leibler divergence of Gaussians (mean, variance) from others."""
    (mean, variance), (mean_there, variance_there) = one, other
    ratio = variance / variance_there
    return 0.5 * (ratio - 1 - ratio.log() + (mean - mean_there).square() / variance_there).mean()


def subset_divergence(features: Tensor, available: Tensor, every: Tensor) -> Tensor:
    """Return the divergence of the drawn subset from other subsets, and of these from the prior.

    For S non-empty subsets of a sample's modalities: the sum of the drawn subset's divergences from each, divided by
    S - 1 (from itself it is 0), and the mean of their divergences from a standard normal; mean over samples.

    Args:
        features: see :func:`fuse_gaussians`.
        available: the drawn subsets, ``(B, N)`` bool.
        every: the encoded modalities, ``(B, N)`` bool.
    """
    losses = []
    for b, row in enumerate(every.tolist()):
        there = [n for n, present in enumerate(row) if present]
        subsets = [subset for size in range(1, len(there) + 1) for subset in combinations(there, size)]
        drawn = fuse_gaussians(features[b : b + 1], available[b : b + 1])
        nothing = torch.zeros_like(drawn[0]), torch.ones_like(drawn[1])
        for subset in subsets:
            mask = torch.zeros_like(every[:1])
            mask[:, list(subset)] = True
            told = fuse_gaussians(features[b : b + 1], mask)
            losses.append(divergence(drawn, told) / max(1, len(subsets) - 1) + divergence(told, nothing) / len(subsets))
    return torch.stack(losses).sum() / len(every)
