"""An agent that does what a test tells it, also what a real one must never do.

A script is called for each NOTIFY and returns what to write, or `None` to write nothing. `answers(...)` makes the usual
one; the other functions here are the misbehaviours that HAProxy must take for a deny.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from spoa.spop import Ack, AgentHello, DataType, HaproxyHello, Notify, Scope, SetVar, read_frame, write_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spoa.spop import Value

__all__ = ["HangUp", "ScriptedAgent", "answers", "arguments_of"]

Script: TypeAlias = "Callable[[Notify], bytes | None]"

_TYPES: Final = {str: DataType.STRING, int: DataType.INT64, bool: DataType.BOOL}


class HangUp(Exception):  # noqa: N818  # no error but an order of the script
    """Raised by a script: close the connection with what is under way unanswered; `reset` sends an RST."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__(reset)
        self.reset = reset


def answers(**variables: str | int | bool) -> Callable[[Notify], bytes]:
    """Make a script that sets `txn.authz.<name>` for each variable."""
    actions = tuple(
        SetVar(
            Scope.TRANSACTION,
            name.encode(),
            _TYPES[type(value)],
            value.encode() if isinstance(value, str) else value,
        )
        for name, value in variables.items()
    )
    return lambda notify: write_frame(Ack(notify.stream_id, notify.frame_id, actions))


def arguments_of(notify: Notify) -> dict[str, Value]:
    """Return the arguments of a NOTIFY's only message by name."""
    (message,) = notify.messages
    assert message.name == b"authorize"
    return {argument.name.decode(): argument.value for argument in message.arguments}


class ScriptedAgent:
    """An agent on loopback.

    Attributes:
        script: what to do with the next NOTIFY; may be replaced at any time.
        hello: what to answer to a HAPROXY-HELLO; `None` answers nothing.
        notified: every NOTIFY so far.
        port: where it listens; the same after `stop` and `start`.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.hello: Callable[[HaproxyHello], bytes] | None = _hello
        self.notified: list[Notify] = []
        self.port = 0
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def running(cls, script: Script) -> Iterator[ScriptedAgent]:
        """Serve until the block ends."""
        agent = cls(script)
        agent.start()
        try:
            yield agent
        finally:
            agent.stop()

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`, as a `server` line takes it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def stop(self) -> None:
        """Close the listener and every connection, as a killed process would."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # Wakes the thread in accept(), which a close alone would leave there.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        writing = threading.Lock()
        try:
            while frame := _read_frame(connection):
                value = read_frame(frame)
                if isinstance(value, HaproxyHello) and self.hello is not None:
                    connection.sendall(self.hello(value))
                elif isinstance(value, Notify):
                    self.notified.append(value)
                    # A thread for each, or one late answer would hold up the others on the connection.
                    threading.Thread(target=self._answer, args=[connection, writing, value], daemon=True).start()
        except OSError:
            return
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket, writing: threading.Lock, notify: Notify) -> None:
        try:
            answer = self.script(notify)
            if answer is not None:
                with writing:
                    connection.sendall(answer)
        except HangUp as order:
            if order.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            else:
                connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _hello(hello: HaproxyHello) -> bytes:
    return write_frame(AgentHello(hello.max_frame_size, ("pipelining",)))


def _read_frame(connection: socket.socket) -> bytes:
    """Return the next frame with its prefix; nothing at the end of the stream."""
    prefix = _read(connection, 4)
    return prefix and prefix + _read(connection, int.from_bytes(prefix))


def _read(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = connection.recv(size)
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
