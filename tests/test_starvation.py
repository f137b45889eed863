"""A process that others keep from running waits; one that sleeps, is stopped or runs does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spoa.starvation import Waits
from tests.agents import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SPIN = "print(flush=True)\nwhile 1: pass"
SLEEP = "import signal\nprint(flush=True)\nsignal.pause()"


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program on the first processor until the block ends; it has begun when the block does."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            os.sched_setaffinity(process.pid, [min(os.sched_getaffinity(0))])
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_process_that_others_keep_from_running_is_seen_to_wait() -> None:
    with running(SPIN) as one, running(SPIN), running(SPIN):
        os.sched_setscheduler(one.pid, os.SCHED_IDLE, os.sched_param(0))
        waits, waited = Waits(one.pid), [0.0]
        waits.since_last()
        until(lambda: [waited.append(waits.since_last())] and sum(waited) > 0.5)  # type: ignore[func-returns-value] # it looks


@pytest.mark.parametrize(("program", "number"), [(SLEEP, None), (SLEEP, signal.SIGSTOP), (SPIN, signal.SIGSTOP)])
def test_a_process_that_sleeps_or_is_stopped_waits_for_nothing(program: str, number: signal.Signals | None) -> None:
    """However long it is looked at: it is not even ready."""
    with running(program) as one:
        stat = Path(f"/proc/{one.pid}/stat")
        if number is not None:
            one.send_signal(number)
        expected = "T" if number else "S"
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == expected)
        waits = Waits(one.pid)
        waits.since_last()
        with running(SPIN):
            assert sum(waits.since_last() for _ in range(100)) == 0


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """What a kernel would say of process 7, written by `thread`."""
    return tmp_path


def thread(proc: Path, name: str, ran: float, waited: float, state: str = "S") -> None:
    task = proc / "7" / "task" / name
    task.mkdir(parents=True, exist_ok=True)
    (task / "schedstat").write_text(f"{round(ran * 1e9)} {round(waited * 1e9)} 12\n")
    (task / "stat").write_text(f"{name} (a) name) {state} 1 7 7\n")


def test_the_thread_that_waited_longest_counts_and_no_longer_than_was_looked(proc: Path) -> None:
    now = [100.0]
    waits = Waits(7, lambda: now[0], proc)
    thread(proc, "7", 1.0, 5.0)
    thread(proc, "8", 1.0, 0.0)
    assert waits.since_last() == 0
    now[0] += 2
    thread(proc, "7", 1.5, 5.25)
    thread(proc, "8", 1.5, 1.5)
    thread(proc, "9", 0.0, 60.0)  # it is new: nothing is known of before
    assert waits.since_last() == pytest.approx(1.5)
    now[0] += 2
    thread(proc, "8", 1.5, 9.0)
    assert waits.since_last() == pytest.approx(2.0)


def test_a_thread_that_was_ready_all_the_time_and_never_ran_waited_all_the_time(proc: Path) -> None:
    now = [100.0]
    waits = Waits(7, lambda: now[0], proc)
    thread(proc, "7", 1.0, 0.0, "R")
    waits.since_last()
    now[0] += 2
    assert waits.since_last() == pytest.approx(2.0)
    now[0] += 2
    thread(proc, "7", 3.0, 0.0, "R")
    assert waits.since_last() == 0


def test_where_nothing_is_counted_nothing_waits(proc: Path) -> None:
    assert Waits(7, proc=proc).since_last() == 0
    thread(proc, "7", 1.0, 0.0)
    (proc / "7" / "task" / "7" / "schedstat").write_text("0\n")
    assert Waits(7, proc=proc).since_last() == 0
