"""The table of a campaign, and every input that did not hold."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from campaign.runner import Outcome
from campaign.trials import Trial
from campaign.verdicts import BUG, FAILED, HELD, MINOR, Verdict
from metakd_monai import __version__

COLUMNS = (HELD, MINOR, FAILED)


@dataclass(frozen=True)
class Line:
    """One input and what became of it."""

    family: str
    number: int
    name: str
    verdict: str
    kinds: tuple[str, ...]
    lines: tuple[str, ...]
    status: int | None
    seconds: float
    command: str


class Report:
    """Collects verdicts.

    Args:
        seed: of the campaign.
        total: how many inputs are tried.
    """

    def __init__(self, seed: int, total: int) -> None:
        self.seed, self.total, self.seconds = seed, total, 0.0
        self.lines: list[Line] = []

    def add(self, trial: Trial, outcome: Outcome, verdict: Verdict) -> None:
        """Note one verdict; one that did not hold is shown at once."""
        command = " ".join(map(shlex.quote, outcome.plan.arguments))[:400]
        line = Line(
            trial.family,
            trial.number,
            trial.name[:200],
            verdict.what,
            verdict.kinds,
            verdict.lines,
            outcome.status,
            round(outcome.seconds, 2),
            command,
        )
        self.lines.append(line)
        if verdict.what in (FAILED, BUG):
            print(printable(f"[{len(self.lines)}/{self.total}] {describe(line)}"), file=sys.stderr, flush=True)

    def end(self, seconds: float) -> None:
        """Note how long all took."""
        self.seconds = seconds
        self.lines.sort(key=lambda line: (line.family, line.number))

    def status(self) -> int:
        """Return the exit status: 0 nothing failed, 1 something did, 3 an input could not be made."""
        found = {line.verdict for line in self.lines}
        return 1 if FAILED in found else 3 if BUG in found else 0

    def as_markdown(self) -> str:
        """Return the table, and below it what did not hold."""
        rows = [self.row(family) for family in dict.fromkeys(line.family for line in self.lines)]
        made = time.strftime("%Y-%m-%d", time.gmtime())
        head = [
            f"metakd {__version__}, seed {self.seed}, {len(self.lines)} inputs, {self.seconds:.0f} s, {made}",
            "",
            "| family | tried | held | minor | failed | kinds |",
            "|---|---|---|---|---|---|",
        ]
        bad = [f"- {describe(line)}" for line in self.lines if line.verdict != HELD]
        return printable("\n".join([*head, *rows, self.row(None), "", *bad]))

    def row(self, family: str | None) -> str:
        """Return the row of a family, or that of all."""
        lines = [line for line in self.lines if family in (None, line.family)]
        counts = Counter(line.verdict for line in lines)
        kinds = Counter(kind for line in lines for kind in line.kinds)
        cells = [str(len(lines)), *(str(counts[column]) for column in COLUMNS)]
        words = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())
        return f"| {family or '**all**'} | {' | '.join(cells)} | {words} |"

    def write(self, place: Path) -> None:
        """Write the Markdown and, for machines, JSON."""
        place.with_suffix(".md").write_text(self.as_markdown() + "\n")
        content = {"version": __version__, "seed": self.seed, "seconds": round(self.seconds, 1)}
        lines = [asdict(line) for line in self.lines]
        place.with_suffix(".json").write_text(json.dumps({**content, "inputs": lines}, indent=1) + "\n")


def describe(line: Line) -> str:
    """Return a line about an input that can be made again."""
    words = " | ".join(line.lines)
    return f"{line.verdict} `{line.family}:{line.number}` {line.name} | status {line.status} | {words}"


def printable(text: str) -> str:
    """Return text that any terminal and file takes: control characters and what is not Unicode spelled out."""
    kept = "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)
    return kept.encode("utf-8", "backslashreplace").decode()
