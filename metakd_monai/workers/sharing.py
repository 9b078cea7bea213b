"""How tasks are shared out among workers that can be lost; the same for processes and for Ray's actors."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

TRIES = 2  # of a task whose worker was lost
STARTS = 3  # in a row that may fail before no more workers are hired
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


class Hand(Protocol):
    """A worker elsewhere, as seen from here; it has begun to start."""

    pid: int | None

    def give(self, task: Any, following: Any) -> None:
        """Have it do a task, and tell which one probably comes next."""

    def take(self) -> Any:
        """Return its answer, None when it says that it has started.

        Raises:
            WorkerLost: when it is no more.
            UserError: when it cannot start for a reason that holds for all.
        """

    def dismiss(self) -> None:
        """End it, whatever it is doing."""


H = TypeVar("H", bound=Hand)


class Crew(Protocol[H]):
    """What hires workers, and knows how to wait for them."""

    def hire(self) -> H:
        """Begin to start another worker."""

    def wait(self, hands: Sequence[H], seconds: float | None) -> list[H]:
        """Wait until at least one has an answer or is lost; return those, none when the time is over."""


class Shift(Generic[H, T, R]):
    """Not more than ``size`` workers do all tasks, each task once.

    A task whose worker is lost is tried again by a fresh one, and fails when that is lost too. Each worker knows one
    task ahead, which goes to another one that would otherwise have nothing to do.

    Args:
        crew: of one engine.
        tasks: what to do.
        size: how many workers.
        fail: called with a case's name and a reason; returns what becomes of a task that no worker did.
        tidy: called with a task and a process id when a worker has ended that was doing it, done or not.
    """

    def __init__(
        self,
        crew: Crew[H],
        tasks: Sequence[T],
        size: int,
        fail: Callable[[str, str], R],
        tidy: Callable[[T, int | None], None] = lambda *_: None,
    ) -> None:
        self.crew, self.fail, self.tidy = crew, fail, tidy
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
                self.hire()
            while self.queue or any(self.turns.values()):
                hands = [hand for hand, turn in self.turns.items() if turn or hand in self.starting]
                working = len(hands) > len(self.starting)
                heard = self.crew.wait(hands, None if working else START_SECONDS) if hands else []
                if not heard:
                    yield from self.give_up()
                for hand in heard:
                    yield from self.hear(hand)
                    self.hand_out()  # before the next answer: so each gets the case that it has read ahead
        finally:
            for hand in list(self.turns):
                self.dismiss(hand)

    def hire(self) -> None:
        """Begin to start a worker."""
        hand = self.crew.hire()
        self.turns[hand] = []
        self.starting.add(hand)

    def hand_out(self) -> None:
        """Give each worker that has nothing to do a task, while there are some."""
        for hand, turn in self.turns.items():
            if turn or hand in self.starting:
                continue
            self.fill(turn)
            if turn:
                hand.give(turn[0], turn[1] if len(turn) > 1 else None)

    def fill(self, turn: list[T]) -> None:
        """Add two tasks to a worker's turn; when no more are left, the one that another worker knows ahead."""
        while self.queue and len(turn) < 2:
            turn.append(self.queue.popleft())
        longest = max(self.turns.values(), key=len)
        if not turn and len(longest) > 1:
            turn.append(longest.pop())

    def hear(self, hand: H) -> Generator[R, None, None]:
        """Take a worker's answer."""
        try:
            outcome = hand.take()
        except WorkerLost as loss:
            yield from self.replace(hand, str(loss))
            return
        if outcome is None:
            self.starting.discard(hand)
            self.failed_starts = 0
            return
        self.queue.extendleft(self.turns[hand][1:])
        self.turns[hand] = []
        yield outcome

    def replace(self, hand: H, reason: str) -> Generator[R, None, None]:
        """Put a lost worker's tasks back and hire another; yield a failure for a task that has cost too many."""
        started, turn = hand not in self.starting, self.turns[hand]
        self.dismiss(hand)
        self.failed_starts += not started
        if turn:
            self.losses[turn[0].case_id] += 1
            if self.losses[turn[0].case_id] >= TRIES:
                yield self.fail(turn[0].case_id, f"lost its worker {TRIES} times ({reason})")
                turn = turn[1:]
            else:
                logger.warning("%s: lost its worker (%s); it is tried again", turn[0].case_id, reason)
        self.queue.extendleft(reversed(turn))
        if self.failed_starts < STARTS and len(self.turns) < len(self.queue) + sum(map(len, self.turns.values())):
            self.hire()

    def dismiss(self, hand: H) -> None:
        """End a worker and remove what it left half-written."""
        turn = self.turns.pop(hand)
        self.starting.discard(hand)
        hand.dismiss()
        for task in turn[:1]:
            self.tidy(task, hand.pid)

    def give_up(self) -> Generator[R, None, None]:
        """Yield a failure for each task that is left, as no worker starts."""
        for hand in list(self.turns):
            self.dismiss(hand)
        while self.queue:
            yield self.fail(self.queue.popleft().case_id, "no worker could be started")
