"""One connection from HAProxy: bytes between its transport and the state machine, and how much of them at a time.

A connection holds at most two reads, one unfinished frame, and the answers that its peer has not taken yet. A peer that
takes no answers is not read any more. A burst is judged in turns, so that other connections are served in between.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

from spoa.spop import Connection, Role, payload_start
from spoa.turn import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.answering import Answering
    from spoa.enquiries import Writer
    from spoa.spop import Event
    from spoa.turn import Turn

__all__ = ["Peer"]

_LINGER: Final = 1.0  # seconds from our last word to closing, unless the peer closes first
_WRITE_BUFFER: Final = 1 << 18  # bytes of answers that wait for the peer before its requests wait too
_SLICE: Final = 1 << 16  # bytes that are decoded in one turn of the loop


class Peer(Reader):
    """The protocol of one connection, as `asyncio.Protocol` has it.

    It isn't derived from that: the loop only calls its methods, and with a base in Python it could not be compiled to a
    class in C. Benchmark: benchmarks/hotpath.py.

    Args:
        answering: judges the frames.
        turn: has the peer work when everybody is read.
        max_frame_size: what to announce, bytes.
        on_made, on_lost: told when the connection begins and ends.

    Attributes:
        opened: when it began, by `perf_counter`.
        heard: when the last whole frame came.
        stalled: since when the peer takes no answers; 0 while it does.
        is_leaving: our last word is said.
        is_parting: it is said along with the next answer after which none is owed.
    """

    __slots__ = (
        "_answering", "_at", "_connection", "_data", "_events", "_is_due", "_is_paused", "_is_put_off", "_on_lost",
        "_on_made", "_owed", "_parting", "_started", "_transport", "_turn", "heard", "is_leaving", "opened", "stalled",
    )  # fmt: skip

    def __init__(
        self,
        answering: Answering,
        turn: Turn,
        max_frame_size: int,
        on_made: Callable[[Peer], object],
        on_lost: Callable[[Peer], object],
    ) -> None:
        self._answering = answering
        self._turn = turn
        self._connection = Connection(Role.AGENT, max_frame_size=max_frame_size)
        self._on_made = on_made
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._started = 0.0
        self._data = b""
        self._events: list[Event] = []
        self._at = 0
        self._owed = 0
        self._is_due = self._is_put_off = False
        self._is_paused = False
        self._parting: int | None = None
        self.is_leaving = False
        self.opened = self.heard = perf_counter()
        self.stalled = 0.0

    @property
    def has_greeted(self) -> bool:
        """A complete HELLO came."""
        return self._connection.peer is not None

    @property
    def is_busy(self) -> bool:
        """Frames wait to be judged, or answers to be given or taken."""
        return bool(self._data or self._events or self._owed or self.stalled)

    @property
    def is_parting(self) -> bool:
        """Our last word goes out with the next answer after which none is owed."""
        return self._parting is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; nothing is said before the peer's HELLO."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._on_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End. A reset is how HAProxy from 3.1 on leaves a connection that it does not need: not worth a word."""
        del exc
        self._transport = None
        self._forget()
        self._on_lost(self)

    def eof_received(self) -> bool:
        """Let the transport write what is left and close; what came before is answered, but for a long burst's rest."""
        self._catch_up()
        self._connection.receive_eof()
        return False

    def data_received(self, data: bytes) -> None:
        """Keep what came until all is read that there is to read, or an earlier burst is worked off."""
        if self.is_leaving:
            return
        if self._data or self._events:
            self._data += data
        else:
            self._data = data
            self._started = self._turn.begin()
            self._is_due = True
            self._turn.add(self)
        if len(self._data) > _SLICE:
            self._pause()

    def work(self) -> None:
        """Judge a portion of what came, and be there in the next turn for the rest."""
        is_put_off, data = self._is_put_off, self._data
        self._is_due = self._is_put_off = False
        if self._transport is None or self.is_leaving or self.stalled:
            return
        writer = self if self._parting is not None else self._transport
        if not is_put_off and not self._events and len(data) <= _SLICE:
            position = self._answering.answer_known(self._connection, writer, data, self._started)
            if position:
                self.heard = self._started
                if position == len(data):  # which is almost always so
                    self._data = b""
                    if self._is_paused and not self.stalled:
                        self._resume()
                    return
                self._data = data[position:]
            if self._data and self._connection.notify_end(self._data, 0) > 0:
                self._is_due = self._is_put_off = True
                self._turn.put_off(self)
                return
        if (self._data or self._events) and self._answer_rest(writer, is_put_off=is_put_off):
            self._linger()
        elif self._events or self._data:
            self._pause()
            self._come_again()
        elif self._is_paused and not self.stalled:
            self._resume()

    def _answer_rest(self, writer: Writer, *, is_put_off: bool) -> bool:
        """Answer a portion of what was read and isn't known, whatever it is; tell whether our last word is said."""
        connection, events = self._connection, self._events
        if not events:
            data, self._data = self._data, b""
            stop = connection.notify_end(data, 0) if is_put_off else -1
            start = payload_start(data, 0, stop) if stop == len(data) else -1
            if start > 0:
                self.heard = self._started
                return self._answering.answer_one(connection, writer, data, start, self._started, self)
            if len(data) > _SLICE:  # compiled, a slice is a copy even of the whole
                data, self._data = data[:_SLICE], data[_SLICE:]
            events = connection.receive_data(data)
        if not events:
            return False
        self.heard = self._started
        at, is_last = self._answering.answer(connection, writer, events, self._at, self._started, self)
        if at < len(events):
            self._events, self._at = events, at
        elif self._events:
            self._events, self._at = [], 0
        return is_last

    def pause_writing(self) -> None:
        """Read no more from a peer that does not take its answers."""
        self.stalled = perf_counter()
        self._pause()

    def resume_writing(self) -> None:
        """Go on with what is left of a burst, or read on."""
        self.stalled = 0.0
        if self._events or self._data:
            self._come_again()
        else:
            self._resume()

    def owe(self) -> None:
        """Know of an answer that will come later."""
        self._owed += 1

    def pay(self, answer: bytes, count: int) -> None:
        """Write answers that came later; nobody takes them where the connection is gone or has had its last word."""
        self._owed -= count
        if not self.is_leaving:
            self.write(answer)

    def write(self, data: bytes) -> None:
        """Write answers, and our last word with them where we part and owe no more."""
        if self._transport is None:
            return
        if self._parting is None or self.is_leaving or self._data or self._events or self._owed:
            self._transport.write(data)
        else:
            self._transport.write(data + self._connection.send_disconnect(self._parting))
            self._linger()

    def leave(self, status: int) -> None:
        """Say DISCONNECT, and close when the peer has or a second has passed; what was read is answered before."""
        self._catch_up()
        if self._transport is None or self.is_leaving:
            return
        left = self._events[self._at :] + self._connection.receive_data(self._data)
        answers, is_last = self._answering.refuse_rest(self._connection, left, self._started)
        self._transport.write(answers if is_last else answers + self._connection.send_disconnect(status))
        self._answering.finish()
        self._linger()

    def part(self, status: int) -> None:
        """Say DISCONNECT in one write with the next answer after which none is owed.

        HAProxy reads both at once, before it can send anything more: nothing crosses our last word but what is on its
        way already.
        """
        self._parting = status

    def abort(self) -> None:
        """Drop the connection at once, and count as gone until its transport says so."""
        self.is_leaving = True
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        self._data = b""
        self._events = []
        self._at = 0

    def _linger(self) -> None:
        # Closing with unread bytes resets the connection, and HAProxy 3.4 loses requests when it is closed right after
        # a DISCONNECT: so read on, and leave the closing to the peer for a while.
        self.is_leaving = True
        self._forget()
        self._resume()
        asyncio.get_running_loop().call_later(_LINGER, self._close)

    def _close(self) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _pause(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def _catch_up(self) -> None:
        """Answer what was read and not yet looked at, as much of it as one turn allows."""
        if self._data and not self._events:
            self._turn.run()
        while self._is_put_off and self._turn.is_behind:  # others that take long come first
            self._turn.run()

    def _come_again(self) -> None:
        """Be there in the next turn, once however often this is called."""
        if not self._is_due:
            self._is_due = True
            self._turn.add_again(self)
