"""What scanners call the sequences."""

from __future__ import annotations

from metakd_monai.cases import Ambiguous, recognise
from metakd_monai.vocabulary import Modality


def sequence_of(description: str, contrast: bool = False) -> Modality | None:
    """Say which sequence a description names; None for none, or for several.

    ``T2 FLAIR`` is FLAIR. ``T1 FLAIR`` is not clear. T1 with a contrast agent is T1ce, also where only the agent's
    attribute says so, but not against the description (``T1 PRE CONTRAST``).
    """
    found = recognise(description)
    if isinstance(found, Ambiguous):
        either = set(found.readings) == {Modality.T1, Modality.T1CE}
        return Modality.T1CE if either and contrast else None
    silent = recognise(f"{description} contrast") is Modality.T1CE  # a description that says "pre" stays T1
    return Modality.T1CE if found is Modality.T1 and contrast and silent else found
