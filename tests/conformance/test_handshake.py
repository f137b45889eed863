"""HELLO, health checks, and what is said to a HELLO that is none: cases 1 to 10."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests import wire
from tests.agents import authorize, until
from tests.conformance.conftest import conforming
from tests.conformance.line import ALLOWED, FEEDS, HELLO, Line, agent_disconnect, agent_hello, byte_by_byte

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pki import CA

pytestmark = pytest.mark.timeout(300)  # agents start slowly on a busy machine

CHECK = wire.recorded("haproxy-hello-healthcheck")[0]
TRUE = wire.item(b"healthcheck", b"\x11")
VALUES = {
    0: b"\x00",
    1: b"\x11",
    2: b"\x02\xff\xf0\xfe\xfe\x7e",
    3: b"\x03\x07",
    4: b"\x04\xf4\x10",
    5: b"\x05\x07",
    6: b"\x06\x7f\0\0\x01",
    7: b"\x07" + bytes(16),
    8: b"\x08\x02ab",
    9: b"\x09\x02\xff\0",
}


def greeting(*items: bytes) -> bytes:
    """Write a HAPROXY-HELLO of these items in this order."""
    return wire.frame(1, b"".join(items))


VERSIONS = wire.item(b"supported-versions", b"\x08\x032.0")
SIZE = wire.item(b"max-frame-size", b"\x03\xfc\xf0\x06")
CAPABILITIES = wire.item(b"capabilities", b"\x08\x0apipelining")


def sized(size: int) -> bytes:
    return wire.hello(size=b"\x03" + wire.varint(size))


def versioned(text: bytes) -> bytes:
    return wire.hello(versions=b"\x08" + wire.string(text))


#: Case → what HAProxy says, what the agent says to it. The connection is open then.
ACCEPTED: dict[str, tuple[bytes, bytes]] = {
    "2 a legacy HELLO, with async": (
        wire.hello(
            capabilities=b"\x08" + wire.string(b"pipelining,async"),
            others=[wire.item(b"engine-id", b"\x08" + wire.string(b"c9d2b4a8-0d8b-4a8f-b37c-6a0f7d1f0b11"))],
        ),
        agent_hello(),
    ),
    "3 a HELLO with pipelining": (HELLO, agent_hello()),
    "3 a HELLO without pipelining": (wire.hello(capabilities=b"\x08\0"), agent_hello()),
    "3 a HELLO without capabilities": (wire.hello(capabilities=None), agent_hello()),
    "4 keys in another order": (greeting(CAPABILITIES, SIZE, VERSIONS), agent_hello()),
    **{
        f"4 an unknown key of type {kind}": (greeting(wire.item(b"x-%d" % kind, value), VERSIONS, SIZE), agent_hello())
        for kind, value in VALUES.items()
    },
    "4 a key twice, of which the last counts": (
        greeting(VERSIONS, wire.item(b"max-frame-size", b"\x03\xff\0"), SIZE),
        agent_hello(),
    ),
    "5 2.0 before others": (versioned(b"2.0, 1.5"), agent_hello()),
    "5 2.0 between blanks": (versioned(b" 2.0 "), agent_hello()),
    "5 2.0 behind others": (versioned(b"3.0,2.0"), agent_hello()),
    "6 a frame size of 257": (sized(257), agent_hello(257)),
    "6 a frame size of 65532": (sized(65532), agent_hello(65532)),
    "6 a frame size of 1048572": (sized(1048572), agent_hello(65532)),
    "6 a frame size of 2 to the 64th less 1": (sized(2**64 - 1), agent_hello(65532)),
    "6 a frame size as INT64": (wire.hello(size=b"\x04\xfc\xf0\x06"), agent_hello()),
    "7 an empty engine-id": (wire.hello(others=[wire.item(b"engine-id", b"\x08\0")]), agent_hello()),
    "7 an engine-id of 4 KiB": (
        wire.hello(others=[wire.item(b"engine-id", b"\x08" + wire.string(b"e" * 4096))]),
        agent_hello(),
    ),
    "7 healthcheck false": (wire.hello(others=[wire.item(b"healthcheck", b"\x01")]), agent_hello()),
}

#: Case → what HAProxy says, the status of the DISCONNECT that is the answer.
REFUSED: dict[str, tuple[bytes, int]] = {
    "4 an empty key": (greeting(VERSIONS, SIZE, wire.item(b"", b"\x03\x01")), 4),
    "5 1.0 only": (versioned(b"1.0"), 8),
    "5 2.1 only": (versioned(b"2.1"), 8),
    "5 what is no version": (versioned(b"two"), 8),
    "5 no version": (versioned(b""), 8),
    "5 versions of another type": (wire.hello(versions=b"\x09\x032.0"), 4),
    "5 versions absent": (wire.hello(versions=None), 5),
    "6 a frame size of 0": (sized(0), 9),
    "6 a frame size of 255": (sized(255), 9),
    "6 a negative frame size": (wire.hello(size=b"\x04" + wire.varint(2**64 - 1)), 9),
    "6 no frame size": (wire.hello(size=None), 6),
    "6 a frame size that is a string": (wire.hello(size=b"\x08\x0516380"), 4),
    "6 a frame size that is NULL": (wire.hello(size=b"\0"), 4),
    "7 healthcheck as a string": (wire.hello(others=[wire.item(b"healthcheck", b"\x08\x04true")]), 4),
    "7 a HELLO above 16 KiB": (wire.hello(others=[wire.item(b"x", b"\x09" + wire.string(bytes(2**14)))]), 3),
    "8 FIN clear": (wire.hello(flags=0), 10),
    "8 a stream-id": (wire.hello(ids=b"\x01\0"), 4),
    "8 a frame-id": (wire.hello(ids=b"\0\x01"), 4),
    "8 NOTIFY first": (wire.notify(1, 1, authorize()), 4),
    "8 ACK first": (wire.recorded("ack-empty")[0], 4),
    "8 a fragment first": (wire.notify(1, 1, authorize(), kind=0), 4),
    "8 an unknown type first": (wire.frame(50), 4),
    "8 HTTP": (b"GET / HTTP/1.1\r\nHost: agent\r\n\r\n", 3),
    "8 TLS": (bytes.fromhex("16030100c8010000c40303"), 3),
    **{f"12 a length of {length} first": (wire.frame(1, length=length), 4) for length in range(7)},
    "12 the largest length first": (b"\xff\xff\xff\xff", 3),
    "24 a HELLO that ends in a value": (greeting(VERSIONS, SIZE, b"\x01x\x08\x05ab"), 4),
    "24 a HELLO with a value of type 10": (greeting(VERSIONS, SIZE, b"\x01x\x0a"), 4),
}


@pytest.mark.parametrize("hello", [CHECK, greeting(VERSIONS, SIZE, TRUE), greeting(TRUE, SIZE, VERSIONS)])
def test_a_health_check_gets_one_hello_and_the_connection_ends(line: Line, hello: bytes) -> None:
    """Case 1."""
    byte_by_byte(line.socket, hello)
    line.must_answer(agent_hello())
    line.must_close()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(("hello", "answer"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_hello_is_answered_and_the_connection_serves(line: Line, hello: bytes, answer: bytes, feed: Any) -> None:
    """Cases 2 to 7."""
    feed(line.socket, hello)
    line.must_answer(answer)
    line.must_serve()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(("stream", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_hello_is_refused_with_its_status(line: Line, stream: bytes, status: int, feed: Any) -> None:
    """Cases 4 to 8, 12, 24."""
    with contextlib.suppress(ConnectionError):  # the agent may have closed before the last byte
        feed(line.socket, stream)
    line.must_answer(agent_disconnect(status))
    line.must_end()


def test_the_least_frame_size_holds_a_whole_verdict(line: Line) -> None:
    """Case 6."""
    line.socket.sendall(sized(256))
    line.must_answer(agent_hello(256))
    line.must_serve()


def test_without_pipelining_requests_are_answered_one_by_one(line: Line) -> None:
    """Case 3."""
    line.socket.sendall(wire.hello(capabilities=b"\x08\0"))
    line.must_answer(agent_hello())
    for number in range(1, 21):
        line.socket.sendall(wire.notify(number, 1, authorize()))
        line.must_answer(line.ack(wire.varint(number) + b"\x01", ALLOWED))


def test_the_hello_of_the_agent_comes_in_one_segment(line: Line) -> None:
    """Case 9: in two, HAProxy 3.2 resets the connection."""
    line.socket.sendall(HELLO)
    line.must_answer(agent_hello())
    assert line.segments == 1


def test_connections_that_say_nothing_are_closed_and_keep_nobody_waiting(
    tmp_path_factory: pytest.TempPathFactory, ca: CA
) -> None:
    """Case 10."""
    with conforming(tmp_path_factory, ca, "--hello-timeout", "3") as agent, contextlib.ExitStack() as silent:
        address, revision = agent.address(), agent.status()["revision"]
        lines = [silent.enter_context(Line(address, revision)) for _ in range(1000)]
        for line in lines[::3]:
            line.socket.sendall(HELLO[:20])
        with Line(address, revision) as served:
            served.socket.sendall(HELLO)
            served.must_answer(agent_hello())
            served.must_serve()
            for line in lines:
                line.must_answer(agent_disconnect(2))
            for line in lines:
                line.must_end()
            until(lambda: agent.metric('connections_closed_total{cause="hello_timeout"') >= 1000)
            served.must_serve()


@pytest.mark.parametrize("shutdown", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_connection_that_ends_before_its_hello_is_no_matter(connect: Callable[[], Line], shutdown: int) -> None:
    """Case 13, before the HELLO."""
    with connect() as line:
        line.socket.sendall(HELLO[:30])
        line.socket.shutdown(shutdown)
        line.must_end()
    with connect() as line:
        line.socket.sendall(HELLO)
        line.must_answer(agent_hello())
        line.must_serve()
