"""All cases in this process, one after the other."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import zip_longest

from metakd_monai.cases import Case
from metakd_monai.cohort.worker import MakePredictor, Outcome, Worker
from metakd_monai.predict import Outputs


def do_serially(make: MakePredictor, cases: Sequence[Case], outputs: Outputs) -> Generator[Outcome, None, None]:
    """Yield what became of each case, in order."""
    worker = Worker(make, outputs)
    worker.start()
    for case, following in zip_longest(cases, cases[1:]):
        yield worker.do(case, following)
