"""The paper on one page: every equation as a pure function of tensors.

========================== ==================================================================
equation                   function
========================== ==================================================================
(2) missing features       :func:`fill_missing`
(4) upper: weighted fusion  :func:`weight_by_importance`
(2) and (4) as one matrix  :func:`filling_matrix`
(4) lower: w_i / w_j       :func:`importance_ratio`, summed up in :func:`distillation`
LCKD's teachers            :func:`teacher_matrix`, in place of w_i / w_j in :func:`sum_distances`
(5) pairwise distance      :func:`feature_distance`
(6) normalised importance  :func:`normalize_importance`
Fig. 6                     :func:`fill_error`
========================== ==================================================================

Letters: B batch, N modalities, C features, ``*S`` spatial axes (none, for classification).
Equations (1) and (3) are the network's ``encode`` and ``decode``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

SMALLEST = 1e-6  # keeps w_i / w_j finite where an importance underflows
RELU_FLOOR = 0.05  # of the largest: with ReLU, w_i / w_j is at most 20


def fill_missing(features: Tensor, available: Tensor) -> Tensor:
    """Give each absent modality the mean feature of the present ones, Eq. (2).

    Args:
        features: features of each modality, ``(B, N, C, *S)``; whatever stands at absent ones is never read.
        available: True where a modality is present, ``(B, N)``; at least one per row.

    Returns:
        Features of the same shape; those of present modalities are untouched.
    """
    present = spread(available, features)
    total = torch.where(present, features, torch.zeros_like(features)).sum(dim=1, keepdim=True)
    mean = total / present.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(present, features, mean)


def weight_by_importance(features: Tensor, importance: Tensor) -> Tensor:
    """Multiply each modality's features by its importance, the ``w_i x f_i`` of Eq. (4), upper problem.

    Args:
        features: ``(B, N, C, *S)``.
        importance: normalised importance, ``(N,)``.

    Returns:
        Weighted features, ``(B, N, C, *S)``.
    """
    return features * spread(importance.unsqueeze(0), features)


def filling_matrix(available: Tensor, importance: Tensor | None = None) -> Tensor:
    """Write Eq. (2), and the weighing of Eq. (4) if asked, as a matrix over modalities.

    ``weight_by_importance(fill_missing(f, available), importance)[b, m]`` is the sum over the present modalities n of
    ``matrix[b, m, n] * f[b, n]``: linear layers can be applied to present modalities alone.

    Args:
        available: ``(B, N)`` bool; at least one per row.
        importance: normalised importance, ``(N,)``.

    Returns:
        ``(B, N, N)`` float32; column n is zero where modality n is absent.
    """
    present = available.float()
    mean = present / present.sum(dim=1, keepdim=True).clamp(min=1)  # (B, N)
    matrix = torch.where(available[:, :, None], torch.diag_embed(present), mean[:, None, :])
    return matrix if importance is None else matrix * importance[:, None]


def importance_ratio(importance: Tensor) -> Tensor:
    """How much each teacher's knowledge counts for each student, the ``w_i / w_j`` of Eq. (4).

    Args:
        importance: normalised importance, ``(N,)``.

    Returns:
        ``(N, N)``; row i is the teacher, column j the student.
    """
    safe = importance.clamp(min=SMALLEST)
    return safe[:, None] / safe[None, :]


def teacher_matrix(teachers: Tensor) -> Tensor:
    """How much each teacher's knowledge counts for each student where teachers are elected, as in LCKD.

    Args:
        teachers: 1 for a modality that teaches, else 0, ``(N,)``.

    Returns:
        ``(N, N)``; row i is the teacher, column j the student.
    """
    return teachers[:, None].expand(-1, len(teachers))


def feature_distance(features: Tensor, available: Tensor, p: int = 1) -> Tensor:
    """Distance between the features of each ordered pair of present modalities, Eq. (5).

    The norm is averaged over elements, so that alpha means the same for every feature size: the mean absolute
    difference for ``p=1``, the mean squared difference for ``p=2`` (the paper's "MSE loss").

    Args:
        features: ``(B, N, C, *S)``.
        available: ``(B, N)`` bool; a pair with an absent modality has distance 0 and no gradient.
        p: 1 or 2.

    Returns:
        ``(B, N, N)``; ``[b, i, j]`` is the distance from teacher i, which gets no gradient, to student j.

    Raises:
        ValueError: for another ``p``.
    """
    if p not in (1, 2):
        raise ValueError(f"p must be 1 or 2, got {p!r}.")
    clean = torch.where(spread(available, features), features, torch.zeros_like(features)).flatten(2)  # (B, N, C*S)
    gap = clean.detach()[:, :, None] - clean[:, None, :]  # (B, N, N, C*S): teacher i, student j
    distance = gap.abs().mean(-1) if p == 1 else gap.square().mean(-1)
    both = available[:, :, None] & available[:, None, :]  # the two deltas of Eq. (5)
    return torch.where(both, distance, torch.zeros_like(distance))


def sum_distances(features: Tensor, available: Tensor, counts: Tensor, p: int = 1) -> Tensor:
    """Sum the distances over ordered pairs of modalities, each as often as it counts; mean over the batch.

    Args:
        features: ``(B, N, C, *S)``.
        available: ``(B, N)`` bool.
        counts: how much teacher i counts for student j, ``(N, N)``.
        p: 1 or 2, see :func:`feature_distance`.

    Returns:
        A scalar; 0 where fewer than two modalities are present.
    """
    return (counts * feature_distance(features, available, p)).sum(dim=(1, 2)).mean()


def distillation(features: Tensor, available: Tensor, importance: Tensor, p: int = 1) -> Tensor:
    """Sum of the importance-weighted distances over ordered pairs, the alpha term of Eq. (4), mean over the batch.

    Args:
        features: ``(B, N, C, *S)``.
        available: ``(B, N)`` bool.
        importance: normalised importance, ``(N,)``; gets no gradient.
        p: 1 or 2, see :func:`feature_distance`.

    Returns:
        A scalar; 0 where fewer than two modalities are present.
    """
    return sum_distances(features, available, importance_ratio(importance.detach()), p)


def normalize_importance(weights: Tensor, normalization: str = "softmax") -> Tensor:
    """Normalise the importance weight vector, Eq. (6), or one of the alternatives of Table 6.

    Args:
        weights: raw weights, ``(N,)``.
        normalization: ``"softmax"`` (the paper's choice), ``"sigmoid"`` or ``"relu"``. ReLU gives importances of 0,
            whose ratios no training survives (``w_i / w_j`` of 6e5, losses of 1e5), yet Table 6 has results of it: what
            is less than :data:`RELU_FLOOR` of the largest counts as that, so ratios are at most 20. Where none is above
            0, all are 1.

    Returns:
        Normalised importance, ``(N,)``.

    Raises:
        ValueError: for another normalisation.
    """
    if normalization == "softmax":
        return torch.softmax(weights, dim=0)
    if normalization == "sigmoid":
        return torch.sigmoid(weights)
    if normalization == "relu":
        positive = torch.relu(weights)
        largest = positive.detach().max()
        return torch.maximum(positive, torch.where(largest > 0, RELU_FLOOR * largest, torch.ones_like(largest)))
    raise ValueError(f"normalization must be 'softmax', 'sigmoid' or 'relu', got {normalization!r}.")


def fill_error(
    features: Tensor, available: Tensor, missing: Sequence[Sequence[int]] | None = None
) -> tuple[Tensor, Tensor]:
    """How far features are from what Eq. (2) would put there, had their modalities been missing (Fig. 6).

    Args:
        features: ``(B, N, C, *S)``.
        available: ``(B, N)`` bool.
        missing: sets of modalities that are missing together; None for each by itself.

    Returns:
        L2 distance per element (root of the mean square) and cosine similarity, both ``(sets,)``, each a mean over the
        missing modalities and the cases that have them and at least one other; NaN where there is none.
    """
    distances, similarities = [], []
    for group in [[n] for n in range(features.shape[1])] if missing is None else missing:
        usable, others = without(available, group)
        true = features[usable][:, group].flatten(2)
        filled = fill_missing(features, others)[usable][:, group].flatten(2)
        distances.append((true - filled).square().mean(dim=2).sqrt().mean())
        similarities.append(torch.cosine_similarity(true, filled, dim=2).mean())
    return torch.stack(distances), torch.stack(similarities)


def without(available: Tensor, group: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Take a set of modalities away.

    Args:
        available: ``(B, N)`` bool.
        group: the modalities.

    Returns:
        Which cases have all of the set and another modality too, ``(B,)`` bool; what is left, ``(B, N)`` bool.
    """
    others = available.clone()
    others[:, group] = False
    return available[:, group].all(dim=1) & others.any(dim=1), others


def spread(values: Tensor, features: Tensor) -> Tensor:
    """View ``(B, N)`` values so that they broadcast over features ``(B, N, C, *S)``."""
    return values.reshape(list(values.shape) + [1] * (features.dim() - 2))
