"""``--jobs``: workers are processes on this machine, each with its own pipe, so that losing one harms no other.

No worker outlives the process that started it.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from metakd_monai.errors import UserError
from metakd_monai.processes.endings import ENDING
from metakd_monai.processes.startup import call_lean
from metakd_monai.processes.workers.sharing import Worker, WorkerLost, WorkerPool

CONTEXT = get_context("spawn")  # forked children of a process with threads, or with CUDA in use, do not work
END_SECONDS = 10.0  # seconds for a worker to clean up when it is told to end


class Process:
    """A worker in a process of its own.

    Args:
        make: returns the worker; picklable.
    """

    def __init__(self, make: Callable[[], Worker]) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        begin = pickle.dumps((serve, (logging.getLogger("metakd_monai").level, make)))
        self.process = CONTEXT.Process(target=call_lean, args=(begin, theirs), daemon=True)
        with signals_held():
            self.process.start()
        theirs.close()
        self.pid = self.process.pid

    def send_task(self, task: Any, following: Any) -> None:
        """Send a task; a lost worker is noticed when its answer is received."""
        with contextlib.suppress(OSError):
            self.pipe.send((task, following))

    def receive_answer(self) -> Any:
        """Receive an answer of :func:`serve`."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(END_SECONDS)
            raise WorkerLost(describe(self.process.exitcode)) from None
        if isinstance(answer, UserError):
            raise answer
        return answer

    def stop(self) -> None:
        """End the process: first politely, so that it removes half-written files, then by force."""
        self.process.terminate()
        self.process.join(END_SECONDS)
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Processes(WorkerPool[Process]):
    """Workers in processes.

    Args:
        make: returns a worker; picklable, such as ``partial(Worker, ...)``, as it is called in each process.
    """

    def __init__(self, make: Callable[[], Worker]) -> None:
        self.make = make

    def start_worker(self) -> Process:
        """Start another process."""
        return Process(self.make)

    def wait(self, handles: Sequence[Process], seconds: float | None) -> list[Process]:
        """Wait until a pipe has something or is closed."""
        ready = wait([handle.pipe for handle in handles], seconds)
        return [handle for handle in handles if handle.pipe in ready]


def serve(level: int, make: Callable[[], Worker], pipe: Connection) -> None:
    """Be a worker: send None when started (or the error), then the outcome of each task until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that `finally` is run
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("metakd_monai").setLevel(level)
    try:
        answer_all(make(), pipe)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending, and must not be interrupted


def answer_all(worker: Worker, pipe: Connection) -> None:
    """Start a worker and answer tasks, see :func:`serve`."""
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
def signals_held() -> Iterator[None]:
    """Hold back signals that ask this process to end; a process started meanwhile never gets Ctrl-C.

    So no process is interrupted while it starts, unless by a signal sent to it alone, and only its parent ends it.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield  # other threads may not do this, and Windows cannot
        return
    resource_tracker.ensure_running()  # started later, the tracker would let Ctrl-C through
    heard: list[int] = []
    handlers = {number: signal.getsignal(number) for number in ENDING}
    handlers = {number: found for number, found in handlers.items() if found not in (None, signal.SIG_IGN)}
    for number in handlers:
        signal.signal(number, lambda number, _: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in heard:
        signal.raise_signal(number)


def describe(exitcode: int | None) -> str:
    """Say how a process ended."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (", maybe for lack of memory" if name == "SIGKILL" else "")
    return f"ended with exit code {exitcode}"
