"""Group the file names of one folder into cases: find the file of each sequence, and the label. No file is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from metakd_monai.data.cases.label_names import BEHIND, LabelName, choose_label, read_label
from metakd_monai.data.cases.name_table import LABEL, NONE, NameTable
from metakd_monai.data.cases.sequences import NIFTI, Ambiguous, Reading, read_sequence
from metakd_monai.data.cases.shared import ImageName, clean, join_copies, longest_prefix, read_together
from metakd_monai.data.cases.word_table import Kind
from metakd_monai.data.cases.words import ABOUT_LABELS, read_words
from metakd_monai.vocabulary import Modality

MOST_NAMED = 4  # how many files a note names for each reason
SERIES = re.compile(r"(?:s|se|ser|series)?[_ -]?\d+", re.IGNORECASE)  # a series number, not a patient number


@dataclass(frozen=True)
class Group:
    """The files of one case in a folder, by name.

    Attributes:
        prefix: the part of their names that names the case; may be empty.
        files: of each sequence.
        label: the segmentation of the tumour.
        problem: why the case cannot be used.
        label_problem: why its label cannot be used, though its images can.
        notes: what was skipped, and why.
        marks: words that mark all its images as derived from others.
    """

    prefix: str
    files: Mapping[Modality, str] = field(default_factory=dict)
    label: str | None = None
    problem: str | None = None
    label_problem: str | None = None
    notes: tuple[str, ...] = ()
    marks: frozenset[str] = frozenset()


def group_names(names: Sequence[str], table: NameTable | None = None) -> list[Group]:
    """Group the NIfTI files of a folder into cases; none if no name has a sequence.

    Args:
        names: of the files.
        table: the user's own names, which take precedence.
    """
    images, labels, passed = sort_out(names, table or NameTable())
    if not images:
        return []
    parts, problem = arrange(images)
    maps = {prefix for prefix in parts if is_label_map(prefix, parts)}
    passed += [(i.name, "a label map?") for prefix in maps for i in parts[prefix]]
    rest = {prefix: members for prefix, members in parts.items() if prefix not in maps}
    groups = []
    for number, (prefix, members) in enumerate(rest.items()):
        mine = labels if len(rest) == 1 else [label for label in labels if owner_of(label, rest) == prefix]
        mine = [question_label(label, prefix) for label in mine]
        strangers = [] if number or len(rest) == 1 else strange_labels(labels, rest)
        groups.append(make_group(prefix, members, mine, passed + strangers if not number else []))
    return [replace(group, problem=problem) for group in groups] if problem else groups


def sort_out(names: Sequence[str], table: NameTable) -> tuple[list[ImageName], list[LabelName], list[tuple[str, str]]]:
    """Sort files into images, label maps and others, with reasons."""
    images, labels, passed = [], [], []
    for name in names:
        stem, given, label = NIFTI.sub("", name), table.look_up(name), read_label(name)
        if given is not None:
            target, end = given
            if target == NONE:
                passed.append((name, "by --names"))
            elif target == LABEL:
                labels.append(LabelName(name, start=end, given=True))
            elif isinstance(target, Modality):
                images.append(ImageName(name, clean(stem[:end]), Reading(target, frozenset(), end), given=True))
        elif label is not None:
            labels.append(label)
        else:
            reading = read_sequence(stem)
            if reading.found is None:
                passed.append((name, "not one of the four sequences"))
            else:
                images.append(ImageName(name, clean(stem[: reading.start]), reading))
    return images, labels, passed


def arrange(images: Sequence[ImageName]) -> tuple[dict[str, list[ImageName]], str | None]:
    """Group the images by the part of their names that names the case; if that is impossible, say why.

    Names with different beginnings belong to one case if no sequence occurs twice, and the beginnings are series
    numbers or one of them is part of all others. They belong to several cases if sequences repeat.
    """
    alike: dict[str, list[ImageName]] = {}
    for image in images:
        alike.setdefault(image.prefix, []).append(image)
    parts: dict[str, list[ImageName]] = {}
    for prefix, members in alike.items():
        own = read_together(prefix, [image for image in members if not image.given])
        parts.setdefault(longest_prefix(prefix, own), []).extend([*own, *(i for i in members if i.given)])
    parts = join_copies(parts)
    if len(parts) == 1:
        return parts, None
    found = {prefix: {i.reading.found for i in members} for prefix, members in parts.items()}
    counts = Counter(modality for members in found.values() for modality in members)
    several = max(counts.values()) > 1
    if several and (len(counts) == 1 or any(len(members) > 1 for members in found.values())):
        return parts, None
    everything = [image for members in parts.values() for image in members]
    first = min(parts, key=len)
    if not several and all(SERIES.fullmatch(prefix) or prefix == first for prefix in parts if prefix):
        return {"" if SERIES.fullmatch(first) else first: everything}, None
    if not several and all(prefix.startswith(first) for prefix in parts):
        return {first: everything}, None
    names = ", ".join(i.name for i in everything[:MOST_NAMED])
    return {"": everything}, (
        f"names of one patient or of several? ({names}); expected names that begin alike for each case, or --flair FILE"
        " and so on for one case"
    )


def is_label_map(prefix: str, parts: Mapping[str, Sequence[ImageName]]) -> bool:
    """Tell whether images are in fact label maps on the grid of a sequence: ``P1_brain_mask_T1`` beside ``P1_T1``."""
    words = read_words(prefix)
    others = {other for other in parts if other != prefix}
    for n in range(len(words) - 1, -1, -1):
        if not words[n].means(*ABOUT_LABELS, Kind.DERIVED):
            return False
        if any(word.means(Kind.LABEL) for word in words[n:]) and clean(prefix[: words[n].start]) in others:
            return True
    return False


def strange_labels(labels: Sequence[LabelName], groups: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the label maps that belong to none of the cases."""
    return [(m.name, "a label map that belongs to no case") for m in labels if owner_of(m, groups) is None]


