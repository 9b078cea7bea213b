"""Table 2's MoE-Retriever, on our encoders: one token for each modality, where the source has 16 patches.

As the paper describes it: for an absent modality, training samples that have it and all that the sample has are drawn,
and experts make the missing token of theirs and the sample's. The released code (Yun et al. 2025) leaves out what the
experts made: it returns the mean of what they were given, gives them no gradient, and does not add their loss. Here
they count. Other than there: samples are drawn from the training part alone (there, in testing, also from other test
subjects), in evaluation always the same; no epochs without retrieval at first. A training sample may draw itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metakd_monai.apps.adni.experts import ExpertLayer, Routing, balance
from metakd_monai.apps.classification.compared import ComparedClassifier
from metakd_monai.networks.methods import Extra

OWN, SHARED, CHOSEN = 8, 4, 2  # experts of each modality, of all of them, and how many a token gets


class RetrieverClassifier(ComparedClassifier):
    """Absent modalities get tokens that experts make of retrieved samples; a transformer layer fuses.

    Auxiliary loss: ``balance``, how unequally a modality's candidate experts are used.

    Args:
        support: the training part, a datalist.
        args: of MetaKDClassifier.
        kwargs: likewise.
    """

    support_available: Tensor

    def __init__(self, *args: Any, support: Sequence[Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.encoders:  # data, which weights do not hold
            self.register_buffer(f"support_{name}", torch.stack([item[name] for item in support]), persistent=False)
        available = torch.stack([item["available"] for item in support])
        self.register_buffer("support_available", available, persistent=False)

    def make_head(self, hidden: int, out_channels: int, dropout: float) -> nn.Module:
        """Return what retrieves, fuses and classifies."""
        width, modalities = self.features, len(self.encoders)
        fuse = nn.TransformerEncoderLayer(width, 4, hidden, dropout, "gelu", batch_first=True, norm_first=True)
        return nn.ModuleDict(
            {
                "retrieve": ExpertLayer(width, hidden, dropout, modalities * OWN + SHARED, CHOSEN),
                "fuse": fuse,
                "classify": nn.Sequential(nn.Flatten(), nn.Linear(modalities * width, out_channels)),
            }
        )

    def classify(self, features: Tensor, available: Tensor) -> tuple[Tensor, list[Extra]]:
        """Return logits ``(B, classes)`` and auxiliary losses."""
        parts, columns, extras = dict(self.head.named_children()), list(features.unbind(1)), []
        for n in range(available.shape[1]):
            rows = (~available[:, n]).nonzero().squeeze(1)
            if len(rows):
                made, routing = self.retrieve(n, features[rows], available[rows])
                columns[n] = columns[n].index_copy(0, rows, made)
                mine = candidates(n, available.shape[1]).to(rows.device)
                extras.append(Extra("balance", balance(routing.gates[:, mine], routing.load[:, mine])))
        return parts["classify"](parts["fuse"](torch.stack(columns, 1))), extras

    def retrieve(self, n: int, features: Tensor, available: Tensor) -> tuple[Tensor, Routing]:
        """Make tokens ``(R, C)`` of modality n for samples that lack it, and say where tokens went.

        Args:
            n: place of the modality.
            features: ``(R, N, C)``.
            available: ``(R, N)`` bool.
        """
        places, found = self.draw(n, available)
        name, encoder = list(self.encoders.items())[n]
        theirs = features.new_zeros(*found.shape, self.features)
        if found.any():
            theirs[found] = encoder(self.get_buffer(f"support_{name}")[places[found]])
        tokens, there = torch.cat([features, theirs], dim=1), torch.cat([available, found], dim=1)
        mine = candidates(n, available.shape[1]).to(there.device)
        made, routing = self.head.get_submodule("retrieve")(tokens, there, mine)
        number = available.shape[1]
        own, retrieved = mean_of(made[:, :number], available), mean_of(made[:, number:], found)
        return torch.where(found.any(1, keepdim=True), (own + retrieved) / 2, own), routing

    def draw(self, n: int, available: Tensor) -> tuple[Tensor, Tensor]:
        """Draw as many training samples as a sample has modalities, from those that have modality n and all of these.

        Where there are none, from all that have modality n.

        Returns:
            Their places ``(R, N)``, and which of these count, ``(R, N)`` bool.
        """
        has = self.support_available[:, n]
        fits = has & ~(available[:, None] & ~self.support_available).any(2)  # (R, S)
        fits = torch.where(fits.any(1, keepdim=True), fits, has)
        number = available.shape[1]
        found = (torch.arange(number, device=fits.device) < available.sum(1, keepdim=True)) & fits.any(1, keepdim=True)
        same = None if self.training else torch.Generator(fits.device).manual_seed(0)
        chances = fits.float() + (~fits.any(1, keepdim=True)).float()  # of nothing nothing can be drawn
        return torch.multinomial(chances, number, replacement=True, generator=same), found


def candidates(n: int, modalities: int) -> Tensor:
    """Return which experts modality n may use, ``(E,)`` bool: its own and those that all share."""
    place = torch.arange(modalities * OWN + SHARED)
    return (place // OWN == n) | (place >= modalities * OWN)


def mean_of(tokens: Tensor, kept: Tensor) -> Tensor:
    """Return the mean ``(R, C)`` of those tokens ``(R, T, C)`` that are kept, ``(R, T)``; zeros of none."""
    return (tokens * kept[..., None]).sum(1) / kept.sum(1, keepdim=True).clamp(min=1)
