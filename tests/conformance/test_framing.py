"""Frames, however they are cut and whatever is wrong with them: cases 11 to 18."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import wire
from tests.agents import authorize
from tests.conformance.conftest import conforming
from tests.conformance.line import ALLOWED, FEEDS, HELLO, NO_VERDICT, SHUT, Line, agent_disconnect, agent_hello

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agents import Agent
    from tests.pki import CA

pytestmark = pytest.mark.timeout(300)  # agents start slowly on a busy machine

ASK = wire.notify(1, 1, authorize())
ONE = b"\x01\x01"

#: Case → frames on an open connection, the status that ends it. What came before is answered.
BREACHES: dict[str, tuple[bytes, int]] = {
    "8 a second HELLO": (HELLO, 4),
    **{f"12 a length of {length}": (wire.frame(3, length=length), 4) for length in range(7)},
    "12 a length above what was announced": ((16381).to_bytes(4, "big"), 3),
    "12 the largest length": (b"\xff\xff\xff\xff", 3),
    "15 a stream-id of eleven bytes": (wire.frame(3, bytes(9), ids=b"\xff" * 10 + b"\0\x01"), 4),
    "15 a stream-id of a thousand bytes": (wire.frame(3, ids=b"\xff" * 1000), 4),
    "15 a stream-id of 2 to the 64th": (wire.frame(3, ids=b"\xf0\xf1" + b"\xfe" * 7 + b"\x0e\x01"), 4),
    "15 a frame-id of 2 to the 64th": (wire.frame(3, ids=b"\x01\xf0\xf1" + b"\xfe" * 7 + b"\x0e"), 4),
    "15 a stream-id that breaks off": (wire.frame(3, ids=b"\xff\xff"), 4),
    "15 a frame-id that breaks off": (wire.frame(3, ids=b"\x01\xff\xff"), 4),
    "15 a name of 2 to the 64th less 1 bytes": (wire.notify(1, 1, wire.varint(2**64 - 1) + b"authorize\0"), 4),
    "15 a value of 2 to the 64th less 1 bytes": (
        wire.notify(1, 1, wire.message(b"authorize", b"\x04cert\x09" + wire.varint(2**64 - 1) + b"x")),
        4,
    ),
    "15 a value of 2 to the 63rd bytes in a message that nobody wants": (
        wire.notify(1, 1, wire.message(b"other", b"\x04cert\x08" + wire.varint(2**63) + b"x")),
        4,
    ),
    **{f"18 the agent's own frame {kind}": (wire.frame(kind, ids=ONE), 4) for kind in (101, 102, 103)},
    "18 a whole AGENT-HELLO": (wire.recorded("agent-hello")[0], 4),
    "18 a whole ACK": (wire.recorded("ack-set-var")[0], 4),
}

#: Case → ids of a NOTIFY; the ACK echoes them.
IDS: dict[str, tuple[int, int]] = {
    **{f"15 {number}": (number, 1) for number in (239, 240, 241, 255, 256, 500, 2287, 2288, 16380, 65535, 264431)},
    **{f"15 {number}": (number, number) for number in (264432, 33818863, 33818864, 4294967295, 4328786160)},
    "19 a stream-id of 0": (0, 1),
    "19 a stream-id of 2 to the 31st less 1": (2**31 - 1, 1),
    "19 a stream-id of 2 to the 64th less 1": (2**64 - 1, 1),
    **{f"19 a frame-id of {number}": (5, number) for number in (0, 1, 2, 3, 2**31, 2**64 - 1)},
}


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(("stream", "status"), BREACHES.values(), ids=BREACHES.keys())
def test_a_breach_ends_the_connection_after_what_came_before(
    opened: Line, stream: bytes, status: int, feed: Any
) -> None:
    """Cases 8, 12, 15, 18."""
    with contextlib.suppress(ConnectionError):  # the agent may have closed before the last byte
        feed(opened.socket, ASK + stream)
    opened.must_answer(opened.ack(ONE, ALLOWED) + agent_disconnect(status))
    opened.must_end()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
def test_an_ack_has_the_ids_of_its_notify(opened: Line, ids: tuple[int, int], feed: Any) -> None:
    """Cases 15 and 19."""
    feed(opened.socket, wire.notify(*ids, authorize()))
    opened.must_answer(opened.ack(b"".join(map(wire.varint, ids)), ALLOWED))
    opened.must_serve()


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 8, 9, 10, 11, 20, len(ASK) - 1, len(ASK), len(ASK) + 2, len(ASK) + 9])
def test_a_segment_may_end_anywhere(opened: Line, cut: int) -> None:
    """Case 11: inside of a length, of an id, of a name."""
    stream = ASK + wire.notify(2288, 1, authorize("/shut"))
    opened.socket.sendall(stream[:cut])
    opened.socket.sendall(stream[cut:])
    opened.must_answer(opened.ack(ONE, ALLOWED))
    opened.must_answer(opened.ack(wire.varint(2288) + b"\x01", SHUT))


def test_fifty_frames_in_one_segment_are_fifty_answers(opened: Line) -> None:
    """Case 11."""
    opened.socket.sendall(b"".join(wire.notify(number, 1, authorize()) for number in range(50)))
    opened.must_answer(b"".join(opened.ack(bytes([number, 1]), ALLOWED) for number in range(50)))


def test_hello_and_requests_may_come_in_one_segment(line: Line) -> None:
    """Case 11."""
    line.socket.sendall(HELLO + ASK + ASK)
    line.must_answer(agent_hello() + line.ack(ONE, ALLOWED) * 2)


def test_a_length_that_is_only_promised_takes_no_memory(agent: Agent, connect: Callable[[], Line]) -> None:
    """Case 12: 200 connections promise a mebibyte each, and send a hundred bytes of it."""
    before = _resident(agent)
    with contextlib.ExitStack() as all_of_them:
        lines = [all_of_them.enter_context(connect()) for _ in range(200)]
        for line in lines:
            line.socket.sendall(wire.hello(size=b"\x03" + wire.varint(2**20)))
            line.must_answer(agent_hello(65532))
            line.socket.sendall(wire.frame(3, bytes(100), length=2**20))
        with connect() as served:
            served.socket.sendall(HELLO)
            served.must_answer(agent_hello())
            served.must_serve()
        assert _resident(agent) - before < 50 * 2**20


def _resident(agent: Agent) -> int:
    """Return the resident bytes of the worker."""
    pid = agent.process.pid
    (worker, *_) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.parametrize("shutdown", [socket.SHUT_WR, socket.SHUT_RDWR])
@pytest.mark.parametrize("cut", [2, 9, 30, len(ASK) - 1])
def test_a_frame_that_never_ends_is_never_judged(opened: Line, cut: int, shutdown: int) -> None:
    """Case 13."""
    opened.socket.sendall(ASK[:cut])
    opened.socket.shutdown(shutdown)
    opened.must_end()


def test_a_frame_between_what_was_negotiated_and_announced_is_judged(
    tmp_path_factory: pytest.TempPathFactory, ca: CA
) -> None:
    """Case 14: HAProxy 3.1.0 sends such."""
    with (
        conforming(tmp_path_factory, ca, "--max-frame-size", "300") as agent,
        Line(agent.address(), agent.status()["revision"]) as line,
    ):
        line.socket.sendall(HELLO)
        line.must_answer(agent_hello(300))
        line.socket.sendall(wire.notify(1, 1, authorize("/open/" + "x" * 16000)))
        line.must_answer(line.ack(ONE, ALLOWED))
        line.socket.sendall((16381).to_bytes(4, "big"))
        line.must_answer(agent_disconnect(3))
        line.must_end()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("flags", [0xFFFFFFFD, 0x80000001, 5, 0x10001])
def test_reserved_flags_mean_nothing(opened: Line, flags: int, feed: Any) -> None:
    """Case 16."""
    feed(opened.socket, wire.notify(1, 1, authorize(), flags=flags))
    opened.must_answer(opened.ack(ONE, ALLOWED))
    opened.must_serve()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("flags", [2, 3, 0xFFFFFFFF])
def test_an_aborted_notify_is_not_answered(opened: Line, flags: int, feed: Any) -> None:
    """Case 16."""
    feed(opened.socket, wire.notify(1, 1, authorize(), flags=flags))
    opened.must_serve()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("kind", [4, 50, 100, 104, 255])
def test_a_frame_of_an_unknown_type_is_passed_over(opened: Line, kind: int, feed: Any) -> None:
    """Case 17."""
    feed(opened.socket, wire.frame(kind, b"whatever") + wire.frame(kind, b"whatever", ids=b"\x07\x07"))
    opened.must_serve()


def test_a_notify_without_the_message_is_answered_without_a_verdict(opened: Line) -> None:
    """Case 22, among frames: the empty NOTIFY of 3.1 and 3.2, of seven bytes."""
    opened.socket.sendall(bytes.fromhex("00000007") + bytes.fromhex("03000000010101"))
    opened.must_answer(opened.ack(ONE, NO_VERDICT))
