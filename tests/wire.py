"""Frames as HAProxy sends them, right ones and wrong ones, and ways to feed them to a connection.

What is written here is written without `spoa.spop`, so that it checks that package instead of repeating it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from spoa.spop import ConnectionBroken, payload_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spoa.spop import Connection, Event

__all__ = [
    "CORPUS",
    "FEEDERS",
    "byte_by_byte",
    "comparable",
    "disconnect",
    "frame",
    "hello",
    "item",
    "message",
    "notify",
    "recorded",
    "served",
    "string",
    "varint",
    "whole",
    "with_junk_behind",
]

CORPUS: Final = Path(__file__).parent / "corpus" / "spop"

#: The beginning of a frame that never ends.
JUNK: Final = b"\0\0\1\0\3\0\0\0"


def varint(value: int) -> bytes:
    """Write an integer as HAProxy does (`encode_varint` in its `intops.h`, told in our words)."""
    if value < 240:
        return bytes([value])
    written = [(value | 0xF0) & 0xFF]
    value = (value - 240) >> 4
    while value >= 128:
        written.append((value | 0x80) & 0xFF)
        value = (value - 128) >> 7
    return bytes([*written, value])


def string(value: bytes) -> bytes:
    return varint(len(value)) + value


def item(key: bytes, typed: bytes) -> bytes:
    """Write one item of a HELLO, or one argument of a message; `typed` is the value with its type byte."""
    return string(key) + typed


def message(name: bytes, *arguments: bytes, count: int | None = None) -> bytes:
    """Write one message of arguments made by `item`; `count` lies about their number."""
    return string(name) + bytes([len(arguments) if count is None else count]) + b"".join(arguments)


def frame(kind: int, payload: bytes = b"", *, flags: int = 1, ids: bytes = b"\0\0", length: int | None = None) -> bytes:
    """Write one frame; `length` lies about its length."""
    rest = bytes([kind]) + flags.to_bytes(4, "big") + ids + payload
    return (len(rest) if length is None else length).to_bytes(4, "big") + rest


def hello(
    *,
    versions: bytes | None = b"\x08\x032.0",
    size: bytes | None = b"\x03\xfc\xf0\x06",
    capabilities: bytes | None = b"\x08\x0apipelining",
    others: Iterable[bytes] = (),
    flags: int = 1,
    ids: bytes = b"\0\0",
) -> bytes:
    """Write a HAPROXY-HELLO: 2.0, 16380 bytes, pipelining; each value is typed data, None leaves the key away."""
    keys = ((b"supported-versions", versions), (b"max-frame-size", size), (b"capabilities", capabilities))
    items = [item(key, typed) for key, typed in keys if typed is not None]
    return frame(1, b"".join([*items, *others]), flags=flags, ids=ids)


def notify(stream_id: int, frame_id: int, payload: bytes, *, flags: int = 1, kind: int = 3) -> bytes:
    """Write a NOTIFY, or with `kind` 0 what continues one."""
    return frame(kind, payload, flags=flags, ids=varint(stream_id) + varint(frame_id))


def disconnect(status: int = 0, text: bytes = b"normal") -> bytes:
    """Write a HAPROXY-DISCONNECT."""
    return frame(2, item(b"status-code", b"\x03" + varint(status)) + item(b"message", b"\x08" + string(text)))


def recorded(name: str) -> list[bytes]:
    """Return the frames of a file of the corpus."""
    lines = (CORPUS / f"{name}.hex").read_text().splitlines()
    stream = bytes.fromhex("".join(line for line in lines if not line.startswith("#")))
    frames: list[bytes] = []
    while stream:
        size = 4 + int.from_bytes(stream[:4], "big")
        frames.append(stream[:size])
        stream = stream[size:]
    return frames


def whole(connection: Connection, stream: bytes) -> list[Event]:
    return connection.receive_data(stream)


def byte_by_byte(connection: Connection, stream: bytes) -> list[Event]:
    return [event for byte in stream for event in connection.receive_data(bytes([byte]))]


def with_junk_behind(connection: Connection, stream: bytes) -> list[Event]:
    return connection.receive_data(stream + JUNK)


def served(connection: Connection, read: bytes) -> list[Event]:
    """Feed a read by the short way as far as there is one, as a peer does."""
    events: list[Event] = []
    position = 0
    while (stop := connection.notify_end(read, position)) > 0:
        start = payload_start(read, position, stop)
        if start < 0:
            break
        events.append((connection.ids_of(read, position, start), read[start:stop]))
        position = stop
    return events + (connection.receive_data(read[position:]) if position < len(read) else [])


def frame_by_frame(connection: Connection, stream: bytes) -> list[Event]:
    """Feed each frame as a read of its own."""
    events: list[Event] = []
    while stream:
        size = 4 + int.from_bytes(stream[:4], "big")
        read, stream = stream[:size], stream[size:]
        events += served(connection, read)
    return events


FEEDERS: Final[tuple[Callable[[Connection, bytes], list[Event]], ...]] = (
    whole,
    byte_by_byte,
    with_junk_behind,
    frame_by_frame,
)


def comparable(events: Iterable[Event]) -> list[object]:
    """Make lists of events equal where they mean the same: two errors are, when they say the same."""
    return [
        ("broken", event.error.status, event.error.detail, event.reply)
        if isinstance(event, ConnectionBroken)
        else event
        for event in events
    ]
