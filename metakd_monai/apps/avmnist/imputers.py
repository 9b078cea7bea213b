"""Table 3's auto-encoder and GAN: the scarce modality's features told from the other one's.

Neither was published for this task. SMIL's code (Ma et al. 2021) has only what consumes an auto-encoder's output: the
image's features are mapped to sound's by a frozen network, and the usual head classifies. The widths are our choice.
The map learns beside the classifier on the same steps, from features that it sends no gradient to, in place of a stage
of its own before. The GAN is the same map with a judge of features (Goodfellow et al. 2014, the loss that does not
saturate); map and judge take one step at a time together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from metakd_monai.apps.avmnist.scarce_classifier import ScarceClassifier
from metakd_monai.networks.methods import Extra

WIDTHS = (128, 64, 128)  # of the map, between two modalities' features


class AutoEncoderClassifier(ScarceClassifier):
    """Where the scarce modality is absent, its features are told from the other's.

    Auxiliary loss: ``imputation``, the mean squared error of the map on samples with both.
    """

    def add_parts(self, features: int, hidden: int) -> None:
        """Add the map."""
        layers: list[nn.Module] = []
        for before, after in zip((features, *WIDTHS), (*WIDTHS, features), strict=True):
            layers += [nn.Linear(before, after), nn.ReLU()]  # features are what a ReLU gave
        self.imputer = nn.Sequential(*layers)

    def classify(self, features: Tensor, available: Tensor) -> tuple[Tensor, list[Extra]]:
        """Return logits ``(B, classes)`` and auxiliary losses, if a sample has both."""
        told = self.imputer(features[:, 1 - self.scarce].detach())
        both = available.all(1)
        extras = self.learn(told[both], features[both, self.scarce].detach()) if both.any() else []
        return self.head(self.fill_scarce(features, available, told.detach())), extras

    def learn(self, told: Tensor, real: Tensor) -> list[Extra]:
        """Return auxiliary losses of told and of real features, both ``(P, C)``."""
        return [Extra("imputation", functional.mse_loss(told, real))]


class GANClassifier(AutoEncoderClassifier):
    """The same, its map also trained to deceive a judge of the scarce modality's features.

    Auxiliary losses: ``imputation``; ``judge``, the judge's cross-entropy; ``deception``, that of told features taken
    for real ones.
    """

    def add_parts(self, features: int, hidden: int) -> None:
        """Add the map and the judge."""
        super().add_parts(features, hidden)
        self.judge = nn.Sequential(nn.Linear(features, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def learn(self, told: Tensor, real: Tensor) -> list[Extra]:
        """Return auxiliary losses of told and of real features, both ``(P, C)``."""
        judged = torch.cat([self.judge(real), self.judge(told.detach())])
        truth = torch.cat([judged.new_ones(len(real), 1), judged.new_zeros(len(told), 1)])
        fixed = {name: one.detach() for name, one in self.judge.named_parameters()}
        taken = functional_call(self.judge, fixed, (told,))
        loss = functional.binary_cross_entropy_with_logits
        return [
            *super().learn(told, real),
            Extra("judge", loss(judged, truth)),
            Extra("deception", loss(taken, torch.ones_like(taken))),
        ]