def owner_of(label: LabelName, groups: Iterable[str]) -> str | None:
    """Return the longest case prefix that a label map's name begins with; None if there is none."""
    fitting = [p for p in groups if label.name.startswith(p) and not label.name[len(p) : len(p) + 1].isalnum()]
    return max(fitting, key=len, default=None)


def question_label(label: LabelName, prefix: str) -> LabelName:
    """Refuse a label map with unknown words between the case's name and its own: ``P1_fast_seg`` of ``P1``."""
    between = read_words(label.name[len(prefix) : label.start]) if prefix and label.name.startswith(prefix) else ()
    odd = [word.text for word in between if not BEHIND.fullmatch(word.text)]
    return replace(label, reason=f"unknown: {' '.join(odd)}") if odd and not (label.reason or label.given) else label


def make_group(
    prefix: str, images: Sequence[ImageName], labels: Sequence[LabelName], passed: list[tuple[str, str]]
) -> Group:
    """Choose one file for each sequence, and the label."""
    clear = [image for image in images if isinstance(image.reading.found, Modality)]
    chosen, problem = choose_images(clear)
    for image in images:
        found = image.reading.found
        if not isinstance(found, Ambiguous):
            continue
        passed = [*passed, (image.name, f"{found}?")]
        if problem is None and not set(found.readings) <= set(chosen):
            problem = (
                f"{image.name} may be {found}; expected a name with one reading (docs/reference/file-names.md),"
                f" --names TABLE, or --{found.readings[0].value} FILE and so on"
            )
    files = {modality: image.name for modality, image in chosen.items()}
    passed = [*passed, *((i.name, why_passed(i)) for i in clear if i.name not in files.values())]
    label, label_problem, others = choose_label(labels)
    notes = () if problem else describe_passed([*passed, *others], files)
    marks = frozenset.intersection(*(i.reading.marks for i in chosen.values())) if chosen else frozenset()
    return Group(prefix, files, label, problem, label_problem, notes, marks)


def choose_images(images: Sequence[ImageName]) -> tuple[dict[Modality, ImageName], str | None]:
    """Choose one image for each sequence; if that is impossible, say why.

    All should be of one kind, that is, share the words for how an image was derived (none for the original). The kind
    with the most sequences is preferred; on a tie, the one with the fewest words: the original.
    """
    options: dict[Modality, list[ImageName]] = {}
    for image in images:
        if isinstance(image.reading.found, Modality):
            options.setdefault(image.reading.found, []).append(image)
    kinds = Counter(marks for members in options.values() for marks in {i.reading.marks for i in members})

    def rank(image: ImageName) -> tuple[bool, int, int]:
        return (not image.given, -kinds[image.reading.marks], len(image.reading.marks))

    chosen: dict[Modality, ImageName] = {}
    problem = None
    for modality in (m for m in Modality if m in options):
        first, *others = sorted(options[modality], key=rank)
        chosen[modality] = first
        if others and rank(others[0]) == rank(first) and problem is None:
            problem = f"two files for {modality.value!r} ({first.name}, {others[0].name}); expected at most one"
    return chosen, problem


def why_passed(image: ImageName) -> str:
    """Say why another file of the same sequence was preferred to this one."""
    marks = ", ".join(sorted(image.reading.marks))
    return f"its name says {marks}" if marks else "not of the same kind as most others"


def describe_passed(passed: Sequence[tuple[str, str]], files: Mapping[Modality, str]) -> tuple[str, ...]:
    """Return a note of the skipped files, in one line; nothing if there are none."""
    reasons: dict[str, list[str]] = {}
    for name, reason in passed:
        reasons.setdefault(reason, []).append(name)
    if not reasons:
        return ()
    told = [f"{', '.join(shorten(names))} ({reason})" for reason, names in reasons.items()]
    option = f"--{next(iter(files), Modality.FLAIR).value} FILE"
    return (f"skipped {'; '.join(told)}; --names TABLE, or {option} for one case, selects another",)


def shorten(names: Sequence[str]) -> list[str]:
    """Return the first few of many names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return [*names[:MOST_NAMED], f"{more} more"] if more > 0 else list(names)
