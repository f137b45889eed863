"""Frames: the header before every payload, and the kinds of frame as values, in both directions (SPOE.txt section 3.2).

::

    length   4 bytes, big endian    of all that follows
    type     1 byte
    flags    4 bytes, big endian    FIN, ABRT; the others are reserved and ignored
    ids      2 varints              stream-id and frame-id
    payload  the rest

`read_frame` and `write_frame` turn a whole frame into a value and back. A connection does not use them for NOTIFY and
ACK, of which there are many: it hands out the payload, and copies the ids as the bytes they were.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from spoa.exceptions import ProtocolError
from spoa.spop.handshake import (
    AgentDisconnect,
    AgentHello,
    HaproxyDisconnect,
    HaproxyHello,
    read_agent_hello,
    read_disconnect,
    read_haproxy_hello,
    write_agent_hello,
    write_disconnect,
    write_haproxy_hello,
)
from spoa.spop.payloads import Action, Message, read_actions, read_messages, write_actions, write_messages
from spoa.spop.status import Status
from spoa.spop.varint import read_varint, write_varint

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ABRT",
    "FIN",
    "HEADER",
    "NO_IDS",
    "PREFIX_SIZE",
    "SMALLEST_LENGTH",
    "Ack",
    "Frame",
    "FrameType",
    "Header",
    "Notify",
    "frame_bytes",
    "read_frame",
    "read_header",
    "read_ids",
    "read_length",
    "require_whole",
    "write_frame",
    "write_ids",
]


class FrameType(enum.IntEnum):
    """The types; `UNSET` continues a fragmented NOTIFY."""

    UNSET = 0
    HAPROXY_HELLO = 1
    HAPROXY_DISCONNECT = 2
    NOTIFY = 3
    AGENT_HELLO = 101
    AGENT_DISCONNECT = 102
    ACK = 103


FIN: Final = 1  # the last frame, or the only one, of a payload
ABRT: Final = 2  # a fragmented payload is given up

PREFIX_SIZE: Final = 4  # bytes of the length itself, which it does not count
SMALLEST_LENGTH: Final = 7  # type, flags and two ids of one byte each
NO_IDS: Final = b"\0\0"  # of a HELLO and a DISCONNECT

HEADER: Final = struct.Struct(">IBI")


class Header(NamedTuple):
    """What stands before a payload; `ids` are the bytes of both, `size` is that of the header, length included."""

    type: int
    flags: int
    ids: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Notify:
    """Messages to judge (SPOE.txt section 3.2.6); one stream may have several frames, told apart by `frame_id`."""

    stream_id: int
    frame_id: int
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """The actions that answer the NOTIFY of the same ids (SPOE.txt section 3.2.7)."""

    stream_id: int
    frame_id: int
    actions: tuple[Action, ...] = ()


Frame: TypeAlias = HaproxyHello | AgentHello | Notify | Ack | HaproxyDisconnect | AgentDisconnect


def read_length(buffer: bytes, position: int) -> int:
    """Read the length of the frame at `position`; four bytes are enough.

    Raises:
        ProtocolError: status 4, when it is below `SMALLEST_LENGTH`.
    """
    length = int.from_bytes(buffer[position : position + PREFIX_SIZE], "big")
    if length < SMALLEST_LENGTH:
        raise ProtocolError(Status.INVALID_FRAME, f"a frame of {length} bytes")
    return length


def read_header(frame: bytes) -> Header:
    """Read the header of a whole frame whose length was found right.

    Raises:
        ProtocolError: status 4, when the ids do not fit into the frame.
    """
    _, frame_type, flags = HEADER.unpack_from(frame)
    _, start = read_varint(frame, HEADER.size)
    _, start = read_varint(frame, start)
    return Header(frame_type, flags, frame[HEADER.size : start], start)


def frame_bytes(frame_type: int, flags: int, ids: bytes, payload: bytes) -> bytes:
    """Put a frame together."""
    return HEADER.pack(5 + len(ids) + len(payload), frame_type, flags) + ids + payload


def read_ids(ids: bytes) -> tuple[int, int]:
    """Read stream-id and frame-id.

    Raises:
        ProtocolError: status 4, when the bytes are not two integers.
    """
    stream_id, position = read_varint(ids, 0)
    frame_id, _ = read_varint(ids, position)
    return stream_id, frame_id


def write_ids(stream_id: int, frame_id: int) -> bytes:
    """Write stream-id and frame-id."""
    return write_varint(stream_id) + write_varint(frame_id)


class _Kind(NamedTuple):
    """One kind of frame: its type and its payload in both directions; reading is given the ids too."""

    type: FrameType
    read: Callable[[int, int, bytes], Frame]
    write: Callable[..., bytes]


_KINDS: Final[dict[type, _Kind]] = {
    HaproxyHello: _Kind(
        FrameType.HAPROXY_HELLO, lambda _s, _f, payload: read_haproxy_hello(payload), write_haproxy_hello
    ),
    AgentHello: _Kind(FrameType.AGENT_HELLO, lambda _s, _f, payload: read_agent_hello(payload), write_agent_hello),
    HaproxyDisconnect: _Kind(
        FrameType.HAPROXY_DISCONNECT,
        lambda _s, _f, payload: HaproxyDisconnect(*read_disconnect(payload)),
        write_disconnect,
    ),
    AgentDisconnect: _Kind(
        FrameType.AGENT_DISCONNECT,
        lambda _s, _f, payload: AgentDisconnect(*read_disconnect(payload)),
        write_disconnect,
    ),
    Notify: _Kind(
        FrameType.NOTIFY,
        lambda stream_id, frame_id, payload: Notify(stream_id, frame_id, tuple(read_messages(payload))),
        lambda notify: write_messages(notify.messages),
    ),
    Ack: _Kind(
        FrameType.ACK,
        lambda stream_id, frame_id, payload: Ack(stream_id, frame_id, read_actions(payload)),
        lambda ack: write_actions(ack.actions),
    ),
}
_BY_TYPE: Final[dict[int, _Kind]] = {kind.type: kind for kind in _KINDS.values()}
_OF_A_STREAM: Final = (FrameType.NOTIFY, FrameType.ACK)


def require_whole(header: Header) -> None:
    """Refuse a fragment, and a HELLO or DISCONNECT that belongs to a stream (SPOE.txt section 3.2).

    Raises:
        ProtocolError: status 10 for a fragment, status 4 for ids that are not zero.
    """
    if not header.flags & FIN:
        raise ProtocolError(Status.FRAGMENTATION_NOT_SUPPORTED, "a fragment of a frame that can't have any")
    if header.type not in _OF_A_STREAM and header.ids != NO_IDS:
        raise ProtocolError(Status.INVALID_FRAME, "a HELLO or DISCONNECT with ids that are not zero")


def read_frame(frame: bytes) -> Frame:
    """Read one whole frame, length prefix included.

    Raises:
        ProtocolError: 10, when the frame is a fragment; otherwise mostly 4, and as the reader of its kind says.
    """
    if read_length(frame, 0) != len(frame) - PREFIX_SIZE:
        raise ProtocolError(Status.INVALID_FRAME, "not as long as it says")
    header = read_header(frame)
    kind = _BY_TYPE.get(header.type)
    if kind is None:
        raise ProtocolError(Status.INVALID_FRAME, f"a frame of type {header.type}")
    require_whole(header)
    return kind.read(*read_ids(header.ids), frame[header.size :])


def write_frame(frame: Frame) -> bytes:
    """Write one whole frame, length prefix included.

    Raises:
        ValueError: when a value does not fit its type.
    """
    kind = _KINDS[type(frame)]
    ids = write_ids(frame.stream_id, frame.frame_id) if isinstance(frame, Notify | Ack) else NO_IDS
    return frame_bytes(kind.type, FIN, ids, kind.write(frame))
