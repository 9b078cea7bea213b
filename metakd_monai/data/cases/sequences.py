"""Recognise the sequence in a file name or series description. Reads text only, no files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from metakd_monai.data.cases.word_table import Kind
from metakd_monai.data.cases.words import ABOUT_LABELS, Word, read_words
from metakd_monai.vocabulary import MODALITY_TOKENS, Modality

NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
CASE_WORDS = frozenset({Kind.UNKNOWN, Kind.CASE, *ABOUT_LABELS})  # end the words that belong to a sequence
NAMING = (Kind.SEQUENCE, Kind.DARK_FLUID)
AGENT = re.compile("gd|gad|contr|enhanc|post")  # mark a contrast agent in an unknown word
FLAIR, T1, T1CE, T2 = Modality


@dataclass(frozen=True)
class Ambiguous:
    """A text with several possible sequences; ``readings`` in channel order."""

    readings: tuple[Modality, ...]

    def __str__(self) -> str:
        """Return the possible readings as text."""
        return " or ".join(modality.value for modality in self.readings)


@dataclass(frozen=True)
class Reading:
    """What a text names.

    Attributes:
        found: the sequence; None for none of the four; or the possible ones.
        marks: words that mark the image as derived from another (``bias``, ``to``, ``run-2``).
        start: where the words on the sequence begin; everything before belongs to the case.
    """

    found: Modality | Ambiguous | None
    marks: frozenset[str] = frozenset()
    start: int = 0


def recognise(text: str) -> Modality | Ambiguous | None:
    """Return the sequence that a file name or series description names; None for another kind of image or no image."""
    return read_sequence(NIFTI.sub("", text)).found


@lru_cache(maxsize=4096)
def read_sequence(text: str) -> Reading:
    """Read a text; see :class:`Reading`."""
    words = read_words(text)
    kept = before_target(words)
    marks = frozenset(w.text for w in words if w.means(Kind.DERIVED, Kind.REGISTERED, Kind.ENTITY))
    marks |= {"to"} if len(kept) < len(words) else frozenset()
    at = find_named(kept)
    if not at:
        return Reading(None, marks, len(text))
    first = run_start(kept, at[-1])
    start = kept[first].start
    if any(w.means(Kind.OTHER) for w in kept[min(at[0], first) :]):
        return Reading(None, marks, start)
    named = {name_of(kept, n) for n in at}
    if named == {T2, FLAIR}:
        named = read_t2_flair(kept, at)
    if named == {T2} and any(w.means(Kind.UNSURE) for w in kept):
        named = {T2, FLAIR}
    if named == {T1} or named == {T1CE}:
        named = read_contrast(kept, at)
    ordered = tuple(m for m in Modality if m in named)
    return Reading(ordered[0] if len(ordered) == 1 else Ambiguous(ordered), marks, start)


def find_named(words: Sequence[Word]) -> list[int]:
    """Return the indices of the words that name a sequence; if none does, of those that name a T1 method."""
    return [n for n, w in enumerate(words) if w.means(*NAMING)] or [
        n for n, w in enumerate(words) if w.means(Kind.T1_METHOD)
    ]


def name_of(words: Sequence[Word], at: int) -> Modality:
    """Return the sequence that a word names."""
    word = words[at]
    return FLAIR if word.means(Kind.DARK_FLUID) else MODALITY_TOKENS.get(word.text, T1)


def run_start(words: Sequence[Word], at: int) -> int:
    """Return where the consecutive words on a named sequence begin."""
    while at > 0 and not (words[at - 1].kinds <= CASE_WORDS or words[at - 1].means(Kind.ONTO)):
        at -= 1
    return at


def before_target(words: Sequence[Word]) -> list[Word]:
    """Return the words on the image itself, without those on the image that it was registered to, if one is named.

    ``X_to_Y``, ``X_reg_Y``, ``X_in_Y_space``, ``X_Y_space``, ``r_X_Y``. A target without an image before it
    (``scan_to_T1``) leaves no word that names a sequence.
    """
    images = [n for n, w in enumerate(words) if w.means(*NAMING, Kind.OTHER)] or find_named(words)
    if not images:
        return list(words)
    cut = next((n for n in range(1, len(words)) if is_connector(words, n, images)), len(words))
    if cut == len(words) and is_moved_pair(words, images) and name_pair(words, images) != (T2, FLAIR):
        cut = images[1]
    return list(words[:cut])


def is_connector(words: Sequence[Word], n: int, images: Sequence[int]) -> bool:
    """Tell whether a word says that the image named before it was registered to the one named after it."""
    word, later, earlier = words[n], images[-1] > n, images[0] < n
    if word.means(Kind.REGISTERED):
        return earlier and later
    if not word.means(Kind.ONTO):
        return False
    if word.text == "2":  # or a number
        return earlier and later and not words[n - 1].kinds <= CASE_WORDS
    if earlier:
        return True
    return later and (word.text in ("to", "onto", "into") or words[-1].text == "space")


def is_moved_pair(words: Sequence[Word], images: Sequence[int]) -> bool:
    """Tell whether two images are named side by side, the first registered to the second: ``r_X_Y``, ``X_Y_space``."""
    if len(images) < 2 or images[1] != images[0] + 1:
        return False
    front = any(w.means(Kind.REGISTERED) for w in words[run_start(words, images[0]) : images[0]])
    return front or (images[1] == len(words) - 2 and words[-1].text == "space")


def name_pair(words: Sequence[Word], images: Sequence[int]) -> tuple[Modality, Modality]:
    """Return the sequences that the first two of these words name."""
    return name_of(words, images[0]), name_of(words, images[1])


def read_t2_flair(words: Sequence[Word], at: Sequence[int]) -> set[Modality]:
    """Return FLAIR if T2 and FLAIR stand together, as T2-FLAIR; both if one may be registered to the other."""
    apart = any(w.kinds <= CASE_WORDS for w in words[at[0] : at[-1]])
    return {T2, FLAIR} if apart or is_moved_pair(words, at) else {FLAIR}


def read_contrast(words: Sequence[Word], at: Sequence[int]) -> set[Modality]:
    """Return T1, T1ce, or both, by what the words around a T1 say about a contrast agent."""
    first = run_start(words, at[0])
    named = words[at[0]]
    says: set[Modality] = set()
    for n in range(first, len(words)):
        says |= evidence(words[first:], n - first, named, after_case=first > 0)
    if name_of(words, at[0]) is T1CE:
        says.add(T1CE)
    if named.text == "t1n":
        says.add(T1)
    far = any(w.means(Kind.CONTRAST) or (w.means(Kind.POST) and T1 not in says) for w in words[:first])
    return says or ({T1, T1CE} if far else {T1})


def evidence(words: Sequence[Word], n: int, named: Word, after_case: bool) -> set[Modality]:
    """Return what one word near a T1 says: T1 (no contrast agent), T1ce, both or nothing.

    ``after`` and ``before`` may refer to an operation, so between a case's name and the sequence ``after`` means both.
    ``without`` and ``before`` negate the contrast agent that follows.
    """
    word = words[n]
    following = n + 1 < len(words) and words[n + 1].means(Kind.CONTRAST, Kind.LETTER, Kind.WITHOUT)
    turned = any(w.means(Kind.WITHOUT, Kind.PRE) for w in leading(words, n))
    if word.means(Kind.WITHOUT):
        if n > 0 and words[n - 1].text == "and":  # with and without
            return {T1, T1CE}
        return {T1} if following or word.text in ("without", "wo", "ohne", "sans") else set()
    if word.means(Kind.PRE, Kind.NATIVE):
        return {T1}
    if word.means(Kind.POST):
        return {T1, T1CE} if after_case and word.start < named.start and not following else {T1CE}
    if word.means(Kind.CONTRAST):
        return {T1} if turned else {T1CE}
    if (
        word.means(Kind.UNKNOWN)
        and word.start > named.start
        and may_be_contrast(word, right_after=words[n - 1] is named)
    ):
        return {T1, T1CE}
    if word.means(Kind.LETTER):
        return {T1CE} if n > 0 and words[n - 1] is named else {T1, T1CE}
    return set()


def may_be_contrast(word: Word, right_after: bool) -> bool:
    """Tell whether an unknown word may mean a contrast agent: by its letters, or as two or three letters after T1."""
    return AGENT.search(word.text) is not None or (right_after and word.text.isalpha() and len(word.text) in (2, 3))


def leading(words: Sequence[Word], n: int) -> list[Word]:
    """Return the agents and negations directly before a word, which belong to it: ``without GD contrast``."""
    found: list[Word] = []
    for word in reversed(words[:n]):
        if not word.means(Kind.CONTRAST, Kind.WITHOUT, Kind.PRE):
            break
        found.append(word)
    return found
