"""Taking connections from listening sockets that workers share.

Theory: workers that share a core answer no more than one of them would, each wakes up for its own few requests, and a
request waits for all of them. So those that outnumber the cores stand by: they take what the others leave, because they
died, or have as many connections as they may.
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from spoa.gate import Gate

__all__ = ["Acceptor", "is_spare"]

_TLS_GOODBYE: Final = 1.0  # seconds that a peer has to confirm the end of TLS
_PAUSE: Final = 0.5  # seconds without accepting after the system refused to
_DEFERENCE: Final = 0.05  # seconds for which connections must be waiting all the time until who stands by takes them
_LOOK: Final = 0.005  # seconds between two looks whether they are
_BEGINNING: Final = 1.0  # seconds that the others have to begin to serve, since who stands by began itself

_log = structlog.get_logger()


def is_spare(number: int) -> bool:
    """Tell whether a worker, the first of which is number 0, is one more than there are cores that they may run on.

    Those are the supervisor's, whose child the worker is: a worker may have been given one of them for itself.
    """
    if not hasattr(os, "sched_getaffinity"):
        return number >= (os.cpu_count() or 1)
    try:
        cores = os.sched_getaffinity(os.getppid())
    except OSError:  # it is gone, or hidden
        cores = os.sched_getaffinity(0)
    return number >= len(cores)


def _never() -> bool:
    return False


def _has_connections(listener: socket.socket) -> bool:
    looking = select.poll()
    looking.register(listener, select.POLLIN)
    return bool(looking.poll(0))


class Acceptor:
    """Takes connections, one for each time the loop comes round, and gives each a protocol.

    Args:
        gate: says who may connect.
        make_protocol: makes the protocol of a connection.
        patience: seconds that the peer has to begin TLS, where it is spoken.
        room: tells how many more connections there may be, those counted that `arriving` tells of.

    Attributes:
        arriving: how many are taken whose protocol has not begun; who makes the protocol counts down.
    """

    def __init__(
        self,
        gate: Gate,
        make_protocol: Callable[[], asyncio.Protocol],
        patience: float,
        room: Callable[[], int],
    ) -> None:
        self._gate = gate
        self._make_protocol = make_protocol
        self._patience = patience
        self._room = room
        self._stands_by: Callable[[], bool] = _never
        self._listeners: Sequence[socket.socket] = ()
        self._watched: set[socket.socket] = set()
        self._left: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self._begun = 0.0
        self.arriving = 0

    @property
    def is_accepting(self) -> bool:
        """Some connection would be taken, or left to others, at once."""
        return bool(self._watched)

    def serve(self, listeners: Sequence[socket.socket], stands_by: Callable[[], bool] | None = None) -> None:
        """Accept on listening, non-blocking sockets, which stay their owner's to close.

        Args:
            listeners: the sockets.
            stands_by: tells whether others are to take connections first; without it they never are.
        """
        self._listeners = listeners
        self._stands_by = stands_by or _never
        self._begun = asyncio.get_running_loop().time()
        self.go_on()

    def stop(self) -> None:
        """Let go of the listening sockets, for good; they can then be closed."""
        for listener in tuple(self._watched):
            self._ignore(listener)
        self._listeners = ()

    def go_on(self) -> None:
        """Accept again where that was given up, because there may be room again, or descriptors."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            if listener not in self._watched and listener not in self._left:
                self._watched.add(listener)
                loop.add_reader(listener, self._look, listener)

    def _watch(self, listener: socket.socket) -> None:
        self._left.discard(listener)
        self.go_on()

    def _ignore(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listener)
        self._watched.discard(listener)

    def _look(self, listener: socket.socket) -> None:
        if not self._stands_by():
            self._accept(listener)
            return
        self._ignore(listener)
        self._left.add(listener)
        now = asyncio.get_running_loop().time()
        self._leave(listener, max(now + _DEFERENCE, self._begun + _BEGINNING))

    def _leave(self, listener: socket.socket, until: float) -> None:
        """Leave connections to the others as long as they take any, at most until there were some all the time."""
        if listener not in self._listeners:
            return
        loop = asyncio.get_running_loop()
        if not _has_connections(listener):
            self._watch(listener)
        elif loop.time() < until:
            loop.call_later(_LOOK, self._leave, listener, until)
        else:
            self._relieve(listener)

    def _relieve(self, listener: socket.socket) -> None:
        """Take connections until there is none for once."""
        self._left.discard(listener)
        if listener in self._listeners and self._accept(listener):
            self._left.add(listener)
            asyncio.get_running_loop().call_soon(self._relieve, listener)
        elif self._room() > 0:
            self.go_on()

    def _accept(self, listener: socket.socket) -> bool:
        """Take one connection, whether it then may come in or not; tell whether there was one."""
        # One for each time the loop comes round: workers that share the socket then share its connections.
        if self._room() <= 0:
            for each in tuple(self._watched):
                self._ignore(each)
            return False
        try:
            accepted, name = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was faster, or the peer is gone already
        except OSError as error:
            # Mostly no descriptor is left. Asking again at once would keep the loop busy with failing.
            _log.error("no connection can be accepted for a while", error=error.strerror)
            self._ignore(listener)
            self._left.add(listener)
            asyncio.get_running_loop().call_later(_PAUSE, self._watch, listener)
            return False
        if not self._gate.admits(accepted.family, name):
            accepted.close()
            return True
        accepted.settimeout(0)
        self.arriving += 1
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(self._adopt(accepted, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _adopt(self, accepted: socket.socket, name: object) -> None:
        context = self._gate.context_for(accepted.family)
        patience, goodbye = (None, None) if context is None else (self._patience, _TLS_GOODBYE)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol,
                accepted,
                ssl=context,
                ssl_handshake_timeout=patience,
                ssl_shutdown_timeout=goodbye,
            )
        except OSError as error:
            accepted.close()  # the peer left before the transport was there, or TLS failed
            if context is not None:
                self._gate.refuse("tls", name[0] if isinstance(name, tuple) else "", str(error) or "it took too long")
            self.arriving -= 1
            self.go_on()
