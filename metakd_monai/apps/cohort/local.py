"""All cases on this machine: one after the other in this process, or in several processes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import zip_longest

import torch

from metakd_monai.apps.cohort.worker import MakePredictor, Outcome, Worker, share
from metakd_monai.apps.predict.outputs import Outputs
from metakd_monai.data.cases import Case
from metakd_monai.processes.workers import Processes


def do_serially(make: MakePredictor, cases: Sequence[Case], outputs: Outputs) -> Generator[Outcome, None, None]:
    """Yield the outcome of each case, in order; a case is written while the next one is segmented."""
    worker = Worker(make, outputs)
    worker.start()
    with ThreadPoolExecutor(1, thread_name_prefix="write") as writer:
        written: Future[Outcome] | None = None
        for case, following in zip_longest(cases, cases[1:]):
            write = worker.begin(case, following)
            if written is not None:
                yield written.result()
            written = writer.submit(write)
        if written is not None:
            yield written.result()


def do_in_processes(
    make: MakePredictor, cases: Sequence[Case], outputs: Outputs, jobs: int
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each case as soon as it is known; ``jobs`` processes share torch's threads fairly."""
    jobs = min(jobs, len(cases))
    threads = max(1, torch.get_num_threads() // max(1, jobs))
    return share(Processes(partial(Worker, make, outputs, threads)), cases, jobs, outputs)
