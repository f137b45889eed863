"""When to ask again: a circuit breaker for a host, a back-off and the usual rhythm for a document.

Time and chance are arguments.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["MAX_FAILURES", "OPEN_SECONDS", "Circuit", "CircuitState", "backoff", "refresh_delay"]

MAX_FAILURES: Final = 5
"""Failures in a row after which a circuit opens."""

OPEN_SECONDS: Final = 30.0
"""Seconds from the last failure until one request may probe an open circuit."""


class CircuitState(enum.StrEnum):
    """What a circuit lets through: all, nothing, one request that probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """The circuit breaker of one host; closed at first.

    Whoever is let through by `try_enter` reports with one of `succeed`, `fail` and `abandon`. Times are seconds of any
    clock that never runs backward.
    """

    __slots__ = ("_failures", "_is_probed", "_opened")

    def __init__(self) -> None:
        self._failures = 0
        self._opened = 0.0
        self._is_probed = False

    def state(self, now: float) -> CircuitState:
        """Return what the circuit lets through now."""
        if self._failures < MAX_FAILURES:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self._opened + OPEN_SECONDS else CircuitState.HALF_OPEN

    def refuses(self, now: float) -> bool:
        """Tell whether `try_enter` would say no, and change nothing."""
        state = self.state(now)
        return state is CircuitState.OPEN or (state is CircuitState.HALF_OPEN and self._is_probed)

    def try_enter(self, now: float) -> bool:
        """Let a request through or not; of those that find the circuit half-open, only one at a time."""
        if self.refuses(now):
            return False
        self._is_probed = self.state(now) is CircuitState.HALF_OPEN
        return True

    def succeed(self) -> None:
        """Take an answer, of whatever content: the host is there."""
        self._failures = 0
        self._is_probed = False

    def fail(self, now: float) -> None:
        """Take a failure; it opens the circuit when it was one too many, or that of a probe."""
        self._failures += 1
        self._opened = now
        self._is_probed = False

    def abandon(self) -> None:
        """Take back a request that was given up before anything was learnt."""
        self._is_probed = False


def backoff(failures: int, chance: float, *, floor: float = 5.0, ceiling: float = 300.0) -> float:
    """Return the seconds to wait after so many failures in a row: between `floor` and `ceiling`, doubling.

    Args:
        failures: at least 1.
        chance: drawn from [0, 1), so that many who failed together don't come back together.
        floor: the shortest wait, seconds.
        ceiling: the longest.
    """
    whole = ceiling if failures > 32 else min(ceiling, floor * 2**failures)  # noqa: PLR2004 -- no huge powers
    return max(floor, whole * (1 + chance) / 2)


def refresh_delay(refresh: float, validity_left: float | None, chance: float, *, floor: float = 5.0) -> float:
    """Return the seconds until a document that was fetched is asked for again; at most `refresh`, if not much less.

    Somewhere in the second half of its validity, but for the last tenth: so there is time for some failures, and those
    who fetched it together don't come back together.

    Args:
        refresh: the longest wait, seconds.
        validity_left: seconds until the document runs out; None for never.
        chance: drawn from [0, 1).
        floor: the shortest wait, where `refresh` is not shorter still.
    """
    delay = refresh * (1 - chance / 10)
    if validity_left is not None:
        delay = min(delay, validity_left * (0.5 + 0.4 * chance))
    return max(delay, min(floor, refresh))
