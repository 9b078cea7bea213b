"""Find the words that all file names of a case share: they belong to the case, such as a time point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from metakd_monai.data.cases.sequences import NIFTI, Ambiguous, Reading, read_sequence
from metakd_monai.data.cases.word_table import Kind
from metakd_monai.data.cases.words import Word, read_words
from metakd_monai.vocabulary import MODALITY_TOKENS, Modality

TIMES = ("t1", "t2")  # a sequence, or a time point
NO_TIMES = {Modality.FLAIR, Modality.T1CE}
AFTER_NOTHING = {Modality.FLAIR, Modality.T2}  # sequences rarely acquired with a contrast agent
BOTH_T1 = {Modality.T1, Modality.T1CE}
KEPT = (Kind.LETTER, Kind.ONTO, Kind.REGISTERED, Kind.OTHER)
ON_AGENT = (Kind.CONTRAST, Kind.WITHOUT, Kind.NATIVE)
INITIALS = 3  # letters: a word this short for a contrast agent may be a patient's initials


@dataclass(frozen=True)
class ImageName:
    """A file name that names a sequence, or may name several.

    Attributes:
        name: of the file.
        prefix: the case's part of it.
        reading: what it names.
        given: whether the user's own table says so; then it is preferred to other files of the sequence.
    """

    name: str
    prefix: str
    reading: Reading
    given: bool = False


def read_together(prefix: str, images: Sequence[ImageName]) -> list[ImageName]:
    """Read the names of one case's images again, without the words that they share.

    ``P1_t1_flair``, ``P1_t1_t2``: the shared ``t1`` is a time point, because FLAIR cannot be one. ``post_T1``,
    ``post_FLAIR``: both were taken after something, so ``post`` says nothing about a contrast agent. ``P1_ce_t1``,
    ``P1_ce_t1ce``: only one of them has an agent, so ``ce`` names a patient or a site.

    Args:
        prefix: the case's part of the names, from reading each alone.
        images: with their readings, which are kept if nothing is shared or the rest is ambiguous.
    """
    if len(images) < 2:
        return list(images)
    texts = [NIFTI.sub("", image.name)[len(prefix) :] for image in images]
    for cut in (without_first, without_last):
        while (shorter := cut(texts)) is not None:
            texts = shorter
    readings = [read_sequence(text) for text in texts]
    found = {reading.found for reading in readings}
    named = any(word.means(Kind.SEQUENCE) for word in read_words(prefix))
    if len({one for one in found if isinstance(one, Modality)}) < 2 or (named and not found & NO_TIMES):
        return list(images)
    if found & AFTER_NOTHING and (all(ends_in(Kind.POST, text) for text in texts) or may_be_initials(texts)):
        either = Ambiguous((Modality.T1, Modality.T1CE))  # T1_post, FLAIR_post: after what? gd_T1, gd_FLAIR: initials?
        readings = [replace(r, found=either) if r.found is Modality.T1CE else r for r in readings]
    return [
        replace(image, reading=replace(reading, marks=image.reading.marks)) if reading.found else image
        for image, reading in zip(images, readings, strict=True)
    ]


def longest_prefix(prefix: str, images: Sequence[ImageName]) -> str:
    """Return the case's part of names, with a shared letter after it: ``Smith_C`` of ``Smith_C_t1``.

    Also with a word on a contrast agent, if it cannot be informative: ``P1_ce`` of ``P1_ce_t1``, ``P1_ce_t1ce``.
    """
    texts = [NIFTI.sub("", image.name)[len(prefix) :] for image in images]
    words = [read_words(text)[:2] for text in texts]
    found = [image.reading.found for image in images]
    known = (Kind.LETTER, *ON_AGENT) if set(found) >= BOTH_T1 else (Kind.LETTER,)
    if len(images) < 2 or not all(len(two) > 1 and two[0].means(*known) for two in words):
        return prefix
    left = [read_sequence(text[two[0].end :]).found for text, two in zip(texts, words, strict=True)]
    return clean(prefix + texts[0][: words[0][1].start]) if left == found else prefix


def clean(prefix: str) -> str:
    """Return the case's part of a name without trailing separators."""
    return prefix.rstrip("_-. ")


