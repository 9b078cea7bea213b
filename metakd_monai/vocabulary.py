"""Names and orders for everything else: sequences, regions, label values, spellings.

Declaration order is channel order, everywhere: images are ``(flair, t1, t1ce, t2)``, region maps
``(ET, TC, WT)``. This is also the channel order of the MSD Task01 4-D files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from itertools import combinations
from typing import Any, TypeVar

from metakd_monai.errors import UserError

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


def split_regions(labels: Any, convention: LabelConvention | None = None) -> list[Any]:
    """Return the masks of ET, TC and WT, in this order, of a label map, an array or a tensor; each of its shape, bool.

    Without a convention, 3 and 4 are both enhancing tumour, and 1 and 2 mean what they mean in every BraTS. Values
    unknown to the convention are in no region.
    """
    known = convention or BRATS_LABELS
    enhancing = labels == known.enhancing
    if convention is None:
        enhancing = enhancing | (labels == int(Label.ET_2023))
    core = enhancing | (labels == known.necrosis)
    masks = {Region.ET: enhancing, Region.TC: core, Region.WT: core | (labels == known.oedema)}
    return [masks[region] for region in Region]


# Spellings of a sequence in one word, lower case. File names have more, see metakd_monai.data.cases.words.
MODALITY_TOKENS: dict[str, Modality] = {
    **dict.fromkeys(("flair", "fla", "t2f", "t2flair"), Modality.FLAIR),
    **dict.fromkeys(("t1", "t1n", "t1w", "t1wi"), Modality.T1),
    **dict.fromkeys(("t1ce", "t1c", "t1gd", "t1post", "t1wc", "ct1"), Modality.T1CE),
    **dict.fromkeys(("t2", "t2w", "t2wi"), Modality.T2),
}


def modality_subsets(modalities: Iterable[Modality] = Modality) -> list[tuple[Modality, ...]]:
    """Return every non-empty set of sequences, fewest first: the 15 rows of the paper's Table 1, in its order."""
    return subsets_of([m for m in Modality if m in set(modalities)])


def name_subset(subset: Sequence[Modality]) -> str:
    """Name a subset, as ``flair+t1ce``."""
    return "+".join(m.value for m in subset)


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
