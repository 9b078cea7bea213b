"""Whether an input held: what the command said and left, against what is right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from campaign.runner import SPOILT, Outcome
from campaign.trials import ANY, REFUSED, RIGHT, Plan

HELD, MINOR, FAILED, BUG = "held", "minor", "failed", "campaign bug"
STATUSES = {0, 1, 2, 130, 143}
NO_MEMORY = 3  # or an internal error, which no input may cause
TRACEBACK = re.compile(r"^Traceback \(most recent call last\)|^  File \".+\", line \d+|^frame #\d+: ", re.MULTILINE)
CLASS_NAME = re.compile(r"\b(?!UserError)\w+(Error|Exception|Interrupt|EndOfStream)\b:|\b0x[0-9a-f]{6,}")
INTERNAL = re.compile(r"internal error", re.IGNORECASE)
NOISE = re.compile(r"^\s*\d+%\||^Usage: |^Try '|^\d+ of \d+ |^\s*$|it/s\]|case/s\]")
DIFFERENT = 0.002  # share of a mask's voxels: rounding of scaled intensities moves a few
LONGEST_LINE = 600


@dataclass(frozen=True)
class Verdict:
    """HELD, MINOR, FAILED or BUG, with the kinds of what was wrong and a line about each."""

    what: str
    kinds: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def judge(outcome: Outcome, work: Path) -> Verdict:
    """Judge a trial whose working folder is still there."""
    if outcome.status == SPOILT:
        return Verdict(BUG, ("campaign bug",), (last_line(outcome.said),))
    failed = [*find_escapes(outcome), *find_bad_end(outcome), *find_wrong(outcome, work)]
    minor = [] if failed else find_unclear(outcome)
    found = failed or minor
    what = FAILED if failed else MINOR if minor else HELD
    return Verdict(what, tuple(dict.fromkeys(kind for kind, _ in found)), tuple(f"{k}: {w}"[:500] for k, w in found))


def find_escapes(outcome: Outcome) -> list[tuple[str, str]]:
    """Find what no input may ever do."""
    found = []
    if outcome.canary:
        found.append(("code run", "the canary was made"))
    if outcome.status is None:
        found.append(("hang", f"ended after {outcome.seconds:.0f} s"))
    if outcome.outside and not outcome.plan.is_action:
        found.append(("wrote outside", ", ".join(outcome.outside[:4])))
    if outcome.orphans:
        found.append(("orphan", f"{outcome.orphans} processes outlived the command"))
    limit = outcome.plan.memory
    if limit is not None and outcome.memory > limit:
        found.append(("memory", f"{outcome.memory:.1f} GiB taken, {limit:.1f} allowed"))
    return found


def find_bad_end(outcome: Outcome) -> list[tuple[str, str]]:
    """Find a traceback, a crash and a status that says nothing."""
    if outcome.status is None:
        return []
    found = [("traceback", last_line(outcome.said))] if TRACEBACK.search(outcome.said) else []
    if outcome.status < 0:
        found.append(("crash", f"signal {-outcome.status}"))
    elif outcome.status not in STATUSES and not (found or is_out_of_memory(outcome)):
        found.append(("status", f"{outcome.status}: {last_line(outcome.said)}"))
    return found


def is_out_of_memory(outcome: Outcome) -> bool:
    """Tell whether a command ended because its memory did, and says so."""
    return outcome.status == NO_MEMORY and "out of memory" in outcome.said and not INTERNAL.search(outcome.said)


def find_wrong(outcome: Outcome, work: Path) -> list[tuple[str, str]]:
    """Find a success that is wrong, a refusal that is, and what was lost beside it."""
    plan, found = outcome.plan, list(outcome.found)
    if outcome.status == 0 and plan.expect == REFUSED:
        found.append(("wrong success", last_line(outcome.said)))
    elif outcome.status == 0 and plan.expect != ANY:
        wrong = [] if was_passed_over(outcome, work) else compare(plan.same, work)
        found += [("wrong success", words) for words in (*wrong, *lacking(plan.lacks, work))]
    elif plan.expect == RIGHT and outcome.status is not None:
        found.append(("wrong refusal", f"{outcome.status}: {last_line(outcome.said)}"))
    if outcome.status not in (0, None):
        found += [("written though refused", name) for name in plan.absent if (work / name).exists()]
    if outcome.status is not None:
        found += [("other case lost", words) for words in compare(plan.others, work)]
    return found


def was_passed_over(outcome: Outcome, work: Path) -> bool:
    """Tell whether a doubtful file was left aside, and a line says so."""
    if outcome.plan.passed is None or outcome.plan.passed[0].casefold() not in outcome.said.casefold():
        return False
    return not compare(dict.fromkeys(outcome.plan.same, outcome.plan.passed[1]), work)


def find_unclear(outcome: Outcome) -> list[tuple[str, str]]:
    """Find a refusal that does not say what was wrong in a line, and litter."""
    found = [("litter", ", ".join(outcome.litter[:4]))] if outcome.litter else []
    if outcome.status == 0 or outcome.plan.is_action:
        return found
    lines = [line for line in outcome.said.splitlines() if not NOISE.search(line)]
    naming = [line for line in lines if names(line, outcome.plan)]
    if not naming:
        found.append(("unclear line", f"none names {' or '.join(outcome.plan.culprit)}: {last_line(outcome.said)}"))
    elif all(CLASS_NAME.search(line) or INTERNAL.search(line) for line in naming):
        found.append(("unclear line", naming[-1]))
    elif len(min(naming, key=len)) > LONGEST_LINE:
        found.append(("unclear line", f"{len(naming[0])} letters: {naming[0]}"))
    return found


def names(line: str, plan: Plan) -> bool:
    """Tell whether a line names one of the culprits."""
    return not plan.culprit or any(word.casefold() in line.casefold() for word in plan.culprit)


def last_line(said: str) -> str:
    """Return the last line that says something."""
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing said"


def compare(outputs: Mapping[str, Path], work: Path) -> list[str]:
    """Say which outputs are not what they are to be."""
    return [f"{name} {words}" for name, reference in outputs.items() if (words := differs(work / name, reference))]


def lacking(outputs: Mapping[str, str], work: Path) -> list[str]:
    """Say which outputs hold what they must not."""
    return [f"{name} has {word!r}" for name, word in outputs.items() if word in read_text(work / name)]


def read_text(path: Path) -> str:
    """Return a text file's content, nothing where there is none."""
    return path.read_text(errors="replace") if path.is_file() else ""


def differs(path: Path, reference: Path) -> str:
    """Say how a file differs from its reference; nothing when it does not."""
    if "*" in path.name and not path.exists():
        found = [match for match in path.parent.glob(path.name) if not match.name.startswith(".")]
        return differs(found[0], reference) if len(found) == 1 else f"{len(found)} files, not one"
    try:
        if not path.exists():
            return "is not there"
        if path.name.endswith((".nii", ".nii.gz")):
            return differs_as_mask(path, reference)
        return "" if path.read_bytes() == reference.read_bytes() else "has other bytes"
    except Exception as error:
        return f"cannot be read ({type(error).__name__}: {error})"


def differs_as_mask(path: Path, reference: Path) -> str:
    """Say how a label map differs from its reference, a few voxels and the affine's rounding aside."""
    image, expected = nib.load(path), nib.load(reference)
    if image.shape != expected.shape:
        return f"has shape {image.shape}, not {expected.shape}"
    share = float(np.mean(np.asarray(image.dataobj) != np.asarray(expected.dataobj)))
    if share > DIFFERENT:
        return f"differs in {100 * share:.1f} % of its voxels"
    return ""
