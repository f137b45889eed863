"""One turn of the loop: all that was read in it is judged together, and then written together.

Theory: most of a decision is the kernel's, reading and writing, and what runs between two system calls finds its caches
cold. So all reads of a turn come first, then all judging, then all writing. Whoever waits for the answers, mostly one
thread of HAProxy, is then woken once, and finds one after the other instead of falling asleep between them. A turn with
one read costs no more than before, and nobody waits for what takes long: see `Answering.finish`.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.answering import Answering

__all__ = ["Turn"]


def _soon(run: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(run)


class _Worker(Protocol):
    """Whoever has read something."""

    def work(self) -> None:
        """Have a portion of it answered."""

    def abort(self) -> None:
        """Give up."""


class Turn:
    """The peers that have something to be judged, and when the first of them had.

    Args:
        answering: judges for all of them.
        later: calls a function when everything is read that there is to read; the running loop's next turn does.
    """

    __slots__ = ("_answering", "_due", "_later", "_started")

    def __init__(self, answering: Answering, later: Callable[[Callable[[], None]], object] = _soon) -> None:
        self._answering = answering
        self._later = later
        self._due: list[_Worker] = []
        self._started = 0.0

    def add(self, peer: _Worker) -> float:
        """Have a peer work when all is read; return when the first one of this turn came, by `perf_counter`."""
        if not self._due:
            self._started = perf_counter()
            self._later(self.run)
        self._due.append(peer)
        return self._started

    def run(self) -> None:
        """Have all peers work that are due, and write their answers."""
        due = self._due
        self._due = []
        broken: list[tuple[_Worker, Exception]] = []
        for peer in due:
            try:
                peer.work()
            except Exception as error:  # noqa: BLE001 -- fail closed: no answer is none that allows
                broken.append((peer, error))
        self._answering.finish()
        for peer, raised in broken:
            self._answering.report("a connection could not be served and is dropped", raised)
            peer.abort()
