"""MetaKDClassifier: an encoder for each modality, Eq. (2), and two fully connected layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metakd_monai.equations import fill_missing, weight_by_importance

FILLS = ("mean", "zero")


class MetaKDClassifier(nn.Module):
    """Classify samples from any subset of modalities, Eq. (1) to (3).

    Modalities of different kinds (an image and a sound) cannot share an encoder. Their features have equal lengths, so
    that Eq. (2) and (5) apply. Encoders run only on samples that have the modality, so the values of an absent one
    reach neither the output nor the statistics of a batch norm.

    Args:
        encoders: an encoder for each modality, ``(P, *S_n)`` to ``(P, C)``; their order is that of ``available``.
        features: C.
        out_channels: number of classes.
        hidden: width between the two fully connected layers.
        dropout: between the two fully connected layers.
        fill: features of absent modalities: ``"mean"`` of the present ones, Eq. (2), or ``"zero"`` for comparison.

    Raises:
        ValueError: for an unknown fill.

    Source: Sec. 3.1 and 8 of the paper.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        features: int,
        out_channels: int,
        hidden: int = 64,
        dropout: float = 0.5,
        fill: str = "mean",
    ) -> None:
        super().__init__()
        if fill not in FILLS:
            raise ValueError(f"fill must be 'mean' or 'zero', got {fill!r}.")
        self.features, self.fill = features, fill
        self.encoders = nn.ModuleDict(encoders)
        self.head = self.make_head(hidden, out_channels, dropout)

    def make_head(self, hidden: int, out_channels: int, dropout: float) -> nn.Module:
        """Return the layers that classify features, see :meth:`decode`."""
        joined = len(self.encoders) * self.features
        return nn.Sequential(nn.Flatten(), *fully_connected(joined, hidden, out_channels, dropout))

    def encode(self, x: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """Encode the present modalities, Eq. (1).

        Args:
            x: ``(B, *S_n)`` for each modality.
            available: ``(B, N)`` bool.

        Returns:
            ``(B, N, C)``, zeros at absent modalities.

        Raises:
            ValueError: if a sample has no modality.
        """
        if not available.any(dim=1).all():
            raise ValueError("no modality is present in a sample: nothing to encode.")
        columns = []
        for n, (name, encoder) in enumerate(self.encoders.items()):
            index = available[:, n].nonzero().squeeze(1)
            part = encoder(x[name][index]) if len(index) else x[name].new_zeros(0, self.features)  # (P, C)
            columns.append(part.new_zeros(len(available), self.features).index_copy(0, index, part))
        return torch.stack(columns, dim=1)

    def decode(self, features: Tensor, available: Tensor, importance: Tensor | None = None) -> Tensor:
        """Fill, Eq. (2), weight if asked, Eq. (4), concatenate and classify, Eq. (3).

        Args:
            features: ``(B, N, C)``.
            available: ``(B, N)`` bool.
            importance: normalised importance ``(N,)``, for the upper problem of Eq. (4) only.

        Returns:
            Logits ``(B, classes)``.
        """
        filled = fill_missing(features, available) if self.fill == "mean" else features
        logits: Tensor = self.head(filled if importance is None else weight_by_importance(filled, importance))
        return logits

    def forward_features(
        self, x: Mapping[str, Tensor], available: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Classify, and return what distillation needs.

        Args:
            x: ``(B, *S_n)`` for each modality.
            available: ``(B, N)`` bool, or one row for all, ``(1, N)``; default: all present.

        Returns:
            Logits ``(B, classes)``, features ``(B, N, C)``, availability ``(B, N)``.
        """
        features, mask = self.encode_given(x, available)
        return self.decode(features, mask), features, mask

    def encode_given(self, x: Mapping[str, Tensor], available: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return features ``(B, N, C)`` and availability ``(B, N)``; arguments as in :meth:`forward_features`."""
        first = next(iter(x.values()))
        if available is None:
            available = torch.ones(1, len(self.encoders), dtype=torch.bool, device=first.device)
        mask = available.to(device=first.device, dtype=torch.bool).expand(len(first), -1)
        return self.encode(x, mask), mask

    def forward_weighted(self, x: Mapping[str, Tensor], available: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
        """Classify as in the upper problem of Eq. (4); logits and features, which get no gradient."""
        with torch.no_grad():
            features = self.encode(x, available)
        return self.decode(features, available, importance), features

    def forward(self, x: Mapping[str, Tensor], available: Tensor | None = None) -> Tensor:
        """Return logits ``(B, classes)``; arguments as in :meth:`forward_features`."""
        return self.forward_features(x, available)[0]


class LateFusionClassifier(MetaKDClassifier):
    """A simple baseline: a classifier for each modality, and the mean probability over the present ones.

    Arguments and encoders as in :class:`MetaKDClassifier`; ``fill`` has no effect.
    """

    def make_head(self, hidden: int, out_channels: int, dropout: float) -> nn.Module:
        """Return a classifier for each modality."""
        return nn.ModuleList(
            nn.Sequential(*fully_connected(self.features, hidden, out_channels, dropout)) for _ in self.encoders
        )

    def decode(self, features: Tensor, available: Tensor, importance: Tensor | None = None) -> Tensor:
        """Return the logarithm of the mean probability ``(B, classes)``, weighted by the importance if given."""
        chances = torch.stack([head(features[:, n]) for n, head in enumerate(self.head.children())], dim=1).softmax(-1)
        weights = available.to(chances) if importance is None else available * importance
        mean = (chances * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
        return mean.clamp(min=1e-8).log()


def fully_connected(length: int, hidden: int, out_channels: int, dropout: float) -> list[nn.Module]:
    """Return two fully connected layers with dropout between them."""
    return [nn.Linear(length, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, out_channels)]