def join_copies(parts: Mapping[str, list[ImageName]]) -> dict[str, list[ImageName]]:
    """Assign images to the case whose name differs only by words of a copy: ``old_P1``, ``P1_old_2`` to ``P1``.

    Args:
        parts: the images of each case, by the case's part of their names.

    Returns:
        The same; the readings of reassigned images hold the words that mark them as copies.
    """
    spelled = {tuple(word.text for word in read_words(prefix)): prefix for prefix in parts}
    joined: dict[str, list[ImageName]] = {}
    for prefix, members in parts.items():
        words = read_words(prefix)
        marks = frozenset(word.text for word in words if word.means(Kind.DERIVED))
        left = tuple(w.text for before, w in zip((None, *words), words, strict=False) if not is_of_copy(w, before))
        owner = spelled.get(left, prefix) if marks and left else prefix
        if owner != prefix:
            members = [replace(i, reading=replace(i.reading, marks=i.reading.marks | marks)) for i in members]
        joined.setdefault(owner, []).extend(members)
    return joined


def is_of_copy(word: Word, before: Word | None) -> bool:
    """Tell whether a word marks a copy, or is a copy's number."""
    return word.means(Kind.DERIVED) or (before is not None and before.means(Kind.DERIVED) and word.text.isdigit())


def may_be_initials(texts: Sequence[str]) -> bool:
    """Tell whether texts share a first word that is a contrast agent, or the end of a case's name."""
    first = {(w.text, w.means(Kind.CONTRAST) and w.end - w.start <= INITIALS) for t in texts for w in read_words(t)[:1]}
    return len(first) == 1 and first.pop()[1]


def ends_in(kind: Kind, text: str) -> bool:
    """Tell whether the last word of a text has a known meaning."""
    return any(word.means(kind) for word in read_words(text)[-1:])


def without_first(texts: Sequence[str]) -> list[str] | None:
    """Return the texts without their first word if they share it and it says nothing on the sequence, else None."""
    words = [read_words(text) for text in texts]
    if not all(words) or len({one[0].text for one in words}) > 1:
        return None
    shorter = [text[one[0].end :] for text, one in zip(texts, words, strict=True)]
    if words[0][0].means(Kind.POST) and words[0][1:] and words[0][1].means(Kind.CONTRAST):
        return None  # post_contrast_T1 beside post_contrast_FLAIR
    return shorter if may_go(words[0][0], shorter, first=True) else None


def without_last(texts: Sequence[str]) -> list[str] | None:
    """Return the texts without their last word if they share it and it says nothing on the sequence, else None."""
    words = [read_words(text) for text in texts]
    if not all(words) or len({one[-1].text for one in words}) > 1:
        return None
    shorter = [text[: one[-1].start] for text, one in zip(texts, words, strict=True)]
    return shorter if may_go(words[0][-1], shorter, first=False) else None


def may_go(word: Word, texts: Sequence[str], first: bool) -> bool:
    """Tell from the rest of the names whether a shared word says nothing about the sequences."""
    if word.means(*KEPT) and not (first and word.means(Kind.LETTER)):
        return False
    found = {read_clearly(text) for text in texts}
    if None in found:
        return False
    if word.means(Kind.SEQUENCE):  # a time point; or the rest names the sequence again, as in flair_flair
        again = first and MODALITY_TOKENS.get(word.text) in found
        return again or (word.text in TIMES and bool(found & NO_TIMES))
    if word.means(*ON_AGENT):
        own = Modality.T1 if word.means(Kind.CONTRAST) else Modality.T1CE  # the word would change its meaning
        return first and (found >= BOTH_T1 or own not in found)
    if word.means(Kind.POST, Kind.PRE, Kind.LETTER):
        return first and bool(found & AFTER_NOTHING)
    return True


def read_clearly(text: str) -> Modality | None:
    """Return the one sequence that a text names; None for none or several."""
    reading: Reading = read_sequence(text)
    return reading.found if isinstance(reading.found, Modality) else None
