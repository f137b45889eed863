"""A busy worker lets whoever has its core finish, a calm one doesn't wait; and nobody's own choice is undone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from spoa.precedence import Precedence, _Waited
from tests.answering_desk import raising

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
BUSY, CALM = 4000, 2000


class Thread:
    """How a thread is scheduled, by a clock that the test moves."""

    def __init__(self, *, is_free: bool = True, refuses: bool = False) -> None:
        self.now = 1000.0
        self.answered = 0
        self.chosen: list[bool] = []
        self.refuses = refuses
        self.waited = 0.0
        self.precedence = Precedence(self.schedule, lambda: is_free, lambda: self.now, lambda: self.waited)
        self.now += 1
        self.look_at = self.precedence.look(0)

    def schedule(self, *, interrupts: bool) -> None:
        if self.refuses:
            raise PermissionError(1, "Operation not permitted")
        self.chosen.append(interrupts)

    def answer(self, rate: float, seconds: float, waits: float = 0.0) -> None:
        """Answer at a rate, waiting for each answer while others are let finish, and have that looked at when asked."""
        until = self.now + seconds
        assert waits * rate <= 1, "nobody waits longer than it takes"
        while self.now < until:
            count = self.look_at - self.answered
            self.now += count / rate
            self.waited += 0.0 if self.chosen[-1:] == [True] else waits * count
            self.answered += count
            self.look_at = self.precedence.look(self.answered)


def test_it_begins_by_letting_others_finish_as_its_threads_will_and_interrupts_while_little_comes() -> None:
    assert Thread().chosen == [False, True]


@pytest.mark.parametrize(
    ("rates", "interrupts"),
    [
        ([BUSY - 100], True),
        ([BUSY + 100], False),
        ([BUSY + 100, CALM + 100], False),
        ([BUSY + 100, CALM - 100], True),
        ([BUSY + 100, CALM - 100, BUSY - 100], True),
        ([100, 100_000], False),
        ([100_000, 1000], True),
    ],
)
def test_it_interrupts_others_unless_much_comes_and_changes_its_mind_only_for_a_reason(
    rates: Sequence[float], interrupts: bool
) -> None:
    thread = Thread()
    for rate in rates:
        thread.answer(rate, 2)
    assert thread.chosen[-1] is interrupts


def test_it_changes_within_a_few_hundred_answers() -> None:
    thread = Thread()
    assert thread.chosen[-1]
    thread.answer(50_000, 0.01)
    assert not thread.chosen[-1]
    thread.answer(100, 5.2)
    assert thread.chosen[-1]


@pytest.mark.parametrize(("waits", "interrupts"), [(0.00009, False), (0.00011, True)])
def test_it_waits_no_longer_than_haproxy_needs_for_what_is_answered(waits: float, interrupts: bool) -> None:
    thread = Thread()
    thread.answer(50_000, 0.02)
    thread.answer(8000, 0.1, waits)
    assert thread.chosen[-1] is interrupts


def test_who_made_it_wait_is_interrupted_for_two_seconds_then_it_is_tried_again() -> None:
    thread = Thread()
    thread.answer(50_000, 0.02)
    thread.answer(5000, 1.9, waits=0.00019)
    assert thread.chosen == [False, True, False, True]
    thread.answer(50_000, 0.2)
    assert thread.chosen == [False, True, False, True, False]
    thread.answer(50_000, 60)
    assert thread.chosen == [False, True, False, True, False]


def test_who_makes_it_so_slow_that_it_looks_calm_is_interrupted_as_long() -> None:
    """Else it would let them finish again 256 answers later, and be slow again."""
    thread = Thread()
    for _ in range(20):
        thread.answer(10_000, 0.05)
        if not thread.chosen[-1]:
            thread.answer(1600, 0.16, waits=0.0006)
    assert thread.chosen == [False, True, False, True]


def test_a_look_that_comes_too_soon_to_tell_a_rate_changes_nothing() -> None:
    thread = Thread()
    thread.answer(1000, 1)
    thread.now += 0.0001
    thread.answered += 5
    assert thread.precedence.look(thread.answered) == thread.look_at
    assert thread.chosen == [False, True]


def test_what_it_waited_while_it_interrupted_others_is_not_held_against_them() -> None:
    thread = Thread()
    thread.answer(1000, 1)
    thread.waited += 100
    thread.answer(50_000, 0.02)
    assert not thread.chosen[-1]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e3)), max_size=20))
def test_nothing_is_chosen_twice_whatever_comes_and_the_next_look_is_always_ahead(
    steps: list[tuple[int, float]],
) -> None:
    thread = Thread()
    for count, seconds in steps:
        thread.now += seconds
        thread.answered += count
        assert thread.precedence.look(thread.answered) > thread.answered
    assert thread.chosen == [bool(index % 2) for index in range(len(thread.chosen))]


def test_what_somebody_else_chose_is_kept() -> None:
    thread = Thread(is_free=False)
    thread.answer(100_000, 1)
    thread.answer(100, 1)
    assert not thread.chosen


def test_a_system_that_refuses_is_asked_once_and_the_log_told() -> None:
    with structlog.testing.capture_logs() as logs:
        thread = Thread(refuses=True)
        thread.refuses = False
        thread.answer(100_000, 1)
        thread.answer(100, 1)
    assert not thread.chosen
    assert [line["error"] for line in logs] == ["Operation not permitted"]


def test_a_thread_that_others_keep_from_running_waits_and_one_that_sleeps_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work() -> tuple[float, float, float]:
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        waited = _Waited()
        began = waited()
        threading.Event().wait(0.2)
        slept = waited() - began
        began, wall, spent = waited(), time.monotonic(), time.thread_time()
        while time.thread_time() - spent < 0.2:
            pass
        ran = waited() - began - (time.monotonic() - wall - (time.thread_time() - spent))
        program = "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nprint(flush=True)\nwhile 1: pass"
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as hog:
            assert hog.stdout is not None
            hog.stdout.readline()
            until = time.monotonic() + 0.3
            began = waited()
            while time.monotonic() < until:
                pass
            hog.kill()
        return slept, ran, waited() - began

    slept, ran, kept = in_a_thread(work)
    assert slept < 0.1
    assert ran < 0.1, "more than what wasn't its own"
    assert kept > 0.05
    monkeypatch.setattr(os, "open", raising(OSError()))
    assert _Waited()() == 0.0


@pytest.mark.parametrize("found", [b"", b"1", b"a b c"])
def test_a_kernel_that_counts_otherwise_counts_nothing(found: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = _Waited()
    monkeypatch.setattr(os, "pread", lambda *_: found)
    assert waited() == 0.0
    monkeypatch.setattr(os, "pread", lambda *_: b"0 1000000000 0")
    assert waited() == 0.0, "it is not asked again"


def test_a_system_whose_library_has_no_answer_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", raising(OSError(38, "Function not implemented")))
    chosen: list[bool] = []
    Precedence(lambda *, interrupts: chosen.append(interrupts))
    assert not chosen


def in_a_thread(work: Callable[[], T]) -> T:
    """Do something in a thread of its own, so that what is chosen for it ends with it."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_is_scheduled_in_batches_while_it_is_busy_and_as_any_other_while_it_is_not() -> None:
    def work() -> list[int]:
        seen = []
        precedence = Precedence()
        seen.append(os.sched_getscheduler(0))
        seen.append(in_a_thread(lambda: os.sched_getscheduler(0)))
        precedence.look(0)
        seen.append(os.sched_getscheduler(0))
        precedence.look(10**9)
        seen.append(os.sched_getscheduler(0))
        return seen

    assert in_a_thread(work) == [os.SCHED_BATCH, os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_BATCH]


def test_a_thread_that_was_made_idle_stays_so() -> None:
    def work() -> int:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        precedence = Precedence()
        precedence.look(10**9)
        return os.sched_getscheduler(0)

    assert in_a_thread(work) == os.SCHED_IDLE
