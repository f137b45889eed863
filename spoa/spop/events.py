"""What a connection tells its owner about the bytes it was given.

A NOTIFY is a plain tuple, since there are many; everything else is a value of a class of this module, and has a
`reply`: the bytes to be written in its turn, empty where there is nothing to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from spoa.exceptions import ProtocolError
    from spoa.spop.frames import Ack
    from spoa.spop.handshake import AgentHello, Disconnect, HaproxyHello

__all__ = [
    "AckReceived",
    "ConnectionBroken",
    "DisconnectReceived",
    "Event",
    "HealthCheckReceived",
    "HelloReceived",
    "NotifyReceived",
]

NotifyReceived: TypeAlias = tuple[bytes, bytes]
"""The ids of a NOTIFY, for `Connection.ack`, and its payload, for `read_arguments` or `read_messages`."""


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """The peer's HELLO fits: the connection is open. For an agent `reply` is the AGENT-HELLO."""

    hello: HaproxyHello | AgentHello
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class HealthCheckReceived:
    """The HELLO of a health check: nothing more will come, and once `reply` is written either side may close."""

    hello: HaproxyHello | AgentHello
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The agent answered a NOTIFY that was in flight."""

    ack: Ack
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class DisconnectReceived:
    """The peer leaves. For an agent `reply` is an AGENT-DISCONNECT with status 0, after which HAProxy closes."""

    disconnect: Disconnect
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class ConnectionBroken:
    """The peer broke the protocol: write `reply`, a DISCONNECT with the status of `error`, and close.

    Wait for the peer's end of file first (50 ms at least, a second at most): HAProxy 3.4 loses some of the requests of
    a connection that is closed right after its DISCONNECT. Always the last event of a connection.
    """

    error: ProtocolError
    reply: bytes


Event: TypeAlias = (
    NotifyReceived | HelloReceived | HealthCheckReceived | AckReceived | DisconnectReceived | ConnectionBroken
)
