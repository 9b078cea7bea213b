"""How tasks are shared out among workers that can be lost; the same for processes and for Ray's actors."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

TRIES = 2  # of a task whose worker was lost
STARTS = 3  # in a row that may fail before no more workers are started
START_SECONDS = 600.0  # that the first worker may take to start


class WorkerLost(Exception):  # noqa: N818  # what happened, not what was done wrong
    """A worker ended without an answer."""


class Task(Protocol):
    """What there is to do; told by its case."""

    @property
    def case_id(self) -> str:
        """The case that it is of, which no other task has."""


T = TypeVar("T", bound=Task)
R = TypeVar("R")  # what becomes of a task


class Worker(Protocol):
    """Does tasks, in whatever process it lives."""

    def start(self) -> Any:
        """Get ready; raises UserError for a reason that holds for all workers."""

    def do(self, task: Any, following: Any) -> Any:
        """Do a task; ``following`` is the one that probably comes next, or None. Raises nothing."""


class WorkerHandle(Protocol):
    """A worker elsewhere, as seen from here; it has begun to start."""

    pid: int | None

    def send_task(self, task: Any, following: Any) -> None:
        """Have it do a task, and tell which one probably comes next."""

    def receive_answer(self) -> Any:
        """Return its answer, None when it says that it has started.

        Raises:
            WorkerLost: when it is no more.
            UserError: when it cannot start for a reason that holds for all.
        """

    def stop(self) -> None:
        """End it, whatever it is doing."""


H = TypeVar("H", bound=WorkerHandle)


class WorkerPool(Protocol[H]):
    """What starts workers, and knows how to wait for them."""

    def start_worker(self) -> H:
        """Begin to start another worker."""

    def wait(self, handles: Sequence[H], seconds: float | None) -> list[H]:
        """Wait until at least one has an answer or is lost; return those, none when the time is over."""


class Dispatcher(Generic[H, T, R]):
    """Not more than ``size`` workers do all tasks, each task once.

    A task whose worker is lost is tried again by a fresh one, and fails when that is lost too. Each worker knows one
    task ahead, which goes to another one that would otherwise have nothing to do.

    Args:
        pool: of one engine.
        tasks: what to do.
        size: how many workers.
        fail: called with a case's name and a reason; returns what becomes of a task that no worker did.
        tidy: called with a task and a process id when a worker has ended that was doing it, done or not.
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
        self.losses: Counter[str] = Counter()  # of workers, by the case that they were doing
        self.turns: dict[H, list[T]] = {}  # what each worker does and what it knows ahead
        self.starting: set[H] = set()
        self.failed_starts = 0

    def run(self) -> Generator[R, None, None]:
        """Yield what became of each task as it becomes known; all workers have ended when this ends, however it does.

        Raises:
            UserError: when workers cannot start for a reason that holds for all.
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
                    self.dispatch()  # before the next answer: so each gets the case that it has read ahead
        finally:
            for handle in list(self.turns):
                self.stop(handle)

    def start_worker(self) -> None:
        """Begin to start a worker."""
        handle = self.pool.start_worker()
        self.turns[handle] = []
        self.starting.add(handle)

    def dispatch(self) -> None:
        """Give each worker that has nothing to do a task, while there are some."""
        for handle, turn in self.turns.items():
            if turn or handle in self.starting:
                continue
            self.fill(turn)
            if turn:
                handle.send_task(turn[0], turn[1] if len(turn) > 1 else None)

    def fill(self, turn: list[T]) -> None:
        """Add two tasks to a worker's turn; when no more are left, the one that another worker knows ahead."""
        while self.queue and len(turn) < 2:
            turn.append(self.queue.popleft())
        longest = max(self.turns.values(), key=len)
        if not turn and len(longest) > 1:
            turn.append(longest.pop())

    def collect(self, handle: H) -> Generator[R, None, None]:
        """Take a worker's answer."""
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
        """Put a lost worker's tasks back and start another; yield a failure for a task that has cost too many."""
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
        """Yield a failure for each task that is left, as no worker starts."""
        for handle in list(self.turns):
            self.stop(handle)
        while self.queue:
            yield self.fail(self.queue.popleft().case_id, "no worker could be started")
