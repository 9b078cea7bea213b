"""Sharing cases out among workers that get lost, with workers that are only played."""

import random
from functools import partial

import pytest

from metakd_monai.apps.cohort import Outcome
from metakd_monai.data.cases import Case
from metakd_monai.errors import UserError
from metakd_monai.processes.workers import Dispatcher, WorkerLost
from metakd_monai.processes.workers.sharing import STARTS, TRIES


def cases(number):
    return [Case(f"c{n:03d}", {}) for n in range(number)]


class Played:
    """A worker that answers as its pool says."""

    pid = None

    def __init__(self, pool):
        self.pool, self.given, self.waiting, self.ended = pool, [], None, False

    def send_task(self, case, following):
        assert self.waiting is None
        assert not self.ended
        self.waiting = case
        self.given.append((case.case_id, following and following.case_id))

    def receive_answer(self):
        case, self.waiting = self.waiting, None
        answer = self.pool.answer(case and case.case_id)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self):
        assert not self.ended
        self.ended = True


class WorkerPool:
    """Answers in the order that ``choose`` gives; ``answer`` says what a case, or a start (None), comes to."""

    def __init__(self, answer=None, choose=lambda handles: handles[:1]):
        self.handles, self.choose = [], choose
        self.answer = answer or (lambda case_id: case_id and Outcome(case_id, "well"))

    def start_worker(self):
        self.handles.append(Played(self))
        return self.handles[-1]

    def wait(self, handles, seconds):
        assert handles
        return self.choose(handles)


def run(pool, number, size):
    outcomes = list(Dispatcher(pool, cases(number), size, partial(Outcome, failed=True)).run())
    assert sorted(outcome.case_id for outcome in outcomes) == [c.case_id for c in cases(number)], "each exactly once"
    assert all(handle.ended for handle in pool.handles)
    return {outcome.case_id: outcome for outcome in outcomes}


@pytest.mark.parametrize(("number", "size", "hired"), [(0, 2, 0), (1, 4, 1), (7, 1, 1), (7, 3, 3), (200, 8, 8)])
def test_all_cases_are_done_by_no_more_workers_than_needed(number, size, hired):
    pool = WorkerPool()
    assert not any(outcome.failed for outcome in run(pool, number, size).values())
    assert len(pool.handles) == hired


def test_each_worker_gets_the_case_that_it_knows_ahead():
    pool = WorkerPool(choose=list)  # all answer at once, every time
    run(pool, 20, 4)
    for handle in pool.handles:
        told = [ahead for _, ahead in handle.given[:-1]]
        given = [case_id for case_id, _ in handle.given[1:]]
        assert told[: len(given) - 1] == given[:-1]


def test_a_case_known_ahead_goes_to_whoever_has_nothing_to_do():
    # Both start; then the first one does not answer while the other one can.
    pool = WorkerPool(choose=lambda handles: [handle for handle in handles if handle.waiting is None] or handles[-1:])
    run(pool, 6, 2)
    slow, quick = pool.handles
    assert slow.given == [("c000", "c001")]
    assert [case_id for case_id, _ in quick.given] == ["c002", "c003", "c004", "c005", "c001"]


def test_a_case_that_loses_every_worker_fails_alone():
    pool = WorkerPool(
        lambda case_id: WorkerLost("killed") if case_id == "c003" else case_id and Outcome(case_id, "well")
    )
    outcomes = run(pool, 8, 2)
    assert [name for name, outcome in outcomes.items() if outcome.failed] == ["c003"]
    assert outcomes["c003"].line == f"lost its worker {TRIES} times (killed)"
    assert len(pool.handles) <= 2 + TRIES


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_lost_each_case_has_one_outcome(seed):
    draw = random.Random(seed)
    lost = {}

    def answer(case_id):
        if draw.random() < 0.3:
            lost[case_id] = lost.get(case_id, 0) + 1
            return WorkerLost("killed")
        return case_id and Outcome(case_id, "well")

    pool = WorkerPool(answer, lambda handles: draw.sample(handles, draw.randint(1, len(handles))))
    outcomes = run(pool, draw.randint(1, 40), draw.randint(1, 6))
    if all(outcome.line != "no worker could be started" for outcome in outcomes.values()):
        assert {name for name, outcome in outcomes.items() if outcome.failed} == {
            name for name, times in lost.items() if name is not None and times == TRIES
        }


@pytest.mark.parametrize("ends", ["lost", "late"])
def test_workers_that_do_not_start_are_given_up(ends):
    choose = (lambda handles: handles[:1]) if ends == "lost" else (lambda handles: [])
    pool = WorkerPool(lambda case_id: WorkerLost("no memory"), choose)
    outcomes = run(pool, 5, 2)
    assert {outcome.line for outcome in outcomes.values()} == {"no worker could be started"}
    assert len(pool.handles) <= 1 + STARTS


def test_a_reason_that_holds_for_all_workers_ends_them_all():
    pool = WorkerPool(lambda case_id: UserError("weights: no"))
    with pytest.raises(UserError, match="weights: no"):
        run(pool, 5, 3)
    assert [handle.ended for handle in pool.handles] == [True] * 3


def test_workers_end_when_the_outcomes_are_not_wanted_any_more():
    pool = WorkerPool()
    shift = Dispatcher(pool, cases(5), 2, partial(Outcome, failed=True)).run()
    next(shift)
    shift.close()
    assert [handle.ended for handle in pool.handles] == [True] * 2
