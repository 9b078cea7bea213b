"""How tasks are distributed among workers that can be lost; the same for processes and for Ray's actors."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

TRIES = 2  # of a task whose worker was lost
STARTS = 3  # failed starts in a row after which no more workers are started
START_SECONDS = 600.0  # seconds for the first worker to start


class WorkerLost(Exception):  # noqa: N818  # an event, not an error
    """A worker ended without an answer."""


class Task(Protocol):
    """A task, identified by its case."""

    @property
    def case_id(self) -> str:
        """The case's name; no other task has it."""


T = TypeVar("T", bound=Task)
R = TypeVar("R")  # the outcome of a task


class Worker(Protocol):
    """Does tasks, in any process."""

    def start(self) -> Any:
        """Get ready; raises UserError if no worker can start."""

    def do(self, task: Any, following: Any) -> Any:
        """Do a task; ``following`` is the one that probably comes next, or None. Raises nothing."""


class WorkerHandle(Protocol):
    """A worker elsewhere, as seen from here; it has begun to start."""

    pid: int | None

    def send_task(self, task: Any, following: Any) -> None:
        """Give it a task, and the one that probably comes next."""

    def receive_answer(self) -> Any:
        """Return its answer; None is the message that it has started.

        Raises:
            WorkerLost: when it has ended.
            UserError: when no worker can start.
        """

    def stop(self) -> None:
        """End it at once."""


H = TypeVar("H", bound=WorkerHandle)


class WorkerPool(Protocol[H]):
    """Starts workers and waits for them."""

    def start_worker(self) -> H:
        """Begin to start another worker."""

    def wait(self, handles: Sequence[H], seconds: float | None) -> list[H]:
        """Wait until some have an answer or are lost; return them, or none when the time is over."""


class Dispatcher(Generic[H, T, R]):
    """Not more than ``size`` workers do all tasks, each task once.

    If its worker is lost, a task is tried again by a new one, and fails if that is lost too. Each worker knows its next
    task in advance; this one goes to another worker that would otherwise be idle.

    Args:
        pool: starts the workers.
        tasks: what to do.
        size: how many workers.
        fail: called with a case's name and a reason; returns the outcome of a task that no worker did.
        tidy: called with a task and a process id after the worker that was doing it has ended.
    """

    def __init__(
        self,
        pool: WorkerPool[H],
        tasks: Sequence[T],
        size: int,
        fail: Callable[[str, str], R],
        tidy: Callable[[T, int | None], None] = lambda *_: None,
    ) -> None:
        self.pool, self.fail, self.tidy = pool, fail, tidy
        self.size = min(size, len(tasks))
        self.queue = deque(tasks)
        self.losses: Counter[str] = Counter()  # lost workers, by the case that they were doing
        self.turns: dict[H, list[T]] = {}  # for each worker, its task and the next one
        self.starting: set[H] = set()
        self.failed_starts = 0

    def run(self) -> Generator[R, None, None]:
        """Yield the outcome of each task as it becomes known; all workers have ended when this ends, in whatever way.

        Raises:
            UserError: when no worker can start.
        """
        try:
            for _ in range(self.size):
                self.start_worker()
            while self.queue or any(self.turns.values()):
                handles = [handle for handle, turn in self.turns.items() if turn or handle in self.starting]
                working = len(handles) > len(self.starting)
                ready = self.pool.wait(handles, None if working else START_SECONDS) if handles else []
                if not ready:
                    yield from self.give_up()
                for handle in ready:
                    yield from self.collect(handle)
                    self.dispatch()  # before the next answer, so that each gets the case that it has read in advance
        finally:
            for handle in list(self.turns):
                self.stop(handle)

    def start_worker(self) -> None:
        """Begin to start a worker."""
        handle = self.pool.start_worker()
        self.turns[handle] = []
        self.starting.add(handle)

    def dispatch(self) -> None:
        """Give a task to each idle worker, while there are tasks."""
        for handle, turn in self.turns.items():
            if turn or handle in self.starting:
                continue
            self.fill(turn)
            if turn:
                handle.send_task(turn[0], turn[1] if len(turn) > 1 else None)

    def fill(self, turn: list[T]) -> None:
        """Give a worker its task and its next one; when none are left, take the next one of another worker."""
        while self.queue and len(turn) < 2:
            turn.append(self.queue.popleft())
        longest = max(self.turns.values(), key=len)
        if not turn and len(longest) > 1:
            turn.append(longest.pop())

    def collect(self, handle: H) -> Generator[R, None, None]:
        """Receive a worker's answer."""
        try:
            outcome = handle.receive_answer()
        except WorkerLost as loss:
            yield from self.replace(handle, str(loss))
            return
        if outcome is None:
            self.starting.discard(handle)
            self.failed_starts = 0
            return
        self.queue.extendleft(self.turns[handle][1:])
        self.turns[handle] = []
        yield outcome

    def replace(self, handle: H, reason: str) -> Generator[R, None, None]:
        """Put a lost worker's tasks back and start another worker; yield a failure for a task that cost too many."""
        started, turn = handle not in self.starting, self.turns[handle]
        self.stop(handle)
        self.failed_starts += not started
        if turn:
            self.losses[turn[0].case_id] += 1
            if self.losses[turn[0].case_id] >= TRIES:
                yield self.fail(turn[0].case_id, f"lost its worker {TRIES} times ({reason})")
                turn = turn[1:]
            else:
                logger.warning("%s: its worker was lost (%s); trying again", turn[0].case_id, reason)
        self.queue.extendleft(reversed(turn))
        if self.failed_starts < STARTS and len(self.turns) < len(self.queue) + sum(map(len, self.turns.values())):
            self.start_worker()

    def stop(self, handle: H) -> None:
        """End a worker and remove what it left half-written."""
        turn = self.turns.pop(handle)
        self.starting.discard(handle)
        handle.stop()
        for task in turn[:1]:
            self.tidy(task, handle.pid)

    def give_up(self) -> Generator[R, None, None]:
        """Yield a failure for each remaining task, because no worker starts."""
        for handle in list(self.turns):
            self.stop(handle)
        while self.queue:
            yield self.fail(self.queue.popleft().case_id, "no worker could be started")
