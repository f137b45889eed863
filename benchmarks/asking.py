"""A blocking client that asks an agent as HAProxy does, one request at a time, and reads the verdict and its reason."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, Self

from benchmarks.programs import BenchmarkError
from spoa.spop import AckReceived, Argument, Connection, DataType, Message, Role, SetVar, write_messages

if TYPE_CHECKING:
    from spoa.spop import Event

__all__ = ["Asker"]

_PATIENCE: Final = 5.0


class Asker:
    """One connection to an agent at `HOST:PORT`."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=_PATIENCE)
        self._connection = Connection(Role.HAPROXY)
        self._stream = 0
        self._socket.sendall(self._connection.send_hello())
        self._receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, der: bytes) -> tuple[str, str]:
        """Return verdict and reason for a request that comes with this certificate.

        Raises:
            BenchmarkError: there is no answer.
        """
        self.send(self.notify(der))
        return self.answer()

    def notify(self, der: bytes, source: str = "127.0.0.1", method: str = "GET", path: str = "/") -> bytes:
        """Return the frame that asks about a request, to be sent once."""
        self._stream += 1
        arguments = (
            Argument(b"cert", DataType.BINARY, der),
            Argument(b"used", DataType.BOOL, True),  # noqa: FBT003  # the value of the argument
            Argument(b"verify", DataType.INT64, 0),
            Argument(b"src", DataType.IPV4, socket.inet_aton(source)),
            Argument(b"method", DataType.STRING, method.encode()),
            Argument(b"path", DataType.STRING, path.encode()),
        )
        return self._connection.send_notify(self._stream, 1, write_messages([Message(b"authorize", arguments)]))

    def send(self, frame: bytes) -> None:
        """Send a frame, and wait for nothing."""
        self._socket.sendall(frame)

    def answer(self) -> tuple[str, str]:
        """Return verdict and reason of the next answer.

        Raises:
            BenchmarkError: there is none.
        """
        (event,) = self._receive()
        if not isinstance(event, AckReceived):
            raise BenchmarkError(f"the agent answers {event}")
        said = {action.name: action.value for action in event.ack.actions if isinstance(action, SetVar)}
        return _text(said.get(b"verdict")), _text(said.get(b"reason"))

    def _receive(self) -> list[Event]:
        events: list[Event] = []
        while not events:
            received = self._socket.recv(65536)
            if not received:
                raise BenchmarkError("the agent closed the connection")
            events += self._connection.receive_data(received)
        return events


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else ""
