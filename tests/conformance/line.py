"""A raw socket to the running agent, and the exact bytes that it must answer.

Nothing here comes from `spoa.spop`: what is expected is written by hand after SPOE.txt.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from tests import wire
from tests.agents import PATIENCE, authorize

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.addresses import Address

__all__ = [
    "FEEDS",
    "HELLO",
    "PROBE",
    "Expected",
    "Line",
    "ack",
    "agent_disconnect",
    "agent_hello",
    "at_once",
    "byte_by_byte",
]

#: SPOP status → the words that the agent says with it.
WORDS: Final = {
    0: "normal",
    2: "timeout",
    3: "frame too big",
    4: "invalid frame",
    5: "no version",
    6: "no frame size",
    8: "unsupported version",
    9: "bad frame size",
    10: "fragmentation not supported",
    11: "interlaced frames",
    12: "frame id not found",
}
_DATA_SEGMENTS: Final = 152  # where the kernel's `tcp_info` has tcpi_data_segs_in


def agent_hello(size: int = 16380) -> bytes:
    """Write the AGENT-HELLO that negotiates this frame size."""
    items = (
        wire.item(b"version", b"\x08\x032.0")
        + wire.item(b"max-frame-size", b"\x03" + wire.varint(size))
        + wire.item(b"capabilities", b"\x08" + wire.string(b"pipelining,fragmentation"))
    )
    return wire.frame(101, items)


def agent_disconnect(status: int) -> bytes:
    """Write the AGENT-DISCONNECT of a status."""
    words = b"\x08" + wire.string(WORDS[status].encode())
    return wire.frame(102, wire.item(b"status-code", b"\x03" + wire.varint(status)) + wire.item(b"message", words))


def set_text(name: bytes, value: str) -> bytes:
    """Write the action that sets a variable in the scope `txn`."""
    return b"\x01\x03\x02" + wire.string(name) + b"\x08" + wire.string(value.encode())


def set_integer(name: bytes, value: int) -> bytes:
    """Write the same for an integer, which is an INT64."""
    return b"\x01\x03\x02" + wire.string(name) + b"\x04" + wire.varint(value)


@dataclass(frozen=True)
class Expected:
    """What the agent's ACK says, but for the revision, which the running agent knows."""

    verdict: str = "deny"
    status: int = 403
    reason: str = "no_rule_allows"
    rule: str = ""
    identity: str = ""
    days_left: int | None = None
    has_verdict: bool = True

    def actions(self, revision: str) -> bytes:
        """Write the LIST-OF-ACTIONS."""
        if not self.has_verdict:
            return set_text(b"revision", revision)
        return (
            set_text(b"verdict", self.verdict)
            + set_integer(b"status", self.status)
            + set_text(b"reason", self.reason)
            + set_text(b"rule", self.rule)
            + set_text(b"identity", self.identity)
            + set_text(b"revision", revision)
            + (b"" if self.days_left is None else set_integer(b"days_left", self.days_left))
        )


ALLOWED: Final = Expected("allow", 200, "ok", "open")
NO_VERDICT: Final = Expected(has_verdict=False)
#: Nothing says that it may be.
SHUT: Final = Expected()


def ack(ids: bytes, expected: Expected, revision: str) -> bytes:
    """Write the ACK to the NOTIFY of these ids."""
    return wire.frame(103, expected.actions(revision), ids=ids)


def at_once(connection: socket.socket, stream: bytes) -> None:
    """Send everything in one write."""
    connection.sendall(stream)


def byte_by_byte(connection: socket.socket, stream: bytes) -> None:
    """Send one byte a segment."""
    for byte in stream:
        connection.sendall(bytes([byte]))


FEEDS: Final[tuple[Callable[[socket.socket, bytes], None], ...]] = (at_once, byte_by_byte)
HELLO: Final = wire.hello()
#: A NOTIFY that is answered by `ALLOWED`; whatever is answered before it was answered to something else.
PROBE: Final = wire.notify(0x7777, 1, authorize("/open/probe"))
_PROBE_IDS: Final = wire.varint(0x7777) + b"\x01"


@dataclass
class Line:
    """One connection."""

    address: Address
    revision: str
    socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.socket = socket.create_connection((self.address.host, self.address.port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def read(self, size: int) -> bytes:
        """Return so many bytes, or fewer where the agent closes before."""
        found = b""
        while len(found) < size and (data := self.socket.recv(size - len(found))):
            found += data
        return found

    def rest(self) -> bytes:
        """Return everything until the agent closes."""
        found = b""
        while data := self.socket.recv(65536):
            found += data
        return found

    def ack(self, ids: bytes, expected: Expected) -> bytes:
        """Write the ACK that is expected."""
        return ack(ids, expected, self.revision)

    def must_answer(self, answer: bytes) -> None:
        """The next bytes are these."""
        assert self.read(len(answer)) == answer

    def must_serve(self) -> None:
        """Nothing is left to be read, and the connection serves: the next answer is the probe's."""
        self.socket.sendall(PROBE)
        self.must_answer(self.ack(_PROBE_IDS, ALLOWED))

    def must_close(self) -> None:
        """The agent closes by itself, within its second of patience, and says no more."""
        assert self.rest() == b""

    def must_end(self) -> None:
        """The agent closes when we do, and says no more."""
        with contextlib.suppress(OSError):  # it may have closed already
            self.socket.shutdown(socket.SHUT_WR)
        self.must_close()

    @property
    def segments(self) -> int:
        """How many TCP segments with data have come."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (count,) = struct.unpack_from("I", info, _DATA_SEGMENTS)
        return int(count)
