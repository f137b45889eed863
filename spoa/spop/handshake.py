"""How a connection begins and ends: HELLO and DISCONNECT of both sides (SPOE.txt sections 3.2.4, 3.2.5, 3.2.8, 3.2.9).

Their payload is a list of named items. Keys may come in any order, unknown ones are skipped whatever their type, and
of a key that comes twice the last one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spoa.exceptions import ProtocolError
from spoa.spop.payloads import read_items, write_items
from spoa.spop.status import Status
from spoa.spop.typeddata import DataType, Value

__all__ = [
    "SMALLEST_FRAME_SIZE",
    "AgentDisconnect",
    "AgentHello",
    "Disconnect",
    "HaproxyDisconnect",
    "HaproxyHello",
    "read_agent_hello",
    "read_disconnect",
    "read_haproxy_hello",
    "write_agent_hello",
    "write_disconnect",
    "write_haproxy_hello",
]

VERSION: Final = (2, 0)
SMALLEST_FRAME_SIZE: Final = 256  # bytes; nothing less may be negotiated (SPOE.txt section 3.2)
LONGEST_MESSAGE: Final = 255  # bytes of a DISCONNECT's message that every HAProxy accepts

_INTEGERS: Final = (DataType.INT32, DataType.UINT32, DataType.INT64, DataType.UINT64)


@dataclass(frozen=True, slots=True)
class HaproxyHello:
    """The first frame of a connection (SPOE.txt section 3.2.4).

    Attributes:
        max_frame_size: what HAProxy can take, in bytes without the length prefix; at least 256.
        versions: (major, minor) of each version that HAProxy speaks and that could be read; always one is 2.0.
        capabilities: as listed, without spaces.
        engine_id: names the engine; empty where it was not sent.
        is_healthcheck: nothing follows; an AGENT-HELLO is all that is asked for.
    """

    max_frame_size: int
    versions: tuple[tuple[int, int], ...] = (VERSION,)
    capabilities: tuple[str, ...] = ()
    engine_id: bytes = b""
    is_healthcheck: bool = False


@dataclass(frozen=True, slots=True)
class AgentHello:
    """The answer to a HAPROXY-HELLO (SPOE.txt section 3.2.5).

    Attributes:
        max_frame_size: what both sides keep to from now on, in bytes without the length prefix; at least 256.
        capabilities: as listed, without spaces.
    """

    max_frame_size: int
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The last frame of a side (SPOE.txt sections 3.2.8 and 3.2.9).

    Attributes:
        status: a number of `Status`, or one that is not assigned; 99 where none was sent.
        message: for people; written up to 255 bytes.
    """

    status: int
    message: bytes = b""


class HaproxyDisconnect(Disconnect):
    """The last frame of HAProxy."""

    __slots__ = ()


class AgentDisconnect(Disconnect):
    """The last frame of an agent."""

    __slots__ = ()


def _text(items: dict[bytes, tuple[int, Value]], key: bytes) -> str | None:
    if key not in items:
        return None
    data_type, value = items[key]
    if data_type != DataType.STRING or not isinstance(value, bytes):
        raise ProtocolError(Status.INVALID_FRAME, f"{key.decode()} is not a string")
    return value.decode("latin-1")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def _version(text: str) -> tuple[int, int] | None:
    major, _, minor = text.strip(" ").partition(".")
    if not all(1 <= len(part) <= 3 and part.isascii() and part.isdigit() for part in (major, minor)):  # noqa: PLR2004  # any small bound will do
        return None
    return int(major), int(minor)


def _frame_size(items: dict[bytes, tuple[int, Value]]) -> int:
    if b"max-frame-size" not in items:
        raise ProtocolError(Status.NO_FRAME_SIZE, "no max-frame-size")
    data_type, value = items[b"max-frame-size"]
    if data_type not in _INTEGERS or not isinstance(value, int):
        raise ProtocolError(Status.INVALID_FRAME, "max-frame-size is not an integer")
    if value < SMALLEST_FRAME_SIZE:
        raise ProtocolError(Status.BAD_FRAME_SIZE, f"a max-frame-size of {value}")
    return value


