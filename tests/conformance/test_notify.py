"""What a NOTIFY may hold, and what its ACK says: cases 19 to 26 and 31 to 35."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from spoa.spop import DataType, write_typed
from tests import wire
from tests.agents import authorize
from tests.conformance.line import (
    ALLOWED,
    FEEDS,
    HELLO,
    NO_VERDICT,
    SHUT,
    Expected,
    Line,
    agent_disconnect,
    agent_hello,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agents import Agent

pytestmark = pytest.mark.timeout(300)  # agents start slowly on a busy machine

ONE = b"\x01\x01"
TEXT, BINARY, INT64, NULL, BOOL = DataType.STRING, DataType.BINARY, DataType.INT64, DataType.NULL, DataType.BOOL
MALFORMED = Expected(reason="malformed_message")
NOT_CANONICAL = Expected(status=400, reason="path_not_canonical")
NO_CERTIFICATE = Expected(reason="no_certificate")
ARGUMENT = wire.item(b"path", b"\x08\x01/")


def others(count: int, name: bytes = b"") -> bytes:
    """Return the arguments of a message that nobody wants."""
    return wire.message(b"other", *[wire.item(name, b"\x04\x07")] * count)


def at_path(kind: DataType, value: bytes | None) -> bytes:
    """Ask with a path of any type."""
    return authorize().replace(wire.item(b"path", b"\x08\x07/open/x"), b"\x04path" + write_typed(kind, value))


#: Case → payload of a NOTIFY, what its ACK says.
JUDGED: dict[str, tuple[bytes, Expected]] = {
    "22 an empty payload": (b"", NO_VERDICT),
    "23 an unknown message": (others(1), NO_VERDICT),
    "23 two unknown messages": (others(1) + others(2), NO_VERDICT),
    "23 an unknown message before and behind": (others(3) + authorize() + others(3), ALLOWED),
    "23 two messages to be judged": (authorize() * 2, MALFORMED),
    "23 a message without arguments": (wire.message(b"authorize"), MALFORMED),
    "23 an unknown message of 255 arguments": (others(255), NO_VERDICT),
    "23 an empty name": (wire.message(b"", ARGUMENT), NO_VERDICT),
    "23 another spelling of the name": (wire.message(b"Authorize", ARGUMENT), NO_VERDICT),
    "23 an argument without a name": (authorize("/open/x", **{"": (TEXT, b"x")}), ALLOWED),
    "23 an unknown argument": (authorize(whatever=(TEXT, b"x")), ALLOWED),
    "24 flags on a string": (authorize().replace(b"\x04path\x08", b"\x04path\x18"), ALLOWED),
    "24 flags on an integer": (authorize().replace(b"\x06verify\x04", b"\x06verify\xf4"), ALLOWED),
    "24 flags on NULL": (authorize().replace(b"\x04cert\x00", b"\x04cert\xf0"), ALLOWED),
    **{
        f"25 verify of type {int(kind)}": (authorize(verify=(kind, 0)), ALLOWED)
        for kind in (DataType.INT32, DataType.UINT32, DataType.INT64, DataType.UINT64)
    },
    "25 verify as a string": (authorize(verify=(TEXT, b"0")), MALFORMED),
    "25 verify as a boolean": (authorize(verify=(BOOL, False)), MALFORMED),
    "25 verify as NULL, without a certificate": (authorize(verify=(NULL, None)), ALLOWED),
    "25 cert as a string": (authorize(cert=(TEXT, b"0")), MALFORMED),
    "25 cert as an integer": (authorize(cert=(INT64, 0)), MALFORMED),
    "25 used as an integer": (authorize(used=(INT64, 0)), MALFORMED),
    "25 used as NULL": (authorize(used=(NULL, None)), NO_CERTIFICATE),
    "25 used as NULL, resumed": (
        authorize(used=(NULL, None), resumed=(BOOL, True)),
        Expected(reason="certificate_unavailable"),
    ),
    "25 src as NULL": (authorize(src=(NULL, None)), ALLOWED),
    "25 src as IPv6": (authorize(src=(DataType.IPV6, bytes(16))), ALLOWED),
    "25 src as a string": (authorize(src=(TEXT, b"127.0.0.1")), MALFORMED),
    "25 method as NULL, which no rule asks for": (authorize(method=(NULL, None)), ALLOWED),
    "25 method as binary": (authorize(method=(BINARY, b"GET")), MALFORMED),
    "25 path as NULL": (at_path(NULL, None), NOT_CANONICAL),
    "25 path as binary": (at_path(BINARY, b"/open/x"), MALFORMED),
    "25 host as an integer": (authorize(host=(INT64, 1)), MALFORMED),
    "25 sni as binary": (authorize(sni=(BINARY, b"a")), MALFORMED),
    "25 tls as a boolean": (authorize(tls=(BOOL, True)), MALFORMED),
    "25 resumed as a string": (authorize(resumed=(TEXT, b"1")), MALFORMED),
    "25 id as an integer": (authorize(id=(INT64, 1)), MALFORMED),
    "25 a header as an integer": (authorize("/open/x", **{"hdr.x": (INT64, 1)}), MALFORMED),
    "25 a header's count as a string": (authorize("/open/x", **{"hdrcnt.x": (TEXT, b"1")}), MALFORMED),
    "26 a path with NUL": (at_path(TEXT, b"/open/\0"), NOT_CANONICAL),
    "26 a path with CR and LF": (at_path(TEXT, b"/open/\r\n{}"), NOT_CANONICAL),
    "26 a path that is no UTF-8": (at_path(TEXT, b"/open/\xff\xfe"), NOT_CANONICAL),
    "26 a path of 16 KiB": (authorize("/open/" + "x" * 16000), ALLOWED),
    "26 a method with NUL": (authorize(method=(TEXT, b"G\0T")), ALLOWED),
    "26 an id with CR and LF": (authorize(id=(TEXT, b'x\r\n{"verdict": "allow"}\n')), ALLOWED),
    "26 a host with LF": (authorize(host=(TEXT, b"a\nb")), MALFORMED),
    "26 a host that is no UTF-8": (authorize(host=(TEXT, b"\xff.example")), MALFORMED),
}


def without(*names: str) -> bytes:
    """Return an `authorize` message that leaves arguments out."""
    written = {
        "cert": wire.item(b"cert", b"\0"),
        "verify": wire.item(b"verify", b"\x04\0"),
        "used": wire.item(b"used", b"\x01"),
        "method": wire.item(b"method", b"\x08\x03GET"),
        "path": wire.item(b"path", b"\x08\x07/open/x"),
    }
    return wire.message(b"authorize", *(item for name, item in written.items() if name not in names))


JUDGED |= {
    "25 cert left out": (without("cert"), MALFORMED),
    "25 verify left out": (without("verify"), MALFORMED),
    "25 used left out": (without("used"), NO_CERTIFICATE),
    "25 path left out": (without("path"), SHUT),
    "25 method and path left out, which is TCP": (without("method", "path"), SHUT),
    **{
        f"23 {name} twice": (
            wire.message(b"authorize", *[wire.item(name.encode(), typed)] * 2, *[
                wire.item(key, value)
                for key, value in ((b"cert", b"\0"), (b"verify", b"\x04\0"))
                if key.decode() != name
            ]),
            MALFORMED,
        )
        for name, typed in {
            "cert": b"\0", "verify": b"\x04\0", "used": b"\x01", "src": b"\x06\x7f\0\0\x01", "path": b"\x08\x07/open/x",
            "id": b"\x08\0", "tls": b"\0", "hdr.x": b"\x08\0", "hdrcnt.x": b"\x04\0",
        }.items()
    },
}  # fmt: skip

#: Case → payload of a NOTIFY that can't be decoded to its end: the connection ends with status 4.
UNDECODABLE: dict[str, bytes] = {
    "24 fewer arguments than said": wire.message(b"authorize", ARGUMENT, count=2),
    "24 255 arguments said and none there": wire.message(b"other", count=255),
    "24 a byte behind the last message": authorize() + b"\x07",
    "24 a message that is only a name": wire.string(b"authorize"),
    **{f"24 a value of type {kind}": authorize() + b"\x01x\x01" + b"\x01y" + bytes([kind]) for kind in range(10, 16)},
    **{
        f"24 a boolean with flags {flags:02x}": wire.message(b"a", b"\x01x" + bytes([flags | 1]))
        for flags in (0x20, 0x30, 0x80, 0xF0)
    },
    "24 a string past the frame": wire.message(b"authorize", b"\x04path\x08\x05/a"),
    "24 a binary past the frame": wire.message(b"authorize", b"\x04cert\x09\xf0\x7f0\x82"),
    "24 an argument's name past the frame": wire.message(b"authorize", b"\x05path"),
    "24 a message's name past the frame": b"\x0aauthorize",
    "24 an IPv4 address of three bytes": wire.message(b"authorize", b"\x03src\x06\x7f\0\0"),
    "24 an IPv6 address of fifteen bytes": wire.message(b"authorize", b"\x03src\x07" + bytes(15)),
    "24 an integer that breaks off": wire.message(b"authorize", b"\x06verify\x04\xff"),
    "24 an integer above 64 bits": wire.message(b"authorize", b"\x06verify\x04" + b"\xff" * 10 + b"\x01"),
    "24 a value left out": wire.message(b"authorize", b"\x06verify", count=1),
    "24 random bytes": bytes.fromhex("5bb9e65cbf2b5e3a8f4b6b3b0d9ac0"),
}

#: Case → frames of one NOTIFY in pieces, or of two; what is answered.
PAYLOAD = authorize()


def pieces(*cuts: int, ids: tuple[int, int] = (1, 1)) -> bytes:
    """Write one NOTIFY in fragments."""
    edges = [0, *cuts, len(PAYLOAD)]
    parts = [PAYLOAD[start:end] for start, end in pairwise(edges)]
    kinds = [3] + [0] * (len(parts) - 1)
    flags = [0] * (len(parts) - 1) + [1]
    return b"".join(
        wire.notify(*ids, part, kind=kind, flags=flag) for part, kind, flag in zip(parts, kinds, flags, strict=True)
    )


FRAGMENTS_BREAK: dict[str, tuple[bytes, int]] = {
    "35 a rest without a start": (wire.notify(1, 1, b"x", kind=0), 12),
    "35 an aborted rest without a start": (wire.notify(1, 1, b"", kind=0, flags=3), 12),
    "35 two NOTIFYs in pieces at once": (wire.notify(1, 1, b"x", flags=0) + wire.notify(3, 1, b"x", flags=0), 11),
    "35 a whole NOTIFY between pieces": (wire.notify(1, 1, b"x", flags=0) + wire.notify(3, 1, PAYLOAD), 11),
    "35 a rest of another stream": (wire.notify(1, 1, b"x", flags=0) + wire.notify(3, 1, b"y", kind=0), 11),
    "35 a rest of another frame": (wire.notify(1, 1, b"x", flags=0) + wire.notify(1, 2, b"y", kind=0), 11),
    "35 more than 64 KiB": (
        wire.notify(1, 1, bytes(16000), flags=0) + wire.notify(1, 1, bytes(16000), kind=0, flags=0) * 5,
        3,
    ),
    "34 pieces that can't be decoded": (
        wire.notify(1, 1, PAYLOAD[:20], flags=0) + wire.notify(1, 1, b"\xff", kind=0),
        4,
    ),
}


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(("payload", "expected"), JUDGED.values(), ids=JUDGED.keys())
def test_a_notify_is_answered_by_what_it_says(opened: Line, payload: bytes, expected: Expected, feed: Any) -> None:
    """Cases 22, 23, 24, 25, 26."""
    feed(opened.socket, wire.notify(1, 1, payload))
    opened.must_answer(opened.ack(ONE, expected))
    opened.must_serve()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("payload", UNDECODABLE.values(), ids=UNDECODABLE.keys())
def test_what_can_not_be_decoded_is_not_judged_in_part(opened: Line, payload: bytes, feed: Any) -> None:
    """Case 24."""
    with contextlib.suppress(ConnectionError):  # the agent may have closed before the last byte
        feed(opened.socket, wire.notify(1, 1, payload))
    opened.must_answer(agent_disconnect(4))
    opened.must_end()


def test_the_arguments_may_come_in_any_order(opened: Line) -> None:
    """Case 23."""
    items = [
        wire.item(b"path", b"\x08\x07/open/x"),
        wire.item(b"verify", b"\x04\0"),
        wire.item(b"method", b"\x08\x03GET"),
        wire.item(b"used", b"\x01"),
        wire.item(b"cert", b"\0"),
    ]
    for start in range(len(items)):
        opened.socket.sendall(wire.notify(1, 1, wire.message(b"authorize", *items[start:], *items[:start])))
        opened.must_answer(opened.ack(ONE, ALLOWED))


def test_two_connections_with_the_same_ids_do_not_know_each_other(connect: Callable[[], Line]) -> None:
    """Case 20."""
    with connect() as one, connect() as other:
        for line in (one, other):
            line.socket.sendall(HELLO)
            line.must_answer(agent_hello())
        one.socket.sendall(wire.notify(7, 1, authorize("/open/x"))[:30])
        other.socket.sendall(wire.notify(7, 1, authorize("/shut")))
        other.must_answer(other.ack(b"\x07\x01", SHUT))
        one.socket.sendall(wire.notify(7, 1, authorize("/open/x"))[30:])
        one.must_answer(one.ack(b"\x07\x01", ALLOWED))
        for line in (one, other):
            line.must_serve()


def test_the_same_ids_again_are_answered_again(opened: Line) -> None:
    """Case 21."""
    opened.socket.sendall(
        wire.notify(7, 1, authorize()) + wire.notify(7, 2, authorize("/shut")) + wire.notify(7, 1, authorize())
    )
    opened.must_answer(opened.ack(b"\x07\x01", ALLOWED) + opened.ack(b"\x07\x02", SHUT))
    opened.must_answer(opened.ack(b"\x07\x01", ALLOWED))


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("cuts", [(5,), (1,), (9, 10), (11, 12, 13), (30,), (40, 41), (0,), (7, 7, 50)])
def test_a_notify_in_pieces_is_answered_once(opened: Line, cuts: tuple[int, ...], feed: Any) -> None:
    """Case 34: cut inside of names, lengths and values."""
    feed(opened.socket, pieces(*cuts))
    opened.must_answer(opened.ack(ONE, ALLOWED))
    opened.must_serve()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(("stream", "status"), FRAGMENTS_BREAK.values(), ids=FRAGMENTS_BREAK.keys())
def test_pieces_that_do_not_fit_end_the_connection(opened: Line, stream: bytes, status: int, feed: Any) -> None:
    """Cases 34 and 35."""
    with contextlib.suppress(ConnectionError):  # the agent may have closed before the last byte
        feed(opened.socket, stream) if len(stream) < 1000 else opened.socket.sendall(stream)
    opened.must_answer(agent_disconnect(status))
    opened.must_end()


def test_pieces_that_are_given_up_are_not_answered_and_the_end_may_come_amid_others(opened: Line) -> None:
    """Case 35."""
    given_up = wire.notify(1, 1, PAYLOAD, flags=0) + wire.notify(1, 1, b"", kind=0, flags=3)
    opened.socket.sendall(given_up * 3)
    opened.must_serve()
    opened.socket.sendall(wire.notify(1, 1, PAYLOAD, flags=0))
    opened.must_end()


def test_a_thousand_requests_at_once_are_all_answered_and_others_are_served_meanwhile(
    connect: Callable[[], Line],
) -> None:
    """Case 31."""
    with connect() as greedy, connect() as other:
        for line in (greedy, other):
            line.socket.sendall(HELLO)
            line.must_answer(agent_hello())
        greedy.socket.sendall(b"".join(wire.notify(number, 1, authorize()) for number in range(1000)))
        other.must_serve()
        greedy.must_answer(b"".join(greedy.ack(wire.varint(number) + b"\x01", ALLOWED) for number in range(1000)))
        greedy.must_serve()


def test_whatever_a_request_says_its_line_of_the_log_stays_one(
    tmp_path: Path, conforming_with: Callable[..., Agent]
) -> None:
    """Case 26."""
    log = tmp_path / "decisions.log"
    agent = conforming_with("--decision-log", str(log), "--log-allows", "always")
    asked = [payload for name, (payload, expected) in JUDGED.items() if name.startswith("26") and expected.has_verdict]
    with Line(agent.address(), agent.status()["revision"]) as line:
        line.socket.sendall(HELLO + b"".join(wire.notify(1, 1, payload) for payload in asked))
        line.must_answer(agent_hello())
        for _ in asked:
            size = int.from_bytes(line.read(4), "big")
            assert len(line.read(size)) == size
    assert agent.stop() == 0
    rows = [json.loads(row) for row in log.read_bytes().splitlines()]
    assert [row["verdict"] for row in rows].count("allow") == sum(
        JUDGED[name][1].verdict == "allow" for name in JUDGED if name.startswith("26")
    )
    assert len(rows) == len(asked)
