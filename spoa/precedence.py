"""Whether a worker that wakes up may interrupt whoever runs on its core: it may while it has little to do.

Theory: a HAProxy that shares the worker's core has more to send when the first of it wakes the worker. Interrupting it
costs two switches of processes for each request, and cold caches after each; who waits until it sleeps finds all that
it had to say. Where requests are few there is nothing to gather, and whoever has the core may keep it for milliseconds,
for which none of them should wait; nor is it HAProxy that a worker waits for much longer than HAProxy needs for what is
answered. Linux calls the two ways SCHED_BATCH and SCHED_OTHER (sched(7)); on a core of its own, a worker is the same
under both.
"""

from __future__ import annotations

import os
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Precedence"]

_LOOK: Final = 256  # answers between two looks at the clock
_BUSY: Final = 4000.0  # answers a second from which on a worker lets others finish
_CALM: Final = 2000.0  # and below which it interrupts them again
_SHORTEST: Final = 0.1  # seconds over which fewer answers tell a rate
_WORTH: Final = 1e-4  # seconds that it waits for each answer at most: more than a busy HAProxy mostly needs for one
_RESPITE: Final = 2.0  # seconds in which it then interrupts whoever made it wait
_COUNTS_SIZE: Final = 64  # bytes, which hold three numbers of 64 bits

_log = structlog.get_logger()


class Schedule(Protocol):
    """Lets a thread interrupt others, or not."""

    def __call__(self, *, interrupts: bool) -> object:
        """Do it.

        Raises:
            OSError: the system refuses.
        """


def _is_free() -> bool:
    """Tell whether this thread is scheduled as any other, and not in a way that somebody chose for it."""
    if sys.platform != "linux":
        return False
    try:
        return os.sched_getscheduler(0) == os.SCHED_OTHER
    except OSError:  # musl's C library has the call, and no answer
        return False


def _schedule(*, interrupts: bool) -> None:
    os.sched_setscheduler(0, os.SCHED_OTHER if interrupts else os.SCHED_BATCH, os.sched_param(0))


class _Waited:
    """How long the thread that makes this was ready to run and didn't, as the kernel counts it."""

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # not every kernel counts
            self._file = None

    def __call__(self) -> float:
        """Return the seconds since the thread began; 0 where nobody counts."""
        if self._file is None:
            return 0.0
        try:
            return int(os.pread(self._file, _COUNTS_SIZE, 0).split()[1]) * 1e-9
        except (OSError, ValueError, IndexError):  # what stands for Linux here has something else there
            self._file = None
            return 0.0


# Trick: behind HAProxy 3.2 on one core, HAProxy and worker take a quarter less CPU, and a request a third less time on
# top. Benchmark: benchmarks/agent.py, through HAProxy.
class Precedence:
    """Chooses how the thread that makes it is scheduled, unless somebody has before: that is kept.

    Threads that start before the first look interrupt nobody, ever.

    Args:
        schedule: lets the thread interrupt others, or not.
        is_free: tells whether nobody else has chosen.
        clock: seconds that never go back.
        waited: for how many of them the thread was kept from running, ever.
    """

    def __init__(
        self,
        schedule: Schedule = _schedule,
        is_free: Callable[[], bool] = _is_free,
        clock: Callable[[], float] = perf_counter,
        waited: Callable[[], float] | None = None,
    ) -> None:
        self._schedule = schedule
        self._clock = clock
        self._ever_waited = waited or _Waited()
        self._answered = 0
        self._since = clock()
        self._waited = self._ever_waited()
        self._respite = 0.0
        self._is_free = is_free()
        self._interrupts = True
        self._choose(interrupts=False)

    def look(self, answered: int) -> int:
        """Choose by how many requests were answered since the last look; return at how many to look again.

        Raises nothing.

        Args:
            answered: how many there were, ever.
        """
        now = self._clock()
        count, seconds = answered - self._answered, now - self._since
        if answered and count < _LOOK and seconds < _SHORTEST:
            return self._answered + _LOOK
        waited = self._ever_waited()
        if count and not self._interrupts and waited - self._waited > _WORTH * count:
            self._respite = now + _RESPITE
        is_busy = count > (_BUSY if self._interrupts else _CALM) * seconds
        self._choose(interrupts=not is_busy or now < self._respite)
        self._answered, self._since, self._waited = answered, now, waited
        return answered + _LOOK

    def _choose(self, *, interrupts: bool) -> None:
        if interrupts == self._interrupts or not self._is_free:
            return
        try:
            self._schedule(interrupts=interrupts)
        except OSError as error:
            self._is_free = False
            _log.info("the system keeps a worker from choosing how it is scheduled", error=error.strerror)
        else:
            self._interrupts = interrupts
