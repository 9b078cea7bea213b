"""Table 3's SMIL (Ma et al., AAAI 2021): features of the scarce modality from centres, noise, and meta-learning.

As the official code has it: an absent modality's features are a weighted mean of k-means centres of known ones, the
noise has unit variance, and the errors of centres and of clean predictions do not count. Other than there: the two
modalities' features have one length (160), the training before meta-learning is on all pairs, Eq. (2) filling, and half
of the epochs that all methods get, batches are the bundle's, the inner step's length is constant, and nothing is chosen
on the test set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.utils.enums import CommonKeys
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from metakd_monai.apps.avmnist.scarce_classifier import ScarceClassifier
from metakd_monai.data.stream import seed_of
from metakd_monai.engines.trainer import DISTILLATION_LOSS, TASK_LOSS, MetaKDTrainer
from metakd_monai.equations import fill_missing
from metakd_monai.errors import UserError
from metakd_monai.networks.methods import Extra

CENTRES = 10


class SMILClassifier(ScarceClassifier):
    """Where the scarce modality is absent, its features are a weighted mean of centres.

    Auxiliary losses: ``joined`` and ``inner``, the mean squared differences that noise makes before and in the hidden
    layer.
    """

    centres: Tensor

    def add_parts(self, features: int, hidden: int) -> None:
        """Add what weighs centres and what makes noise."""
        self.weigh = nn.Linear(features, CENTRES)
        self.disturb_joined = nn.Linear(features, 2 * features)
        self.disturb_hidden = nn.Linear(2 * features, hidden)
        self.register_buffer("centres", torch.zeros(CENTRES, features))

    def scarce_encoder(self) -> nn.Module:
        """Return the encoder of the scarce modality."""
        return list(self.encoders.children())[self.scarce]

    def train(self, mode: bool = True) -> SMILClassifier:
        """Set the mode; the scarce modality's encoder stays in evaluation once it is fixed."""
        super().train(mode)
        encoder = self.scarce_encoder()
        if not any(one.requires_grad for one in encoder.parameters()):
            encoder.eval()
        return self

    def settle(self, x: Mapping[str, Tensor], seed: int) -> None:
        """Find the centres of samples ``(P, ...)`` that have both modalities, and fix the scarce one's encoder.

        Raises:
            UserError: when there are fewer samples than centres.
        """
        values = x[list(self.encoders)[self.scarce]]
        if len(values) < CENTRES:
            raise UserError(
                f"SMIL: {len(values)} complete pairs found; expected at least {CENTRES}, one for each centre"
            )
        encoder = self.scarce_encoder().eval().requires_grad_(False)
        for one in encoder.parameters():
            one.grad = None  # zeros would let the optimizer's decay move it
        known = encoder(values).cpu().numpy()
        found = KMeans(CENTRES, n_init=10, random_state=seed).fit(known).cluster_centers_
        self.centres.copy_(torch.from_numpy(found))

    def classify(self, features: Tensor, available: Tensor) -> tuple[Tensor, list[Extra]]:
        """Return logits ``(B, classes)`` of disturbed features, and auxiliary losses."""
        other = features[:, 1 - self.scarce]
        weights = functional.softplus(self.weigh(other))
        told = weights / weights.sum(1, keepdim=True) @ self.centres
        joined = self.fill_scarce(features, available, told).flatten(1)
        raw = self.disturb_joined(other)
        disturbed = joined + functional.softplus(raw + torch.randn_like(raw) if self.training else raw)
        to_hidden, to_logits = self.head[:3], self.head[3:]
        clean, hidden = to_hidden(joined), to_hidden(disturbed)
        noisy = hidden + functional.softplus(self.disturb_hidden(disturbed))
        extras = [
            Extra("joined", functional.mse_loss(disturbed, joined)),
            Extra("inner", functional.mse_loss(noisy, clean)),
        ]
        return to_logits(noisy), extras


class SMILTrainer(MetaKDTrainer):
    """Train a :class:`SMILClassifier`: at first plainly on all samples, Eq. (2) filling, then by meta-learning.

    A step of meta-learning takes one inner step on those of the batch that lack the scarce modality, and the gradient
    of what that gives on as many complete pairs, through the inner step (second order).

    Args:
        warm_up: iterations before meta-learning.
        inner_lr: length of the inner step.
        kwargs: MetaKDTrainer's; the loader is a :class:`~metakd_monai.apps.classification.BatchLoader`.

    Raises:
        UserError: (in training) when there are fewer complete pairs than centres.
    """

    def __init__(self, *, warm_up: int, inner_lr: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.warm_up, self.inner_lr = warm_up, inner_lr
        self.add_event_handler(Events.ITERATION_STARTED(once=warm_up + 1), self.settle)

    def complete(self) -> Tensor:
        """Return the places of complete pairs in the data, ``(P,)``."""
        loader: Any = self.data_loader
        return loader.columns["available"].all(1).nonzero().squeeze(1)

    def settle(self) -> None:
        """Begin meta-learning."""
        loader: Any = self.data_loader
        x, *_ = self.prepare_batch(loader.take(self.complete().tolist()), self.state.device, self.non_blocking)
        self.network.network.settle(x, loader.sampler.seed)

    def draw_pairs(self, number: int) -> tuple[Any, Tensor, Tensor]:
        """Return modalities, availability and labels of complete pairs that the seed and the iteration draw."""
        loader: Any = self.data_loader
        seed, places = seed_of(loader.sampler.seed, 5, self.state.iteration), self.complete()
        drawn = torch.randint(len(places), (number,), generator=torch.Generator().manual_seed(seed))
        batch = loader.take(places[drawn].tolist())
        batch = loader.augment(batch, seed) if loader.augment else batch
        x, label, (available,), _ = self.prepare_batch(batch, self.state.device, self.non_blocking)
        return x, available, label

    def inner_loss(self, output: tuple[Any, ...], label: Tensor) -> Tensor:
        """Return the loss of a step; MONAI calls this on what the network gave for the batch."""
        logits, features, available, _ = output
        if self.state.iteration <= self.warm_up:
            loss = self.task_loss(self.network.network.head(fill_missing(features, available)), label)
        else:
            x, there, wanted = self.draw_pairs(len(label))
            lacking = ~available[:, self.network.network.scarce]
            inner = self.task_loss(logits[lacking], label[lacking]) if lacking.any() else logits.sum() * 0
            loss = self.outer_loss(inner, x, there, wanted)
        zero = torch.zeros_like(loss)
        self.state.output.update({CommonKeys.PRED: logits, TASK_LOSS: loss.detach(), DISTILLATION_LOSS: zero.detach()})
        return loss

    def outer_loss(self, inner: Tensor, x: Any, available: Tensor, label: Tensor) -> Tensor:
        """Return the loss of complete pairs after a step down the inner loss."""
        named = {name: one for name, one in self.network.named_parameters() if one.requires_grad}
        slopes = torch.autograd.grad(inner, list(named.values()), create_graph=True, allow_unused=True)
        moved = {
            name: one if slope is None else one - self.inner_lr * slope
            for (name, one), slope in zip(named.items(), slopes, strict=True)
        }
        logits, _, _, extras = functional_call(self.network, moved, (x, available))
        loss: Tensor = self.task_loss(logits, label)
        if self.auxiliary_loss is not None:
            loss = loss + self.auxiliary_loss(extras, label)
        return loss
