"""What scanners call the sequences."""

from __future__ import annotations

import re

from metakd_monai.vocabulary import MODALITY_TOKENS, Modality

CONTRAST_WORDS = frozenset({"post", "gd", "gad", "gadolinium", "contrast", "ce"})


def sequence_of(description: str, contrast: bool = False) -> Modality | None:
    """Say which sequence a description names; None for none, or for several.

    ``T2 FLAIR`` is FLAIR. ``T1 FLAIR`` is not clear. T1 with a contrast agent is T1ce.
    """
    words = re.findall(r"[a-z0-9]+", description.lower())
    named = {MODALITY_TOKENS[word] for word in words if word in MODALITY_TOKENS}
    if named == {Modality.FLAIR, Modality.T2}:
        named = {Modality.FLAIR}
    if named == {Modality.T1} and (contrast or CONTRAST_WORDS & set(words)):
        named = {Modality.T1CE}
    return named.pop() if len(named) == 1 else None
