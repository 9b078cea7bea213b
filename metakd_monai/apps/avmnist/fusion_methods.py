"""Table 3's Full2miss and ShaSpec, on our encoders.

Full2miss (Shen and Gao, IPMI 2019) was made for segmentation and has no public code: encoders that do not see each
other, a decoder of their fusion, channels dropped in training, and a domain adaptation of feature maps from missing to
full. Here the adaptation is a mean squared difference in the layer after fusion, full being the constant; the only
channel that is dropped is the scarce one, for no other is missing in testing.

ShaSpec (Wang et al., CVPR 2023): its shared encoder cannot be, for image and sound differ in size, and its code has no
AV-MNIST. Here one fully connected layer that both share, and one of each modality's own, follow the encoders.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from metakd_monai.apps.avmnist.scarce_classifier import ScarceClassifier
from metakd_monai.apps.classification.compared import ComparedClassifier
from metakd_monai.equations import fill_missing
from metakd_monai.networks.methods import Extra
from metakd_monai.networks.methods.baseline import keep
from metakd_monai.networks.methods.sha_spec import measure_sharing


class Full2MissClassifier(ScarceClassifier):
    """Classify with zeros for an absent modality; samples with both are also classified without the scarce one.

    Auxiliary losses: ``missing``, the task loss without the scarce modality; ``adaptation``, the mean squared
    difference of the hidden layer from what it is with both.
    """

    def classify(self, features: Tensor, available: Tensor) -> tuple[Tensor, list[Extra]]:
        """Return logits ``(B, classes)`` and auxiliary losses, if a sample has both."""
        to_hidden, to_logits = self.head[:3], self.head[3:]  # flattened, fully connected, ReLU; the rest
        hidden = to_hidden(features)
        rows = available.all(1).nonzero().squeeze(1)
        extras: list[Extra] = []
        if len(rows):
            without = to_hidden(features[rows].index_fill(1, torch.tensor([self.scarce], device=features.device), 0))
            extras = [
                Extra("missing", to_logits(without), rows),
                Extra("adaptation", functional.mse_loss(without, hidden[rows].detach())),
            ]
        return to_logits(hidden), extras


class ShaSpecClassifier(ComparedClassifier):
    """Classify what modalities share and what each has for itself, added up as a residual.

    An absent modality gets the mean of what the present ones share. Auxiliary losses: ``alignment`` and ``modality``,
    see :func:`~metakd_monai.networks.methods.sha_spec.measure_sharing`. Arguments as of MetaKDClassifier.
    """

    def add_parts(self, features: int, hidden: int) -> None:
        """Add what follows the encoders."""
        self.shared = nn.Linear(features, features)
        self.specific = nn.ModuleList(nn.Linear(features, features) for _ in self.encoders)
        self.compose = nn.Linear(2 * features, features)
        self.tell = nn.Linear(features, len(self.encoders))

    def classify(self, features: Tensor, available: Tensor) -> tuple[Tensor, list[Extra]]:
        """Return logits ``(B, classes)`` and auxiliary losses."""
        shared = self.shared(features).relu()
        specific = torch.stack([own(features[:, n]) for n, own in enumerate(self.specific)], dim=1).relu()
        residual = self.compose(torch.cat([shared, specific], dim=2))
        composed = fill_missing(shared, available) + keep(residual, available)
        return self.head(composed), measure_sharing(shared, self.tell(specific[available]), available)
