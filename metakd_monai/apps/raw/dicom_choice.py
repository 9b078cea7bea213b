"""Which DICOM series is which sequence, by its parameters and description; and which of several is the best.

The words are those of file names (``metakd_monai.data.cases.word_table``): one table, which ``--names TABLE`` extends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metakd_monai.apps.raw.dicom_headers import DicomSeries
from metakd_monai.apps.raw.volumes import FEWEST_SLICES
from metakd_monai.data.cases import Ambiguous, NameTable, recognise
from metakd_monai.data.cases.word_table import Kind
from metakd_monai.data.cases.words import read_words
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

FLAIR, T1, T1CE, T2 = Modality
T1_FAMILY = (T1, T1CE)
NO_AGENT = ("", "no", "none", "n", "0", "without", "non", "unenhanced")
LONG_TR, LONG_TE, SHORT_TE = 2000.0, 60.0, 40.0  # ms
FLAIR_TI, STIR_TI = (1500.0, 3500.0), 350.0  # ms
STAR_TE = 12.0  # ms, echo time of a gradient echo from which on it is T2*
NOT_SCANNED = ("projection image", "mip", "sub", "subtraction", "adc", "map", "perfusion", "mpr")  # in ImageType


@dataclass(frozen=True)
class Kinship:
    """The sequence that a series was taken for, or None, and why."""

    found: Modality | None
    reason: str


@dataclass
class StudySeries:
    """The series chosen from a study.

    Attributes:
        series: of each sequence.
        notes: which series was taken for which sequence, which were skipped, and why.
        problem: why there is nothing to prepare.
    """

    series: dict[Modality, DicomSeries] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problem: str | None = None


def choose_series(
    study: Sequence[DicomSeries], overrides: Mapping[Modality, str], names: NameTable | None = None
) -> StudySeries:
    """Choose the series of each sequence in a study.

    Args:
        study: all its series.
        overrides: SeriesInstanceUID to take for a sequence.
        names: a site's own descriptions, which take precedence.

    Raises:
        UserError: for an override that names no series of the study.
    """
    chosen = StudySeries()
    candidates: dict[Modality, list[tuple[DicomSeries, str]]] = {}
    passed: list[str] = []
    for series in study:
        chosen.notes += series.notes
        forced = next((m for m, uid in overrides.items() if uid == series.series_uid), None)
        kinship = Kinship(forced, "by --series") if forced else tell(series, names)
        if kinship.found is None:
            passed.append(f"{series.name} ({kinship.reason})")
        elif forced or kinship.found not in overrides:
            candidates.setdefault(kinship.found, []).append((series, kinship.reason))
    missing = [f"{m.value}={uid}" for m, uid in overrides.items() if all(s.series_uid != uid for s in study)]
    if missing:
        raise UserError(f"--series: {missing[0]}: no such series in the study; expected the UID of one of its series")
    for modality in (m for m in Modality if m in candidates):
        (first, reason), *others = sorted(candidates[modality], key=lambda c: rank(c[0]))
        chosen.series[modality] = first
        rest = f"; rather than {', '.join(s.name for s, _ in others)}" if others else ""
        chosen.notes.append(f"{modality.value}: {first.name} ({reason}; {describe_grid(first)}){rest}")
    if passed:
        chosen.notes.append(f"skipped {'; '.join(passed)}; --series SEQUENCE=UID selects one")
    if not chosen.series:
        chosen.problem = f"no series is known as flair, t1, t1ce or t2: {'; '.join(passed)}"
    return chosen


def describe_grid(series: DicomSeries) -> str:
    """Return the voxels of a series in a few words."""
    return f"{len(series.frames)} slices of {series.thickness:.3g} mm"


def rank(series: DicomSeries) -> tuple[bool, bool, float, bool, int, float]:
    """Return the sort key of series of one sequence, the best first: 3-D, thin, axial, many slices, early."""
    axial = abs(float(series.normal[2])) > np.cos(np.radians(45))
    return (
        "derived" in series.texts["image_type"],
        series.texts["acquisition"] != "3d",
        series.thickness or 99.0,
        not axial,
        -len(series.frames),
        series.numbers.get("number", 0.0),
    )


def tell(series: DicomSeries, names: NameTable | None = None) -> Kinship:
    """Say which sequence a series is."""
    text = series.texts["description"] or series.texts["protocol"]
    given = names.look_up(text) if names and text else None
    if given is not None:
        return Kinship(given[0] if isinstance(given[0], Modality) else None, "by --names")
    if len(series.frames) < FEWEST_SLICES:
        return Kinship(None, f"{len(series.frames)} slices")
    kinds = series.texts["image_type"].split()
    odd = next((word for word in NOT_SCANNED if word in series.texts["image_type"] and word.split()[0] in kinds), None)
    if odd and odd != "mpr":
        return Kinship(None, f"image type {odd}")
    words = read_words(text)
    other = next((w.text for w in words if w.means(Kind.OTHER)), None)
    if other:
        return Kinship(None, f"{other!r} in its description")
    return weigh(recognise(text), tell_by_parameters(series), says_native(text), has_agent(series))


def says_native(text: str) -> bool:
    """Tell whether a description says in words that no contrast agent was given."""
    return any(w.means(Kind.PRE, Kind.NATIVE, Kind.WITHOUT) for w in read_words(text))


def has_agent(series: DicomSeries) -> bool:
    """Tell whether the header names a contrast agent."""
    return series.texts["agent"] not in NO_AGENT


def tell_by_parameters(series: DicomSeries) -> tuple[frozenset[Modality] | None, str]:
    """Return the sequences that the parameters allow, and the parameters.

    None stands for none of the four; all four are returned if the parameters are missing or tell nothing.
    """
    tr, te, ti = (series.numbers.get(name) for name in ("tr", "te", "ti"))
    shown = ", ".join(f"{n.upper()} {v:.0f}" for n, v in (("tr", tr), ("te", te), ("ti", ti)) if v)
    methods = series.texts["sequence"].split()
    if "ep" in methods:
        return None, f"echo-planar, {shown}"
    if tr is None or te is None:
        return frozenset(Modality), "no TR and TE"
    other = name_other(tr, te, ti or 0.0, "gr" in methods)
    return (None, f"{other}, {shown}") if other else (allowed_by(tr, te, ti or 0.0, "gr" in methods), shown)


def name_other(tr: float, te: float, ti: float, gradient: bool) -> str | None:
    """Return the kind of a scan that is none of the four, by its times in ms; None if it may be one of them."""
    if 0 < ti <= STIR_TI and te >= SHORT_TE / 2 and tr >= LONG_TR:
        return "STIR"
    if gradient and te >= STAR_TE:
        return "T2*"
    return "proton density" if te < SHORT_TE and tr >= LONG_TR and not ti and not gradient else None


def allowed_by(tr: float, te: float, ti: float, gradient: bool) -> frozenset[Modality]:
    """Return the sequences that times in ms allow; an inversion time of 0 stands for none or an unknown one."""
    if te >= LONG_TE and tr >= LONG_TR:
        return frozenset({FLAIR}) if FLAIR_TI[0] <= ti <= FLAIR_TI[1] else frozenset({FLAIR, T2})
    if te < SHORT_TE and (tr < LONG_TR or gradient or 0 < ti < FLAIR_TI[0]):
        return frozenset(T1_FAMILY)
    return frozenset(Modality)


def weigh(
    words: Modality | Ambiguous | None, parameters: tuple[frozenset[Modality] | None, str], native: bool, agent: bool
) -> Kinship:
    """Decide by what the words say and the parameters allow."""
    allowed, shown = parameters
    if allowed is None:
        return Kinship(None, shown)
    readings = set(words.readings) if isinstance(words, Ambiguous) else ({words} if words else set())
    if not readings:
        readings = {T1CE if agent else T1} if allowed == frozenset(T1_FAMILY) else set(allowed)
        readings = {T2} if allowed == frozenset({T2, FLAIR}) else readings
    elif readings & set(T1_FAMILY):
        readings = by_agent(readings, native, agent)
    both = readings & allowed
    if words is T2 and allowed == frozenset({FLAIR}):
        return Kinship(FLAIR, f"its inversion time says so, its description T2; {shown}")
    if not both:
        said = " or ".join(sorted(m.value for m in readings))
        return Kinship(None, f"its description says {said}, its parameters something else: {shown}")
    if len(both) > 1:
        return Kinship(None, f"{' or '.join(m.value for m in Modality if m in both)}? {shown}")
    return Kinship(both.pop(), f"{'description and ' if words else ''}{shown}")


def by_agent(readings: set[Modality], native: bool, agent: bool) -> set[Modality]:
    """Return readings in which the contrast agent decides between T1 and T1ce, if the words leave it open."""
    if readings == {T1} and agent and not native:
        return {T1CE}
    if set(T1_FAMILY) <= readings:
        return (readings - set(T1_FAMILY)) | {T1CE if agent else T1}
    return readings
