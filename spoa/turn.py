"""One turn of the loop: all that was read in it is judged together, and then written together.

Theory: most of a decision is the kernel's, reading and writing, and what runs between two system calls finds its caches
cold. So all reads of a turn come first, then all judging, then all writing. Whoever waits for the answers, mostly one
thread of HAProxy, is woken once, and finds one after the other instead of falling asleep between them. What isn't
remembered takes long: it is put off until all others have their answers, and judged together as well. A read that comes
alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.answering import Answering

__all__ = ["Patience", "Reader", "Turn"]

#: More requests than any worker ever answers.
_NEVER: Final = 1 << 60  # compiled, a larger one is an object


def _never(_: int) -> int:
    return _NEVER


class Patience(NamedTuple):
    """How long a turn lets others wait, in seconds.

    Args:
        apart: from the end of a turn with one read to another that is taken to come alone, too: less than a HAProxy
            needs to take an answer and ask again, more than a loop needs from one read to the next.
        held: that an answer to what was judged afresh waits for others of its kind.
        afresh: of judging afresh in a turn; the rest comes in the next, behind whoever has read meanwhile and is known.
    """

    apart: float = 0.000_02
    held: float = 0.001
    afresh: float = 0.003


_PATIENCE: Final = Patience()


class Reader:
    """Whoever has read something.

    Trick: a class and no protocol, so that compiled it is called without being asked for its methods' names.
    Benchmark: benchmarks/hotpath.py.
    """

    __slots__ = ()

    def work(self) -> None:
        """Have a portion of it answered."""
        raise NotImplementedError

    def abort(self) -> None:
        """Give up."""
        raise NotImplementedError


class Turn:
    """The peers that have something to be judged, and when the first of them had.

    Args:
        answering: judges for all of them.
        later: calls a function when everything is read that there is to read; unless it is given, the loop that runs
            when it is first asked for does, in its next turn.
        patience: how long others wait.
    """

    __slots__ = (
        "_afresh", "_answering", "_apart", "_counts", "_due", "_ended", "_held", "_is_asked_for", "_later", "_look",
        "_look_at", "_put_off", "_run_in_time", "_started", "_was_alone",
    )  # fmt: skip

    def __init__(
        self,
        answering: Answering,
        later: Callable[[Callable[[], None]], object] | None = None,
        patience: Patience = _PATIENCE,
    ) -> None:
        self._answering = answering
        self._counts = answering.counts
        self._look: Callable[[int], int] = _never
        self._look_at = _NEVER
        self._later: Callable[[Callable[[], None]], object] = later or self._ask_the_loop
        self._run_in_time: Callable[[], None] = self._on_time
        self._apart, self._held, self._afresh = patience
        self._due: list[Reader] = []
        self._put_off: list[Reader] = []
        self._started = self._ended = 0.0
        self._was_alone = self._is_asked_for = False

    def pace_by(self, look: Callable[[int], int]) -> None:
        """Tell somebody how many requests were answered, ever: now, and whenever there are as many as it said last."""
        self._look = look
        self.look()

    def look(self) -> None:
        """Tell whoever paces the turns sooner than it said."""
        self._look_at = self._look(self._counts.notifies)

    def begin(self) -> float:
        """Return when the first read of this turn came, by `perf_counter`; who asks has read, and will be added."""
        if not self._started:
            self._started = perf_counter()
        return self._started

    def add(self, peer: Reader) -> None:
        """Have a peer work that has read something: when all is read, or at once if it comes alone."""
        self._due.append(peer)
        if len(self._due) == 1:
            # Trick: a turn of the loop costs 5 to 7 us where nothing else happens. Benchmark: benchmarks/agent.py, 1x1.
            if self._was_alone and self._started - self._ended > self._apart:
                self.run()
            else:
                self._ask_for_later()

    def add_again(self, peer: Reader) -> None:
        """Have a peer work when others have had their turn."""
        if not self._due:
            self._ask_for_later()
        self._due.append(peer)

    @property
    def is_behind(self) -> bool:
        """Somebody is put off."""
        return bool(self._put_off)

    def put_off(self, peer: Reader) -> None:
        """Have a peer that is working do so once more, when all others of the turn have their answers."""
        self._put_off.append(peer)

    def run(self) -> None:
        """Have all peers work that are due, and write their answers; raises nothing."""
        due = self._due
        if not due and not self._put_off:
            return
        self._due = []
        self._started = 0.0
        broken: list[tuple[Reader, Exception]] = []
        for peer in due:
            try:
                peer.work()
            except Exception as error:  # noqa: BLE001 -- fail closed: no answer is none that allows
                broken.append((peer, error))
            if self._answering.has_enough():
                self._answering.finish()
        self._answering.finish()
        if self._put_off:
            self._run_put_off(broken)
        for peer, _ in broken:
            peer.abort()
        for _, raised in broken:
            self._counts.report("a connection could not be served and is dropped", exc_info=raised)
        if self._counts.notifies >= self._look_at:
            self.look()
        self._was_alone = len(due) == 1 and not self._put_off
        if self._was_alone:
            self._ended = perf_counter()

    # Trick: what is judged afresh comes in a row, behind what is remembered, which so stays in the processor's caches;
    # and HAProxy is woken twice in a turn, not once more for each of them. Benchmark: benchmarks/agent.py, 5 % new.
    def _run_put_off(self, broken: list[tuple[Reader, Exception]]) -> None:
        put_off, self._put_off = self._put_off, []
        written = began = perf_counter()
        for number, peer in enumerate(put_off, 1):
            try:
                peer.work()
            except Exception as error:  # noqa: BLE001 -- as above
                broken.append((peer, error))
            now = perf_counter()
            if now - began > self._afresh:
                self._put_off += put_off[number:]
                break
            if now - written > self._held:
                self._answering.finish()
                written = now
        self._answering.finish()
        if self._put_off:
            self._ask_for_later()

    # Trick: loop and method are looked up once; the former asks the kernel for the process each time (in Python 3.11),
    # the latter makes an object. Benchmark: benchmarks/cold.py.
    def _ask_for_later(self) -> None:
        if not self._is_asked_for:  # it is still where a turn was run before its time
            self._is_asked_for = True
            self._later(self._run_in_time)

    def _ask_the_loop(self, run: Callable[[], None]) -> None:
        self._later = asyncio.get_running_loop().call_soon
        self._later(run)

    def _on_time(self) -> None:
        self._is_asked_for = False
        self.run()
