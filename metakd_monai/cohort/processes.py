"""``--jobs``: workers are processes on this machine, each with a pipe of its own, so that a lost one harms no other."""

from __future__ import annotations

import contextlib
import logging
import pickle
import signal
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from metakd_monai.cases import Case
from metakd_monai.cohort.sharing import Crew, Shift, WorkerLost
from metakd_monai.cohort.worker import MakePredictor, Outcome, Worker
from metakd_monai.predict import Outputs
from metakd_monai.startup import call_lean
from metakd_monai.vocabulary import UserError

CONTEXT = get_context("spawn")  # forked children of a process with threads, or with CUDA in use, do not work
END_SECONDS = 10.0  # that a worker may take to tidy up when it is told to end


def do_in_processes(
    make: MakePredictor, cases: Sequence[Case], outputs: Outputs, jobs: int
) -> Generator[Outcome, None, None]:
    """Yield what became of each case as it becomes known; ``jobs`` processes share torch's threads fairly."""
    jobs = min(jobs, len(cases))
    threads = max(1, torch.get_num_threads() // max(1, jobs))
    return Shift(Processes(make, outputs, threads), cases, jobs, outputs.directory).run()


class Process:
    """A worker in a process of its own; it ends when its pipe does, so it does not outlive its parent.

    Args:
        arguments: of :class:`Worker`.
    """

    def __init__(self, *arguments: Any) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        level = logging.getLogger("metakd_monai").level
        begin = pickle.dumps((serve, (level, *arguments)))
        self.process = CONTEXT.Process(target=call_lean, args=(begin, theirs), daemon=True)
        with interrupts_held():
            self.process.start()
        theirs.close()
        self.pid = self.process.pid

    def give(self, case: Case, following: Case | None) -> None:
        """Send a case; that the worker is lost is heard when its answer is taken."""
        with contextlib.suppress(OSError):
            self.pipe.send((case, following))

    def take(self) -> Outcome | None:
        """Receive what :func:`serve` sends."""
        try:
            answer: Outcome | UserError | None = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(END_SECONDS)
            raise WorkerLost(describe(self.process.exitcode)) from None
        if isinstance(answer, UserError):
            raise answer
        return answer

    def dismiss(self) -> None:
        """End the process: kindly, so that it removes what it is writing, then by force."""
        self.process.terminate()
        self.process.join(END_SECONDS)
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Processes(Crew[Process]):
    """Workers in processes.

    Args:
        arguments: of :class:`Worker`.
    """

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def hire(self) -> Process:
        """Start another process."""
        return Process(*self.arguments)

    def wait(self, hands: Sequence[Process], seconds: float | None) -> list[Process]:
        """Wait until a pipe has something or is closed."""
        ready = wait([hand.pipe for hand in hands], seconds)
        return [hand for hand in hands if hand.pipe in ready]


def serve(level: int, make: MakePredictor, outputs: Outputs, threads: int, pipe: Connection) -> None:
    """Be a worker: say None when started (or why not), then answer each case with its outcome until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to end
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that `finally` is run
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("metakd_monai").setLevel(level)
    worker = Worker(make, outputs, threads)
    try:
        worker.start()
    except UserError as error:
        pipe.send(error)
        return
    with contextlib.suppress(EOFError, OSError):
        pipe.send(None)
        while True:
            pipe.send(worker.do(*pipe.recv()))


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end; a process that is started meanwhile holds it back for good.

    So no process is cut off while it starts, and only its parent ends it.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield  # no other thread may do this, nor can Windows
        return
    resource_tracker.ensure_running()  # at its start, with the first process, it would let them through again
    heard: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))  # another thread may get it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if heard:
        raise KeyboardInterrupt


def describe(exitcode: int | None) -> str:
    """Say how a process ended."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (", maybe for want of memory" if name == "SIGKILL" else "")
    return f"ended with exit code {exitcode}"
