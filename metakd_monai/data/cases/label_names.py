"""Recognise file names of label maps, and the tumour's segmentation among them. Reads names only, no files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from metakd_monai.data.cases.sequences import NIFTI, before_target
from metakd_monai.data.cases.word_table import Kind
from metakd_monai.data.cases.words import ABOUT_LABELS, Word, read_words

# Words after a label map's own that say who drew it or which version it is: P01_seg_final, P01_seg_rater2.
BEHIND = re.compile(
    r"\d+|v\d+|(?:rater|reader|expert|observer)\d*|final|manual|manually|corrected|consensus|reviewed|edited|approved"
)
VAGUE = ("mask", "masks", "roi", "rois")  # another word must say of what
UNSAID = "a mask of an unnamed structure"


@dataclass(frozen=True)
class LabelName:
    """What the file name of a label map says.

    Attributes:
        name: of the file.
        reason: why it is not the segmentation of the tumour; empty if it is.
        marks: words that mark it as derived from another (``resampled``).
        start: where the words on the label map begin; everything before belongs to the case.
        given: whether the user's own table names it as the segmentation; then it is preferred to all others.
    """

    name: str
    reason: str = ""
    marks: frozenset[str] = frozenset()
    start: int = 0
    given: bool = False

    @property
    def vague(self) -> bool:
        """Whether the name does not say what it is a mask of."""
        return self.reason == UNSAID


def is_label(name: str) -> bool:
    """Return whether the last words of a file name spell a label map of any kind."""
    return read_label(name) is not None


def read_label(name: str) -> LabelName | None:
    """Read a label map's name; None if its last words do not spell a label map.

    Only the last words count: a case may be called ``label_03``, and ``brain_mask_applied`` is an image.
    """
    words = before_target(read_words(NIFTI.sub("", name)))
    everything = words
    while words and not words[-1].means(*ABOUT_LABELS) and is_behind(words[-1]):
        words = words[:-1]
    if not words or not words[-1].means(Kind.LABEL, Kind.TUMOUR):
        return None
    row = row_of(words)
    if not words[-1].means(Kind.LABEL) and any(w.means(Kind.SEQUENCE, Kind.T1_METHOD) for w in row):
        return None  # P01_T1_tumor: an image
    said = [*row, *everything[len(words) :]]
    marks = frozenset(w.text for w in said if w.means(Kind.DERIVED, Kind.REGISTERED, Kind.ENTITY))
    return LabelName(name, why_not(row), marks, row[0].start)


def is_behind(word: Word) -> bool:
    """Tell whether a label map's name may have this word after its own."""
    return word.means(Kind.ENTITY, Kind.REGISTERED) or BEHIND.fullmatch(word.text) is not None


def row_of(words: Sequence[Word]) -> Sequence[Word]:
    """Return the consecutive words at the end that say what a label map shows."""
    at = len(words) - 1
    while at > 0 and not words[at - 1].means(Kind.UNKNOWN, Kind.CASE):
        at -= 1
    return words[at:]


def why_not(row: Sequence[Word]) -> str:
    """Say why a label map is not the segmentation of the whole tumour; empty if it is."""
    if any(w.means(Kind.MACHINE) for w in row):
        return "made by a program"
    if any(w.means(Kind.PART) for w in row):
        return "of a part of the tumour"
    if any(w.means(Kind.TUMOUR) for w in row):
        return ""
    if any(w.means(Kind.NO_TUMOUR) for w in row):
        return "not of the tumour"
    return UNSAID if all(w.text in VAGUE for w in row if w.means(Kind.LABEL)) else ""


def choose_label(labels: Sequence[LabelName]) -> tuple[str | None, str | None, list[tuple[str, str]]]:
    """Choose the segmentation of the tumour among the label maps of a case.

    Returns:
        Its name; a problem, if several qualify; and the skipped ones, each with the reason.
    """
    usable = [label for label in labels if label.given] or [label for label in labels if not label.reason]
    passed = [(label.name, label.reason) for label in labels if label.reason]
    if not usable:
        return None, None, passed
    fewest = min(len(label.marks) for label in usable)
    plain = [label for label in usable if len(label.marks) == fewest]
    if len(plain) > 1:
        names = ", ".join(label.name for label in plain)
        return None, f"several label maps ({names}); expected one, the tumour's", passed
    passed += [(label.name, "not the label") for label in labels if not label.reason and label is not plain[0]]
    return plain[0].name, None, passed
