"""One worker: a network with its weights that segments case after case, and meanwhile reads the next one."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from metakd_monai.apps.predict.case_report import predict_case
from metakd_monai.apps.predict.outputs import Outputs, mask_path
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.cases import Case
from metakd_monai.data.temporaries import remove_temporaries
from metakd_monai.errors import explain
from metakd_monai.processes.workers import Dispatcher, WorkerPool

MakePredictor = Callable[..., Predictor]  # picklable, such as partial(Predictor, weights, device=...)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case.

    Attributes:
        case_id: of the case.
        line: what to tell the user, in one line; and a further line for each warning.
        failed: whether the case has no mask.
        details: a traceback, where there is one.
    """

    case_id: str
    line: str
    failed: bool = False
    details: str | None = None


class Worker:
    """Segments cases one after the other, in any process.

    Args:
        make: returns the predictor; called once.
        outputs: what to write.
        threads: for computing; None to keep torch's number.
    """

    def __init__(self, make: MakePredictor, outputs: Outputs, threads: int | None = None) -> None:
        self.make, self.outputs, self.threads = make, outputs, threads
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self.following: Case | None = None
        self.ahead: tuple[Case, Future[dict[str, Any]]] | None = None

    def start(self) -> int:
        """Load the weights; return the process id. Raises what the predictor raises, such as UserError."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        self.predictor = self.make()
        return os.getpid()

    def do(self, case: Case, following: Case | None = None) -> Outcome:
        """Segment a case and write its files; arguments as in :meth:`begin`."""
        return self.begin(case, following)()

    def begin(self, case: Case, following: Case | None = None) -> Callable[[], Outcome]:
        """Segment a case; return a function that writes its files. Problems are reported there, not raised.

        Args:
            case: what to segment.
            following: the case that probably comes next, read while this one is computed.
        """
        self.following = following
        try:
            write = predict_case(self.predictor, case, self.outputs, self.read)
        except Exception as error:  # a failing case must not stop the others
            return partial(Outcome, case.case_id, explain(error), failed=True, details=traceback.format_exc())
        return partial(conclude, case.case_id, write)

    def read(self, case: Case) -> dict[str, Any]:
        """Return :meth:`Predictor.read` of a case, read in advance or now; then start reading the following one.

        So memory never holds more than the current case and the next one.
        """
        ahead, self.ahead = self.ahead, None
        item = ahead[1].result() if ahead and ahead[0] == case else self.predictor.read(case)
        if self.following is not None and self.is_wanted(self.following):
            self.ahead = (self.following, self.reader.submit(self.predictor.read, self.following))
        return item

    def is_wanted(self, case: Case) -> bool:
        """Tell whether a case must be read: one with a mask is skipped, unless it is to be redone."""
        return self.outputs.overwrite or not mask_path(self.outputs, case).exists()


def conclude(case_id: str, write: Callable[[], str]) -> Outcome:
    """Write the files of a case and return the outcome; problems are reported, not raised."""
    try:
        return Outcome(case_id, write())
    except Exception as error:  # such as a full disk
        return Outcome(case_id, explain(error), failed=True, details=traceback.format_exc())


def share(pool: WorkerPool[Any], cases: Sequence[Case], size: int, outputs: Outputs) -> Generator[Outcome, None, None]:
    """Yield the outcome of each case, done by ``size`` workers of a pool, as soon as it is known."""

    def tidy(case: Case, pid: int | None) -> None:
        remove_temporaries(outputs.directory, [case.case_id], pid)

    return Dispatcher(pool, cases, size, partial(Outcome, failed=True), tidy).run()
