"""Connections for tests, and everything that ends one: why, the bytes, and the status that goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from spoa.spop import (
    AgentDisconnect,
    AgentHello,
    Connection,
    ConnectionBroken,
    DataType,
    Event,
    HaproxyDisconnect,
    Role,
    Scope,
    SetVar,
    State,
    read_frame,
    write_frame,
)
from spoa.spop.connection import HELLO_SIZE
from tests import wire

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AGENT_BREACHES",
    "AGENT_BREACHES_WHEN_OPEN",
    "ALLOW",
    "BREACHES",
    "BREACHES_WHEN_OPEN",
    "PAYLOAD",
    "Feed",
    "agent",
    "opened",
    "relay",
    "status_of",
]

Feed: TypeAlias = "Callable[[Connection, bytes], list[Event]]"

ALLOW = (SetVar(Scope.TRANSACTION, b"verdict", DataType.STRING, b"allow"),)
PAYLOAD = wire.message(b"check", wire.item(b"path", b"\x08\x01/"))
HUGE = b"\xff\xff\xff\xff"


def agent(**sizes: int) -> Connection:
    """Return the agent's side of an open connection; HAProxy announced 16380 bytes."""
    connection = Connection(Role.AGENT, **sizes)
    connection.receive_data(wire.hello())
    return connection


def opened(**sizes: int) -> tuple[Connection, Connection]:
    """Return both sides of an open connection: HAProxy's, then the agent's."""
    proxy, connection = Connection(Role.HAPROXY, max_frame_size=16380), Connection(Role.AGENT, **sizes)
    relay(connection, proxy.send_hello(), proxy)
    assert (proxy.state, connection.state) == (State.OPEN, State.OPEN)
    return proxy, connection


def relay(receiver: Connection, stream: bytes, sender: Connection) -> list[Event]:
    """Hand bytes over, and what is replied to them back; return the events of the receiver."""
    events = receiver.receive_data(stream)
    for event in events:
        if not isinstance(event, tuple) and event.reply:
            sender.receive_data(event.reply)
    return events


def status_of(events: list[Event]) -> int:
    """Return the status of the breach that ends the events, which is also what the peer is told."""
    event = events[-1]
    assert isinstance(event, ConnectionBroken)
    told = read_frame(event.reply)
    assert isinstance(told, AgentDisconnect | HaproxyDisconnect)
    assert told.status == event.error.status
    return told.status


