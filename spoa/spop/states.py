"""What may happen on a connection, and when: a table for each side.

Theory of operation
-------------------

A connection is in one of five states::

    NEW      nothing was said yet
    GREETED  HAProxy said HELLO and waits for the agent's (HAProxy's side only: an agent answers at once)
    OPEN     both said HELLO
    CLOSING  our last frame is out or in our owner's hands; what is left is to wait for the peer to close
    CLOSED   nothing is expected and nothing is to be said

and in each of them a few things may happen, which `Happening` lists: frames that arrive, frames that we are asked to
send, the end of the stream, and `BREACH`, when the peer broke the protocol. `TRANSITIONS` says which of them lead
where, and that is all there is to know about the order of frames. What is not in the table must not happen:
`Connection` looks into it in one place, and turns what it does not find into status 4, "invalid frame". So a NOTIFY
before the HELLO, a second HELLO, or a frame that only the other side may send are no cases of their own anywhere.

A state in which even a BREACH can't happen is deaf: its bytes are dropped unread. An agent that sent its DISCONNECT is
deaf, because NOTIFYs may cross it, and nobody waits for their answer any more.

What the table does not show is what makes a well-placed frame a bad one: its size, its flags, its payload. These checks
stand with the frame's handler. Reassembly of a fragmented NOTIFY is not a state either, but one value, the part that is
there already: while there is one, the frame that goes on with it is the only NOTIFY that may come.

A connection that broke stays broken. The events before the breach are delivered, then `ConnectionBroken` ends the list.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from spoa.spop.frames import FrameType

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEAF", "RECEIVED", "TRANSITIONS", "Happening", "Role", "State"]


class Role(enum.Enum):
    """Which side of the connection we are."""

    AGENT = "agent"
    HAPROXY = "haproxy"


class State(enum.Enum):
    """How far a connection has come."""

    NEW = "new"
    GREETED = "greeted"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Happening(enum.Enum):
    """What can happen to a connection, seen from our side."""

    HELLO = "HELLO"
    HEALTH_CHECK = "HELLO of a health check"
    NOTIFY = "NOTIFY"
    FRAGMENT = "rest of a fragmented NOTIFY"
    ACK = "ACK"
    DISCONNECT = "DISCONNECT"
    UNKNOWN = "frame of an unknown type"
    MISDIRECTED = "frame that only we may send"
    SEND_HELLO = "sending HELLO"
    SEND_NOTIFY = "sending NOTIFY"
    SEND_DISCONNECT = "sending DISCONNECT"
    BREACH = "breach of the protocol"
    EOF = "end of the stream"


_H: Final = Happening
_S: Final = State

TRANSITIONS: Final[Mapping[Role, Mapping[State, Mapping[Happening, State]]]] = MappingProxyType(
    {
        Role.AGENT: {
            _S.NEW: {
                _H.HELLO: _S.OPEN,
                _H.HEALTH_CHECK: _S.CLOSING,
                _H.DISCONNECT: _S.CLOSING,
                _H.SEND_DISCONNECT: _S.CLOSING,
                _H.BREACH: _S.CLOSING,
                _H.EOF: _S.CLOSED,
            },
            _S.OPEN: {
                _H.NOTIFY: _S.OPEN,
                _H.FRAGMENT: _S.OPEN,
                _H.UNKNOWN: _S.OPEN,
                _H.DISCONNECT: _S.CLOSING,
                _H.SEND_DISCONNECT: _S.CLOSING,
                _H.BREACH: _S.CLOSING,
                _H.EOF: _S.CLOSED,
            },
            # The owner works through events that are older than the state, and may find one of them unreadable: so it
            # may always say DISCONNECT.
            _S.CLOSING: {_H.SEND_DISCONNECT: _S.CLOSING, _H.EOF: _S.CLOSED},
            _S.CLOSED: {_H.SEND_DISCONNECT: _S.CLOSED, _H.EOF: _S.CLOSED},
        },
        Role.HAPROXY: {
            _S.NEW: {_H.SEND_HELLO: _S.GREETED, _H.BREACH: _S.CLOSED, _H.EOF: _S.CLOSED},
            _S.GREETED: {
                _H.HELLO: _S.OPEN,
                _H.HEALTH_CHECK: _S.CLOSED,
                _H.DISCONNECT: _S.CLOSED,
                _H.SEND_DISCONNECT: _S.CLOSING,
                _H.BREACH: _S.CLOSED,
                _H.EOF: _S.CLOSED,
            },
            _S.OPEN: {
                _H.SEND_NOTIFY: _S.OPEN,
                _H.ACK: _S.OPEN,
                _H.UNKNOWN: _S.OPEN,
                _H.DISCONNECT: _S.CLOSED,
                _H.SEND_DISCONNECT: _S.CLOSING,
                _H.BREACH: _S.CLOSED,
                _H.EOF: _S.CLOSED,
            },
            _S.CLOSING: {
                _H.HELLO: _S.CLOSING,
                _H.HEALTH_CHECK: _S.CLOSING,
                _H.ACK: _S.CLOSING,
                _H.UNKNOWN: _S.CLOSING,
                _H.DISCONNECT: _S.CLOSED,
                _H.BREACH: _S.CLOSED,
                _H.EOF: _S.CLOSED,
            },
            _S.CLOSED: {_H.EOF: _S.CLOSED},
        },
    }
)

DEAF: Final = MappingProxyType(
    {
        role: frozenset(state for state, row in rows.items() if Happening.BREACH not in row)
        for role, rows in TRANSITIONS.items()
    }
)
"""The states of a role in which whatever arrives is dropped unread."""

RECEIVED: Final[Mapping[Role, Mapping[int, Happening]]] = MappingProxyType(
    {
        Role.AGENT: dict.fromkeys(map(int, FrameType), Happening.MISDIRECTED)
        | {
            FrameType.HAPROXY_HELLO: Happening.HELLO,
            FrameType.HAPROXY_DISCONNECT: Happening.DISCONNECT,
            FrameType.NOTIFY: Happening.NOTIFY,
            FrameType.UNSET: Happening.FRAGMENT,
        },
        Role.HAPROXY: dict.fromkeys(map(int, FrameType), Happening.MISDIRECTED)
        | {
            FrameType.AGENT_HELLO: Happening.HELLO,
            FrameType.AGENT_DISCONNECT: Happening.DISCONNECT,
            FrameType.ACK: Happening.ACK,
        },
    }
)
"""How the types that are assigned appear to a role; any other type is `UNKNOWN`."""
