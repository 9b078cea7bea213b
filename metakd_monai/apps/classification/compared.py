"""What classifiers of other methods have in common with ours: encoders, absence, the head, auxiliary losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from metakd_monai.networks import MetaKDClassifier
from metakd_monai.networks.methods import Extra


class ComparedClassifier(MetaKDClassifier):
    """A classifier that MetaKD is compared with; arguments as of MetaKDClassifier, whose encoders it has.

    A subclass has :meth:`classify`. Encoders run only on what is present, so absent values are never read.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        features: int,
        out_channels: int,
        hidden: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(encoders, features, out_channels, hidden, dropout)
        self.add_parts(features, hidden)

    def add_parts(self, features: int, hidden: int) -> None:
        """Add what a subclass has beside encoders and head."""

    def classify(self, features: Tensor, available: Tensor) -> tuple[Tensor, list[Extra]]:
        """Return logits ``(B, classes)`` and auxiliary losses.

        Args:
            features: ``(B, N, C)``, zeros at absent modalities.
            available: ``(B, N)`` bool.
        """
        raise NotImplementedError

    def decode(self, features: Tensor, available: Tensor, importance: Tensor | None = None) -> Tensor:
        """Return logits ``(B, classes)``; arguments as of MetaKDClassifier's, ``importance`` is not read."""
        return self.classify(features, available)[0]

    def forward_features(  # type: ignore[override]
        self, x: Mapping[str, Tensor], available: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, list[Extra]]:
        """Return what MetaKDClassifier's does, and auxiliary losses for the trainer."""
        features, mask = self.encode_given(x, available)
        logits, extras = self.classify(features, mask)
        return logits, features, mask, extras


def with_auxiliary(weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the settings of ``train.json`` for a method with auxiliary losses of these weights, without MetaKD's."""
    target = "metakd_monai.losses.AuxiliaryLoss"
    loss = {"_target_": target, "loss_function": "@loss", "weights": dict(weights)}
    return {"alpha": 0.0, "train#trainer#auxiliary_loss": loss}