#: What an agent refuses before the HELLO.
BREACHES: dict[str, tuple[bytes, int]] = {
    "no version": (wire.hello(versions=None), 5),
    "no frame size": (wire.hello(size=None), 6),
    "another version": (wire.hello(versions=b"\x08\x031.0"), 8),
    "a small frame size": (wire.hello(size=b"\x03\xff\0"), 9),
    "a wrong type": (wire.hello(size=b"\x08\x0216"), 4),
    "a fragmented HELLO": (wire.hello(flags=0), 10),
    "a HELLO of a stream": (wire.hello(ids=b"\x01\0"), 4),
    "a HELLO of a frame": (wire.hello(ids=b"\0\x01"), 4),
    "NOTIFY before HELLO": (wire.notify(1, 1, PAYLOAD), 4),
    "a fragment before HELLO": (wire.notify(1, 1, PAYLOAD, flags=0), 4),
    "a rest before HELLO": (wire.notify(1, 1, PAYLOAD, kind=0), 4),
    "an unknown type before HELLO": (wire.frame(50), 4),
    "an agent's frame before HELLO": (wire.recorded("agent-hello")[0], 4),
    **{f"a length of {length}": (wire.frame(1, length=length), 4) for length in range(7)},
    "a frame above what is taken before HELLO": ((HELLO_SIZE + 1).to_bytes(4, "big"), 3),
    "the largest length": (HUGE, 3),
    "ids past the end": (wire.frame(1, ids=b"\xff\xff"), 4),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", 3),
}
BREACHES_WHEN_OPEN: dict[str, tuple[bytes, int]] = {
    "a second HELLO": (wire.hello(), 4),
    "a second HELLO, of a health check": (wire.recorded("haproxy-hello-healthcheck")[0], 4),
    "an agent's HELLO": (wire.recorded("agent-hello")[0], 4),
    "an agent's DISCONNECT": (wire.recorded("agent-disconnect")[0], 4),
    "an ACK": (wire.recorded("ack-empty")[0], 4),
    "a fragmented DISCONNECT": (wire.frame(2, flags=0), 10),
    "a DISCONNECT of a stream": (wire.frame(2, ids=b"\x01\x01"), 4),
    "a broken DISCONNECT": (wire.frame(2, b"\x05"), 4),
    **{f"a length of {length}": (wire.frame(3, length=length), 4) for length in range(7)},
    "a frame above what was announced": ((16381).to_bytes(4, "big"), 3),
    "the largest length": (HUGE, 3),
    "a stream-id past the end": (wire.frame(3, ids=b"\xff\xff"), 4),
    "a frame-id past the end": (wire.frame(3, ids=b"\x01\xff"), 4),
    "a frame-id past the end, of three bytes": (wire.frame(3, ids=b"\x01\xff\xff"), 4),
    "a stream-id of eleven bytes": (wire.frame(3, bytes(9), ids=b"\xff" * 10 + b"\0\x01"), 4),
    "a stream-id of a thousand bytes": (wire.frame(3, ids=b"\xff" * 1000), 4),
    "a stream-id above 64 bits": (wire.frame(3, ids=b"\xf0\xf1" + b"\xfe" * 7 + b"\x0e\x01"), 4),
    "a frame-id above 64 bits": (wire.frame(3, ids=b"\x01\xf0\xf1" + b"\xfe" * 7 + b"\x0e"), 4),
    "a rest of nothing": (wire.notify(1, 1, PAYLOAD, kind=0), 12),
    "an aborted rest of nothing": (wire.notify(1, 1, b"", kind=0, flags=3), 12),
    "a NOTIFY inside a fragmented one": (wire.notify(1, 1, b"x", flags=0) + wire.notify(3, 1, b"y"), 11),
    "the same NOTIFY again": (wire.notify(1, 1, b"x", flags=0) * 2, 11),
    "a rest of another stream": (wire.notify(1, 1, b"x", flags=0) + wire.notify(3, 1, b"y", kind=0), 11),
    "a rest of another frame": (wire.notify(1, 1, b"x", flags=0) + wire.notify(1, 2, b"y", kind=0), 11),
}

#: What HAProxy's side refuses before the HELLO.
AGENT_BREACHES: dict[str, tuple[bytes, int]] = {
    "no version": (wire.frame(101, wire.item(b"max-frame-size", b"\x03\xfc\xf0\x06")), 5),
    "more than announced": (write_frame(AgentHello(16381)), 9),
    "a fragmented HELLO": (wire.frame(101, flags=0), 10),
    "a HELLO of a stream": (wire.frame(101, ids=b"\x01\x01"), 4),
    "an ACK before HELLO": (wire.recorded("ack-empty")[0], 4),
    "an unknown type before HELLO": (wire.frame(50), 4),
    "HAProxy's own frame": (wire.hello(), 4),
}
AGENT_BREACHES_WHEN_OPEN: dict[str, tuple[bytes, int]] = {
    "a second HELLO": (wire.recorded("agent-hello")[0], 4),
    "a NOTIFY": (wire.notify(1, 1, b""), 4),
    "a rest of a NOTIFY": (wire.notify(1, 1, b"", kind=0), 4),
    "a fragmented ACK": (wire.frame(103, flags=0, ids=b"\x01\x01"), 10),
    "a broken ACK": (wire.frame(103, b"\x01", ids=b"\x01\x01"), 4),
    "a frame above what was negotiated": ((16381).to_bytes(4, "big"), 3),
    "a broken DISCONNECT": (wire.frame(102, b"\x01"), 4),
}