def read_haproxy_hello(payload: bytes) -> HaproxyHello:
    """Read a HAPROXY-HELLO; keys in any order, unknown ones are skipped, of one that comes twice the last counts.

    Raises:
        ProtocolError: 5 or 6, when versions or frame size are missing; 8, when 2.0 is not among the versions; 9, when
            the frame size is below 256; 4, when an item has a wrong type or the payload can't be decoded.
    """
    items = read_items(payload)
    versions = _text(items, b"supported-versions")
    if versions is None:
        raise ProtocolError(Status.NO_VERSION, "no supported-versions")
    spoken = tuple(version for version in map(_version, versions.split(",")) if version)
    if VERSION not in spoken:
        raise ProtocolError(Status.UNSUPPORTED_VERSION, "2.0 is not among the supported-versions")
    data_type, is_healthcheck = items.get(b"healthcheck", (DataType.BOOL, False))
    if data_type != DataType.BOOL:
        raise ProtocolError(Status.INVALID_FRAME, "healthcheck is not a boolean")
    return HaproxyHello(
        max_frame_size=_frame_size(items),
        versions=spoken,
        capabilities=_words(_text(items, b"capabilities") or ""),
        engine_id=(_text(items, b"engine-id") or "").encode("latin-1"),
        is_healthcheck=bool(is_healthcheck),
    )


def write_haproxy_hello(hello: HaproxyHello) -> bytes:
    """Write the payload of a HAPROXY-HELLO."""
    items: list[tuple[bytes, int, Value]] = [
        (
            b"supported-versions",
            DataType.STRING,
            ",".join(f"{major}.{minor}" for major, minor in hello.versions).encode(),
        ),
        (b"max-frame-size", DataType.UINT32, hello.max_frame_size),
        (b"capabilities", DataType.STRING, ",".join(hello.capabilities).encode("latin-1")),
    ]
    if hello.engine_id:
        items.append((b"engine-id", DataType.STRING, hello.engine_id))
    if hello.is_healthcheck:
        items.append((b"healthcheck", DataType.BOOL, True))
    return write_items(items)


def read_agent_hello(payload: bytes) -> AgentHello:
    """Read an AGENT-HELLO, as strictly as the strictest HAProxy; capabilities may be missing.

    Raises:
        ProtocolError: 5 or 6, when version or frame size are missing; 8, when the version is not 2.0; 9, when the frame
            size is below 256; 4, when an item has a wrong type or the payload can't be decoded.
    """
    items = read_items(payload)
    text = _text(items, b"version")
    if text is None:
        raise ProtocolError(Status.NO_VERSION, "no version")
    version = _version(text)
    if version is None:
        raise ProtocolError(Status.INVALID_FRAME, "a version that is no version")
    if version != VERSION:
        raise ProtocolError(Status.UNSUPPORTED_VERSION, "a version that is not 2.0")
    return AgentHello(_frame_size(items), _words(_text(items, b"capabilities") or ""))


def write_agent_hello(hello: AgentHello) -> bytes:
    """Write the payload of an AGENT-HELLO."""
    return write_items(
        [
            (b"version", DataType.STRING, b"2.0"),
            (b"max-frame-size", DataType.UINT32, hello.max_frame_size),
            (b"capabilities", DataType.STRING, ",".join(hello.capabilities).encode("latin-1")),
        ]
    )


def read_disconnect(payload: bytes) -> tuple[int, bytes]:
    """Read a DISCONNECT of either side: status and message.

    Raises:
        ProtocolError: status 4, when an item has a wrong type or the payload can't be decoded.
    """
    items = read_items(payload)
    data_type, status = items.get(b"status-code", (DataType.UINT32, int(Status.UNKNOWN)))
    if data_type not in _INTEGERS or not isinstance(status, int):
        raise ProtocolError(Status.INVALID_FRAME, "status-code is not an integer")
    return status, (_text(items, b"message") or "").encode("latin-1")


def write_disconnect(disconnect: Disconnect) -> bytes:
    """Write the payload of a DISCONNECT, its message cut to 255 bytes."""
    return write_items(
        [
            (b"status-code", DataType.UINT32, disconnect.status),
            (b"message", DataType.STRING, disconnect.message[:LONGEST_MESSAGE]),
        ]
    )
