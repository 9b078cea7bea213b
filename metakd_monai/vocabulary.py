"""Names and orders that everything else refers to: sequences, regions, label values, spellings.

Declaration order is channel order, everywhere: images are ``(flair, t1, t1ce, t2)``, region maps
``(ET, TC, WT)``. This is also the channel order of the MSD Task01 4-D files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from itertools import combinations
from typing import TypeVar

Member = TypeVar("Member")


class Modality(str, Enum):
    """The four MRI sequences of BraTS."""

    FLAIR = "flair"
    T1 = "t1"
    T1CE = "t1ce"
    T2 = "t2"


WORKING_AXES = "LPS"  # axes of BraTS' volumes, and of every image that the network sees


class Region(str, Enum):
    """The three nested tumour regions that BraTS scores, innermost first."""

    ET = "ET"
    TC = "TC"
    WT = "WT"


class Label(int, Enum):
    """Values of a BraTS label map. Enhancing tumour is 4 until BraTS 2022 and 3 from 2023 on."""

    BACKGROUND = 0
    NECROSIS = 1
    OEDEMA = 2
    ET_2023 = 3
    ET = 4


ET_LABELS = (int(Label.ET_2023), int(Label.ET))


@dataclass(frozen=True)
class LabelConvention:
    """What the values of a label map mean; ``outside`` are values that are in none of ET, TC and WT."""

    name: str
    necrosis: int = int(Label.NECROSIS)
    oedema: int = int(Label.OEDEMA)
    enhancing: int = int(Label.ET)
    outside: tuple[int, ...] = ()

    @property
    def values(self) -> frozenset[int]:
        """All values that a label map may have, the background's among them."""
        known = {int(Label.BACKGROUND), self.necrosis, self.oedema, self.enhancing}
        return frozenset(known.union(self.outside))


BRATS_LABELS = LabelConvention("BraTS 2018 to 2022")
BRATS_2023_LABELS = LabelConvention("BraTS 2023", enhancing=int(Label.ET_2023))
BRATS_2024_LABELS = LabelConvention("BraTS 2024 GLI", enhancing=int(Label.ET_2023), outside=(4,))  # resection cavity
MSD_LABELS = LabelConvention("MSD Task01", necrosis=2, oedema=1, enhancing=3)

# Spellings of a sequence in one word, lower case. File names have more, see metakd_monai.cases.words.
MODALITY_TOKENS: dict[str, Modality] = {
    **dict.fromkeys(("flair", "fla", "t2f", "t2flair"), Modality.FLAIR),
    **dict.fromkeys(("t1", "t1n", "t1w", "t1wi"), Modality.T1),
    **dict.fromkeys(("t1ce", "t1c", "t1gd", "t1post", "t1wc", "ct1"), Modality.T1CE),
    **dict.fromkeys(("t2", "t2w", "t2wi"), Modality.T2),
}


# What PyTorch, oneDNN, C++ and the loader of libraries say when memory runs out, lower case.
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "could not create a primitive",
    "bad_alloc",
    "failed to map segment",
)


class UserError(ValueError):
    """Something the user gave cannot be used; the message is one line that says where, what and what was expected."""


def find_user_error(error: BaseException | None) -> UserError | None:
    """Return the UserError that an exception was raised from, if any; a chain that bites its tail is followed once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UserError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def in_one_line(reason: object, longest: int = 200) -> str:
    """Return an error's words, as far as ``longest`` characters, in one line: for the message of a UserError."""
    return " ".join(str(reason).split())[:longest]


def find_cause(error: BaseException) -> BaseException:
    """Return what an exception was raised from in the first place: MONAI's Compose wraps what a transform raises."""
    seen: set[int] = set()
    while error.__cause__ is not None and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__
    return error


def explain(error: BaseException) -> str:
    """Return what went wrong in one line: the UserError that it was raised from, or else the first cause."""
    known = find_user_error(error)
    if known is not None:
        return str(known)
    error = find_cause(error)
    words = f"{type(error).__name__}: {in_one_line(error, 300)}".removesuffix(": ")
    if is_out_of_memory(error):
        return f"out of memory ({words}); expected more memory, fewer --jobs or smaller images"
    return words


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a device or the process ran out of memory."""
    if isinstance(error, MemoryError):
        return True
    known = isinstance(error, (RuntimeError, OSError, ImportError))
    return known and any(words in str(error).lower() for words in OUT_OF_MEMORY)


def modality_subsets(modalities: Iterable[Modality] = Modality) -> list[tuple[Modality, ...]]:
    """Return every non-empty set of sequences, fewest first: the 15 rows of the paper's Table 1, in its order."""
    return subsets_of([m for m in Modality if m in set(modalities)])


def subsets_of(members: Sequence[Member]) -> list[tuple[Member, ...]]:
    """Return every non-empty subset, fewest first, in the order of the members."""
    return [subset for size in range(1, len(members) + 1) for subset in combinations(members, size)]


def check_modalities(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise UserError for a name that is not among a task's modalities."""
    expected = tuple(known)
    for name in names:
        if name not in expected:
            raise UserError(f"modalities: {name!r} found; expected some of {', '.join(expected)}")


def parse_modalities(names: str | Iterable[str] | None) -> tuple[Modality, ...]:
    """Turn names of sequences, in any BraTS or BIDS spelling, into modalities in channel order.

    Args:
        names: ``"flair,t1ce"``, ``["flair", "t1ce"]``, or None for all four.

    Raises:
        UserError: for an unknown name (with the closest right one) or an empty list.
    """
    if names is None:
        return tuple(Modality)
    words = names.split(",") if isinstance(names, str) else [str(getattr(name, "value", name)) for name in names]
    wanted = {parse_modality(word.strip()) for word in words if word.strip()}
    if not wanted:
        raise UserError(f"modalities: the list is empty; expected some of {', '.join(MODALITY_NAMES)}")
    return tuple(m for m in Modality if m in wanted)


def parse_modality(word: str) -> Modality:
    """Turn one name of a sequence into a modality; raises UserError with the closest right name."""
    if word.lower() in MODALITY_TOKENS:
        return MODALITY_TOKENS[word.lower()]
    close = get_close_matches(word.lower(), MODALITY_TOKENS, n=1, cutoff=0.4)
    hint = f"did you mean {MODALITY_TOKENS[close[0]].value!r}? " if close else ""
    raise UserError(f"modalities: unknown modality {word!r}; {hint}expected some of {', '.join(MODALITY_NAMES)}")


MODALITY_NAMES = tuple(m.value for m in Modality)
REGION_NAMES = tuple(r.value for r in Region)
