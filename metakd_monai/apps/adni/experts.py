"""Mixtures of experts: a gate sends each token to a few small networks (Shazeer et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Routing(NamedTuple):
    """Where tokens went.

    Attributes:
        logits: of the gate without noise, ``(P, E)``.
        gates: share of each expert in each token's output, ``(P, E)``; rows sum to 1.
        load: probability that an expert is chosen if the noise were drawn again, ``(P, E)``.
    """

    logits: Tensor
    gates: Tensor
    load: Tensor


class SparseExperts(nn.Module):
    """Networks of two layers, of which each token's gate chooses some; in training the gate has noise.

    All experts are computed, and those that were not chosen count 0: they are small, and it needs no special kernels.

    Args:
        width: of tokens.
        hidden: width between an expert's layers.
        experts: number E of experts.
        chosen: how many each token gets; fewer than E.
    """

    def __init__(self, width: int, hidden: int, experts: int, chosen: int) -> None:
        super().__init__()
        self.chosen = chosen
        self.first = nn.Parameter(torch.randn(experts, width, hidden) / width**0.5)
        self.second = nn.Parameter(torch.randn(experts, hidden, width) / hidden**0.5)
        self.gate, self.noise = nn.Linear(width, experts), nn.Linear(width, experts)

    def forward(self, tokens: Tensor, allowed: Tensor | None = None) -> tuple[Tensor, Routing]:
        """Return what the chosen experts make of tokens ``(P, W)``, and where they went.

        Args:
            tokens: ``(P, W)``.
            allowed: which experts a token may get, ``(P, E)`` bool or one row for all; at least ``chosen + 1``.
        """
        clean, spread = self.gate(tokens), functional.softplus(self.noise(tokens)) + 1e-2
        if allowed is not None:
            clean = clean.masked_fill(~allowed, -1e4)
        noisy = clean + spread * torch.randn_like(clean) if self.training else clean
        best = noisy.topk(self.chosen + 1, dim=1)
        places = best.indices[:, : self.chosen]
        gates = torch.zeros_like(clean).scatter(1, places, best.values[:, : self.chosen].softmax(1))
        last, next_best = best.values[:, self.chosen - 1, None], best.values[:, self.chosen, None]
        rival = torch.where(noisy > next_best, next_best, last)  # what an expert must exceed to be chosen
        load = torch.special.ndtr((clean - rival) / spread)
        made = torch.einsum("peh,ehw->pew", torch.einsum("pw,ewh->peh", tokens, self.first).relu(), self.second)
        return torch.einsum("pe,pew->pw", gates, made), Routing(clean, gates, load)


class ExpertLayer(nn.Module):
    """A transformer layer (norms first) with sparse experts in place of its fully connected layers.

    Args:
        width: of tokens; a multiple of 4, the number of heads.
        hidden: see :class:`SparseExperts`.
        dropout: in the attention and after the experts.
        experts: see :class:`SparseExperts`.
        chosen: likewise.
    """

    def __init__(self, width: int, hidden: int, dropout: float, experts: int, chosen: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, 4, dropout, batch_first=True)
        self.experts = SparseExperts(width, hidden, experts, chosen)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, there: Tensor, allowed: Tensor | None = None) -> tuple[Tensor, Routing]:
        """Return tokens ``(B, T, W)``, those that are not there as they were, and where the others, ``(P, W)``, went.

        Args:
            tokens: ``(B, T, W)``.
            there: which of them are, ``(B, T)`` bool; at least one of each sample.
            allowed: see :class:`SparseExperts`.
        """
        x = self.norms[0](tokens)
        attended = tokens + self.attention(x, x, x, key_padding_mask=~there, need_weights=False)[0]
        made, routing = self.experts(self.norms[1](attended[there]), allowed)
        return tokens.masked_scatter(there[..., None], attended[there] + self.dropout(made)), routing


def balance(gates: Tensor, load: Tensor) -> Tensor:
    """Return how unequally experts are used: squared coefficients of variation of importance and of load.

    Args:
        gates: ``(P, E)``.
        load: ``(P, E)``.
    """
    return sum((squared_variation(one.sum(0)) for one in (gates, load)), gates.new_zeros(()))


def squared_variation(values: Tensor) -> Tensor:
    """Return the variance of values ``(E,)`` over their squared mean."""
    return values.var(correction=0) / (values.mean() ** 2 + 1e-10)
