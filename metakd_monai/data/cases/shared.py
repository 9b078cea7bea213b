"""What the sequences of one case share in their names belongs to the case, such as a time point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metakd_monai.data.cases.sequences import NIFTI, Ambiguous, Reading, read_sequence
from metakd_monai.data.cases.word_table import Kind
from metakd_monai.data.cases.words import Word, read_words
from metakd_monai.vocabulary import MODALITY_TOKENS, Modality

TIMES = ("t1", "t2")  # a sequence, or a time point
NO_TIMES = {Modality.FLAIR, Modality.T1CE}
KEPT = (Kind.CONTRAST, Kind.WITHOUT, Kind.NATIVE, Kind.LETTER, Kind.ONTO, Kind.REGISTERED, Kind.OTHER)


@dataclass(frozen=True)
class ImageName:
    """A file name that names a sequence, or may name several.

    Attributes:
        name: of the file.
        prefix: the case's part of it.
        reading: what it names.
        given: whether the user's own table says so, which goes before other files of the sequence.
    """

    name: str
    prefix: str
    reading: Reading
    given: bool = False


def read_together(prefix: str, images: Sequence[ImageName]) -> list[ImageName]:
    """Read the names of one case's images again, without what they share.

    ``P1_t1_flair``, ``P1_t1_t2``: what both have, ``t1``, is a time point, as FLAIR cannot be one. ``post_T1``,
    ``post_FLAIR``: both were taken after something, so ``post`` says nothing about a contrast agent.

    Args:
        prefix: the case's part of the names, as each was read alone.
        images: with their readings, which hold where nothing is shared, or what is left is not clear.
    """
    if len(images) < 2:
        return list(images)
    texts = [NIFTI.sub("", image.name)[len(prefix) :] for image in images]
    for cut in (without_first, without_last):
        while (shorter := cut(texts)) is not None:
            texts = shorter
    readings = [read_sequence(text) for text in texts]
    found = {reading.found for reading in readings}
    named = any(word.says(Kind.SEQUENCE) for word in read_words(prefix))
    if len({one for one in found if isinstance(one, Modality)}) < 2 or (named and not found & NO_TIMES):
        return list(images)
    if found & {Modality.FLAIR, Modality.T2} and all(ends_in(Kind.POST, text) for text in texts):
        either = Ambiguous((Modality.T1, Modality.T1CE))  # T1_post, FLAIR_post: after what?
        readings = [replace(r, found=either) if r.found is Modality.T1CE else r for r in readings]
    return [
        replace(image, reading=replace(reading, marks=image.reading.marks)) if reading.found else image
        for image, reading in zip(images, readings, strict=True)
    ]


def longest_prefix(prefix: str, images: Sequence[ImageName]) -> str:
    """Return the case's part of names with a letter that all share behind it: ``Smith_C`` of ``Smith_C_t1``."""
    texts = [NIFTI.sub("", image.name)[len(prefix) :] for image in images]
    words = [read_words(text)[:1] for text in texts]
    if len(images) < 2 or not all(one and one[0].says(Kind.LETTER) for one in words):
        return prefix
    end = words[0][0].end
    left = [read_sequence(text[end:]).found for text in texts]
    return prefix + texts[0][:end] if left == [image.reading.found for image in images] else prefix


def ends_in(kind: Kind, text: str) -> bool:
    """Tell whether the last word of a text says something."""
    return any(word.says(kind) for word in read_words(text)[-1:])


def without_first(texts: Sequence[str]) -> list[str] | None:
    """Return the texts without their first word when they share it and it says nothing on the sequence, else None."""
    words = [read_words(text) for text in texts]
    if not all(words) or len({one[0].text for one in words}) > 1:
        return None
    shorter = [text[one[0].end :] for text, one in zip(texts, words, strict=True)]
    return shorter if may_go(words[0][0], shorter, first=True) else None


def without_last(texts: Sequence[str]) -> list[str] | None:
    """Return the texts without their last word when they share it and it says nothing on the sequence, else None."""
    words = [read_words(text) for text in texts]
    if not all(words) or len({one[-1].text for one in words}) > 1:
        return None
    shorter = [text[: one[-1].start] for text, one in zip(texts, words, strict=True)]
    return shorter if may_go(words[0][-1], shorter, first=False) else None


def may_go(word: Word, texts: Sequence[str], first: bool) -> bool:
    """Tell whether a shared word says nothing on the sequences, by what is left without it."""
    if word.says(*KEPT) and not (first and word.says(Kind.LETTER)):
        return False
    found = {read_clearly(text) for text in texts}
    if None in found:
        return False
    if word.says(Kind.SEQUENCE):  # a time point; or what is left names it once more, as in flair_flair
        again = first and MODALITY_TOKENS.get(word.text) in found
        return again or (word.text in TIMES and bool(found & NO_TIMES))
    if word.says(Kind.POST, Kind.PRE, Kind.LETTER):
        return first and bool(found & {Modality.FLAIR, Modality.T2})
    return True


def read_clearly(text: str) -> Modality | None:
    """Return the one sequence that a text names; None for none or several."""
    reading: Reading = read_sequence(text)
    return reading.found if isinstance(reading.found, Modality) else None
