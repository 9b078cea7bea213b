"""The Markdown report of a study."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from metakd_monai.apps.study.aims import check_aims, violations
from metakd_monai.apps.study.evidence import ALL, Evidence, Source, summarise
from metakd_monai.apps.study.weights_compared import OURS, WITHOUT, Runs, compare_lines, dropping_lines
from metakd_monai.data.markdown import markdown_table
from metakd_monai.metrics.means import DASH, show
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES, Modality

Values = Callable[[str], Mapping[str, float]]  # from a region to a value for each case


@dataclass(frozen=True)
class Content:
    """The content of a report.

    Attributes:
        title: its heading.
        notes: lines on weights, rules and version.
        evidence: of all cases.
        sources: by case.
        failed: why cases could not be used, by case.
        runs: other weights on the same cases.
        pictures: file names, by case.
        gallery: file name of the failures.
        extra: further sections, ready made.
    """

    title: str
    notes: Sequence[str]
    evidence: Evidence
    sources: Mapping[str, Source]
    failed: Mapping[str, str]
    runs: Runs = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    gallery: str | None = None
    extra: Sequence[str] = ()


def make_report(content: Content) -> str:
    """Return the whole report; cases used in training have separate tables and count nowhere else."""
    unseen = content.evidence.only(lambda row: not row.trained_on)
    seen = content.evidence.only(lambda row: row.trained_on)
    lines = [f"# {content.title}", "", *content.notes, "", "## Cases", "", *case_lines(content)]
    if unseen.rows:
        lines += ["", "## Aims", "", *aim_lines(unseen), *violation_lines(unseen), *tables(unseen, "")]
    if seen.rows:
        lines += tables(seen, "Trained on: ")
    if content.runs and unseen.rows:
        lines += comparison_lines(content.runs, unseen)
    return "\n".join([*lines, *content.extra, *picture_lines(content)]) + "\n"


def case_lines(content: Content) -> list[str]:
    """Return a table of the cases, and why others failed."""
    rows = []
    for case in content.evidence.cases:
        source = content.sources[case]
        names = (content.evidence.full[case].replace("+", ", "), source.labels, ", ".join(source.regions))
        rows.append([case, *names, "yes" if source.trained_on else "no"])
    return [
        *markdown_table(["case", "sequences", "reference labels", "regions it has", "seen in training"], rows, "l"),
        *(f"\nFailed: {case}: {reason}" for case, reason in content.failed.items()),
        "",
        "A region that a reference does not have is not scored in that case: (n) is how many cases count.",
    ]


def aim_lines(evidence: Evidence) -> list[str]:
    """Return a table of the aims, over all cases never trained on and by who drew their labels."""
    groups = evidence.by_labels()
    groups = {"all": evidence, **groups} if len(groups) > 1 else groups
    columns = [check_aims(group) for group in groups.values()]
    lines = ["Cases never trained on. Dice, number of cases, verdict; by reference labels.", ""]
    lines += ["| | " + " | ".join(groups) + " |", "|---|" + "---|" * len(groups)]
    for aims in zip(*columns, strict=True):
        lines.append(f"| {aims[0].what} | " + " | ".join(aim.verdict for aim in aims) + " |")
    cells = [str(len(found)) if (found := violations(group)) else "none" for group in groups.values()]
    cells = [f"{cell} {'met' if cell == 'none' else '**not met**'}" for cell in cells]
    return [*lines, "| no subset worse than one of its own by more than 0.02 | " + " | ".join(cells) + " |"]


def violation_lines(evidence: Evidence) -> list[str]:
    """Return the list of subsets that are worse than one of their own."""
    found = violations(evidence)
    if not found:
        return []
    lines = ["", "Subsets worse than one of their own, mean over the cases that have both:", ""]
    rows = [[one.region, one.subset, one.smaller, f"{one.difference:+.3f}", str(one.cases)] for one in found]
    return lines + markdown_table(["region", "given", "better with only", "difference", "cases"], rows, "lllr")


def tables(evidence: Evidence, prefix: str) -> list[str]:
    """Return the tables of some cases: by subset, size, presence of T1ce and FLAIR, and case by case."""
    lines = ["", f"## {prefix}Each subset", "", *subset_lines(evidence)]
    lines += ["", f"## {prefix}Number of sequences", "", *size_lines(evidence)]
    for modality in (Modality.T1CE, Modality.FLAIR):
        lines += ["", f"## {prefix}With and without {modality.value}", "", *presence_lines(evidence, modality.value)]
    return [*lines, "", f"## {prefix}All that each case has", "", *full_lines(evidence)]


def subset_lines(evidence: Evidence) -> list[str]:
    """Return mean Dice and HD95 for each subset, with lowest and highest Dice."""
    heads = [f"{region} {what}" for region in REGION_NAMES for what in ("Dice", "range", "HD95 mm")]
    rows = []
    for subset in evidence.subsets:
        members = subset.split("+")
        cells = ["●" if name in members else "○" for name in MODALITY_NAMES]
        for region in REGION_NAMES:
            dice = summarise(evidence.of(subset, region).values())
            distance = summarise(evidence.of(subset, region, "hd95").values())
            cells += [number(dice), f"{show(dice.lowest, 3)} to {show(dice.highest, 3)}" if dice.cases else DASH]
            cells.append(number(distance, 1))
        rows.append(cells)
    table = markdown_table([*MODALITY_NAMES, *heads], rows, "c" * len(MODALITY_NAMES) + "r")
    return [*table, "", "HD95 is the mean over the cases where the mask is not empty."]


def size_lines(evidence: Evidence) -> list[str]:
    """Return mean Dice by number of sequences; separately for cases with all four, which alone allow a comparison."""
    sizes = range(1, len(MODALITY_NAMES) + 1)

    def rows_of(part: Evidence) -> dict[str, Values]:
        return {f"{size} given": partial(part.over, choose=partial(has_size, size)) for size in sizes}

    complete = evidence.complete(len(MODALITY_NAMES))
    lines = value_lines("all cases", rows_of(evidence))
    if complete.rows and len(complete.cases) < len(evidence.cases):
        lines += ["", *value_lines("cases with all four", rows_of(complete))]
    return lines


def has_size(size: int, members: Collection[str]) -> bool:
    """Tell whether a subset has so many members."""
    return len(members) == size


def presence_lines(evidence: Evidence, modality: str) -> list[str]:
    """Return mean Dice over the subsets with and without a sequence, and the gain from adding it to others."""
    rows: dict[str, Values] = {
        f"subsets with {modality}": partial(evidence.over, choose=lambda members: modality in members),
        f"subsets without {modality}": partial(evidence.over, choose=lambda members: modality not in members),
        f"gain from adding {modality} to others": partial(evidence.gain, modality=modality),
    }
    return value_lines("mean over a case's subsets, then over cases", rows)


def value_lines(head: str, rows: Mapping[str, Values]) -> list[str]:
    """Return a table of means over cases, a column for each region."""
    cells = [
        [title, *(number(summarise(values(region).values())) for region in REGION_NAMES)]
        for title, values in rows.items()
    ]
    return markdown_table([head, *REGION_NAMES], cells)


def full_lines(evidence: Evidence) -> list[str]:
    """Return Dice and HD95 of each case from all its sequences."""
    heads = ["case", "sequences", "labels"]
    heads += [f"{region} {what}" for region in REGION_NAMES for what in ("Dice", "HD95 mm")]
    rows = []
    labels = {row.case: row.labels for row in evidence.rows}
    for case in evidence.cases:
        cells = [case, evidence.full[case], labels[case]]
        for region in REGION_NAMES:
            cells.append(show(evidence.of(ALL, region).get(case, float("nan")), 3))
            cells.append(show(evidence.of(ALL, region, "hd95").get(case, float("nan")), 1))
        rows.append(cells)
    means = [
        number(summarise(evidence.of(ALL, region, metric).values()), digits)
        for region in REGION_NAMES
        for metric, digits in (("dice", 3), ("hd95", 1))
    ]
    return [*markdown_table(heads, rows, "lllr"), "| **mean** | | | " + " | ".join(means) + " |"]


def comparison_lines(runs: Runs, evidence: Evidence) -> list[str]:
    """Return the sections on other weights; the cases are those never trained on."""
    lines = ["", "## Weights side by side", "", *compare_lines(runs)]
    if WITHOUT in runs:
        ours = runs.get(OURS, [evidence])
        lines += ["", "## Against a network trained without dropping", "", *dropping_lines(ours, runs[WITHOUT])]
    return lines


def picture_lines(content: Content) -> list[str]:
    """Return the section that shows the pictures."""
    if not content.pictures:
        return []
    lines = ["", "## Pictures", "", "Axial slice with the largest tumour; magenta: reference WT, cyan: reference TC."]
    if content.gallery is not None:
        lines += ["", "The three worst of all cases and subsets:", "", f"![failures]({content.gallery})"]
    return lines + [line for case, name in content.pictures.items() for line in ("", f"![{case}]({name})")]


def number(found: Sequence[float], digits: int = 3) -> str:
    """Show a mean and how many cases it is of."""
    mean, _, _, cases = found
    return f"{mean:.{digits}f} ({cases})" if cases else DASH
