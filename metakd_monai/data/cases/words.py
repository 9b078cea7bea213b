"""Split a file name or series description into words with their meanings. Reads text only, no files.

:data:`TABLE` and the vocabulary's ``MODALITY_TOKENS`` are the one table; ``docs/reference/file-names.md`` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from metakd_monai.data.cases.word_table import TABLE, Kind
from metakd_monai.vocabulary import MODALITY_TOKENS

# Without compounds, which are split later: t1post may be the start of t1postop.
WORDS = {kind: tuple(words.split()) for kind, words in TABLE.items()}
WORDS[Kind.SEQUENCE] = tuple(word for word in MODALITY_TOKENS if word not in ("t1post", "t2flair"))
ABOUT_LABELS = (Kind.LABEL, Kind.TUMOUR, Kind.NO_TUMOUR, Kind.PART, Kind.MACHINE)
ENTITY = r"(?<![^\W_])(?:run|task|dir|rec|echo|part|inv|hemi|chunk|space|res|den|desc|acq|ce)-[^\W_]+"
CASE = r"(?<![^\W_])(?:sub|ses)-[^\W_]+"
SIGNS = (  # spellings with signs, and the words that they stand for; the star of T2* is matched apart
    ("without", r"(?<![^\W_])w\s?/\s?o"),
    ("plusc", r"\+\s?c"),
    ("cplus", r"(?<![^\W_])c\+"),
    ("cminus", r"(?<![^\W_])c-(?=[\s_.]|$)"),
    ("cminus", r"(?<=\s)-\s?c"),
    ("plusc", r"(?<=t1)\+(?=[\s_.]|$)"),
    ("plusc", r"(?<=t1w)\+(?=[\s_.]|$)"),
)
PIECES = re.compile(
    "|".join(
        [f"(?P<case>{CASE})", f"(?P<entity>{ENTITY})"]
        + [f"(?P<{word}_{n}>{sign}(?![^\\W_]))" for n, (word, sign) in enumerate(SIGNS)]
        + [r"(?P<star>(?:(?<=t[12])|(?<=t[12]w)|(?<=t[12]\s))\*)", r"(?P<word>[^\W_]+)"]
    ),
    re.IGNORECASE,
)
BEFORE_LETTERS = "_-. ([,"  # a single letter has a meaning only after one of these
WITH = ("w", "with", "mit", "avec", "con")  # with a contrast agent, if glued to its word
GLUED_ALONE = {Kind.CONTRAST, Kind.POST, Kind.PRE, Kind.NATIVE, Kind.WITHOUT, Kind.OPERATION, *ABOUT_LABELS}


@dataclass(frozen=True)
class Word:
    """A lower-case word, all its possible meanings, and its position in the text."""

    text: str
    kinds: frozenset[Kind]
    start: int
    end: int

    def means(self, *kinds: Kind) -> bool:
        """Tell whether the word may have one of these meanings."""
        return not self.kinds.isdisjoint(kinds)


KNOWN = {  # all possible meanings of a word
    word: frozenset(kind for kind, row in WORDS.items() if word in row) for words in WORDS.values() for word in words
}
MOVED = re.compile(r"[rwms]{1,3}(?=flair|fla|t1|t2|ct1)")  # SPM's prefixes for a registered image, rT1, wmFLAIR
STEPS = re.compile(r"2(?=(?:flair|fla|t1|t2|ct1))")  # t12flair: t1 to flair


@lru_cache(maxsize=4096)
def split_glued(text: str) -> tuple[str, ...] | None:
    """Split a lower-case word, such as ``t1wpostgd``, into words of the table; None if that is impossible."""
    if not text:
        return ()
    if re.fullmatch(r"\d{1,2}", text):
        return (text,)
    for end in range(1, len(text) + 1):
        piece, rest = text[:end], text[end:]
        long = len(piece) > 1 or (piece == "w" and KNOWN.get(rest, frozenset()) & {Kind.CONTRAST, Kind.POST})
        usable = STEPS.match(text) if piece == "2" else piece in KNOWN and long
        if not usable or (piece[-1].isdigit() and rest[:1].isdigit() and not STEPS.match(rest)):
            continue
        following = split_glued(rest)
        if following is not None:
            return (piece, *following)
    return None


def take_apart(text: str) -> tuple[str, ...]:
    """Return the words that make up a run of lower-case letters and digits; the run itself if it is one word."""
    if text in KNOWN or len(text) > 40:
        return (text,)
    front = MOVED.match(text)
    behind: tuple[str, ...] | None = take_apart(text[front.end() :]) if front else None
    if front and behind and behind[0] in KNOWN:
        return (front.group(), *behind)
    pieces = split_glued(text)
    if pieces is None and (digits := re.match(r"\d+(?=[a-z])", text)):
        behind = split_glued(text[digits.end() :])
        pieces = None if behind is None else (digits.group(), *behind)
    if pieces is None:
        return around_flair(text)
    said = [KNOWN.get(piece, frozenset()) for piece in pieces]
    alone = all(kinds & GLUED_ALONE or piece in WITH for piece, kinds in zip(pieces, said, strict=True))
    alone = alone and any(kinds & GLUED_ALONE for kinds in said)
    named = any(kinds & {Kind.SEQUENCE, Kind.LABEL, Kind.T1_METHOD} for kinds in said)
    return pieces if alone or named else (text,)


def around_flair(text: str) -> tuple[str, ...]:
    """Split a word at ``flair``, so that the parts before and after it are read separately."""
    front, flair, behind = text.partition("flair")
    return tuple(piece for piece in (front, flair, behind) if piece) if flair else (text,)


@lru_cache(maxsize=4096)
def read_words(text: str) -> tuple[Word, ...]:
    """Return the words of a text: of a file name without its ending, or of a series description."""
    words: list[Word] = []
    for match in PIECES.finditer(text):
        found, start, group = match.group().lower(), match.start(), match.lastgroup or ""
        if group in ("case", "entity"):
            words += read_entity(found, start, Kind.CASE if group == "case" else Kind.ENTITY)
            continue
        if group != "word":
            spelled = group.split("_")[0]
            words.append(Word(spelled, KNOWN[spelled], start, match.end()))
            continue
        pieces = take_apart(found)
        moved = len(pieces) > 1 and MOVED.match(found) is not None
        for n, piece in enumerate(pieces):
            kinds = KNOWN["r"] if moved and n == 0 else KNOWN.get(piece, frozenset({Kind.UNKNOWN}))
            if len(piece) == 1 and start > 0 and n == 0 and text[start - 1] not in BEFORE_LETTERS:
                kinds = frozenset({Kind.UNKNOWN})
            words.append(Word(piece, kinds, start, start + len(piece)))
            start += len(piece)
    return tuple(join_pairs(words))


def read_entity(found: str, start: int, kind: Kind) -> list[Word]:
    """Return the words of a BIDS entity: ``ce-gadolinium`` is a contrast agent, ``ce-T1`` is T1 with one."""
    key, _, value = found.partition("-")
    whole = Word(found, frozenset({kind}), start, start + len(found))
    if key == "ce":
        plain = read_words(value)
        named = [Word(w.text, w.kinds, w.start + start + 3, w.end + start + 3) for w in plain]
        agent = Word("ce", KNOWN["ce"], start, start + 2)
        if any(w.means(Kind.SEQUENCE) for w in named):
            return [agent, *named]
        none = value in ("none", "no") or any(w.means(Kind.NATIVE, Kind.PRE) for w in named)
        return [whole if none else Word(found, KNOWN["ce"], start, start + len(found))]
    if key in ("sub", "ses", "space"):
        return [whole]
    inside, skipped = read_words(value), start + len(key) + 1
    return [whole, *(Word(w.text, w.kinds, w.start + skipped, w.end + skipped) for w in inside if w.means(*INSIDE))]


INSIDE = (*ABOUT_LABELS, Kind.DERIVED, Kind.SEQUENCE, Kind.CONTRAST, Kind.POST, Kind.PRE, Kind.NATIVE, Kind.OTHER)
PAIRS = {("dark", "fluid"): Kind.DARK_FLUID, ("da", "fl"): Kind.DARK_FLUID}


def join_pairs(words: Sequence[Word]) -> list[Word]:
    """Join two words with one meaning: dark fluid; before or after an operation, which means nothing here."""
    joined: list[Word] = []
    for word in words:
        last = joined[-1] if joined else None
        kind = PAIRS.get((last.text, word.text)) if last else None
        if last and last.means(Kind.POST, Kind.PRE) and word.means(Kind.OPERATION):
            kind = Kind.NEUTRAL
        if last and kind:
            joined[-1] = Word(f"{last.text}{word.text}", frozenset({kind}), last.start, word.end)
        else:
            joined.append(word)
    return joined
