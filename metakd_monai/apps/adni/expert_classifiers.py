"""Table 2's LiMoE and Flex-MoE, on our encoders: one token for each modality, where the sources have 16 patches.

LiMoE (Mustafa et al. 2022) has no official code, and the paper does not say how it was adapted: here one layer, 8
experts, the class in place of the contrastive loss, and any subset (the paper gives none with two tables). Absent
modalities have no token.

Flex-MoE (Yun et al. 2024) as its official code computes it, but for two things: the code's attention adds its output to
itself, so that the input is lost, and here to its input; and the stage that begins with the most complete samples is,
with our drawing, a first tenth of the training without dropping.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from metakd_monai.apps.adni.experts import ExpertLayer, Routing, balance
from metakd_monai.apps.classification.compared import ComparedClassifier
from metakd_monai.equations import spread
from metakd_monai.networks.methods import Extra

LIMOE_EXPERTS, LIMOE_LEAST = 8, 2  # and how many experts a modality should use at least


class LiMoEClassifier(ComparedClassifier):
    """A transformer layer over the present modalities' tokens, each sent to one expert; their mean is classified.

    Auxiliary losses: ``balance``, how unequally experts are used; ``local``, the entropy of a token's gate (to be low);
    ``global``, by how much that of a modality's mean gate falls short of two experts. Arguments as of MetaKDClassifier.
    """

    def make_head(self, hidden: int, out_channels: int, dropout: float) -> nn.Module:
        """Return layer and classifier."""
        layer = ExpertLayer(self.features, hidden, dropout, LIMOE_EXPERTS, chosen=1)
        classify = nn.Sequential(nn.LayerNorm(self.features), nn.Linear(self.features, out_channels))
        return nn.ModuleDict({"layer": layer, "classify": classify})

    def classify(self, features: Tensor, available: Tensor) -> tuple[Tensor, list[Extra]]:
        """Return logits ``(B, classes)`` and auxiliary losses."""
        parts = dict(self.head.named_children())
        tokens, routing = parts["layer"](features, available)
        mean = (tokens * available[..., None]).sum(1) / available.sum(1, keepdim=True)
        return parts["classify"](mean), self.losses(routing, available.nonzero()[:, 1])

    def losses(self, routing: Routing, modality: Tensor) -> list[Extra]:
        """Return auxiliary losses of tokens, of which the modalities ``(P,)`` are told."""
        extras = [Extra("balance", balance(routing.gates, routing.load))]
        chances = routing.logits.softmax(1)
        for n in modality.unique().tolist():
            mine = chances[modality == n]
            extras.append(Extra("local", entropy(mine).mean()))
            extras.append(Extra("global", (math.log(LIMOE_LEAST) - entropy(mine.mean(0))).relu()))
        return extras


class FlexMoEClassifier(ComparedClassifier):
    """A token from a bank for each absent modality, by the subset that is there; a layer of 16 experts, four chosen.

    Auxiliary losses: ``balance`` of complete samples, and of the others without the first expert; ``subset``, the
    cross-entropy of incomplete samples' gates, which ought to choose the expert of their subset. Arguments as of
    MetaKDClassifier.
    """

    def make_head(self, hidden: int, out_channels: int, dropout: float) -> nn.Module:
        """Return bank (a row for each subset and modality), layer and classifier."""
        subsets = 2 ** len(self.encoders)  # the last, nothing at all, does not occur
        layer = ExpertLayer(self.features, hidden, dropout, subsets, chosen=4)
        joined = len(self.encoders) * self.features
        bank = nn.Embedding(subsets, joined)
        classify = nn.Sequential(nn.Flatten(), nn.Linear(joined, out_channels))
        return nn.ModuleDict({"bank": bank, "layer": layer, "classify": classify})

    def classify(self, features: Tensor, available: Tensor) -> tuple[Tensor, list[Extra]]:
        """Return logits ``(B, classes)`` and auxiliary losses."""
        parts = dict(self.head.named_children())
        places = torch.arange(available.shape[1], device=available.device)
        subset = ((~available) * 2**places).sum(1)  # 0 is everything
        stored = parts["bank"](subset).view_as(features)
        tokens = torch.where(spread(available, features), features, stored)
        tokens, routing = parts["layer"](tokens, torch.ones_like(available))
        return parts["classify"](tokens), self.losses(routing, subset.repeat_interleave(available.shape[1]))

    def losses(self, routing: Routing, subset: Tensor) -> list[Extra]:
        """Return auxiliary losses of tokens, of which the subsets ``(P,)`` are told."""
        full, extras = subset == 0, []
        if full.any():
            extras.append(Extra("balance", balance(routing.gates[full], routing.load[full])))
        if not full.all():
            extras.append(Extra("balance", balance(routing.gates[~full, 1:], routing.load[~full, 1:])))
            extras.append(Extra("subset", functional.cross_entropy(routing.logits[~full], subset[~full])))
        return extras


def entropy(chances: Tensor) -> Tensor:
    """Return the entropy of probabilities ``(..., E)``, in nats."""
    return torch.special.entr(chances).sum(-1)
