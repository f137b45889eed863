"""Many connections, slow ones, and how they end: cases 29, 30, 33, 37 to 39."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests import wire
from tests.agents import authorize
from tests.conformance.conftest import POLICY
from tests.conformance.line import (
    ALLOWED,
    HELLO,
    SHUT,
    Expected,
    Line,
    agent_disconnect,
    agent_hello,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agents import Agent

pytestmark = pytest.mark.timeout(300)  # agents start slowly on a busy machine

#: How HAProxy may leave.
LEAVINGS: Final[dict[str, bytes]] = {
    **{f"status {status}": wire.disconnect(status) for status in (*range(14), 99, 150, 2**32)},
    "no message": wire.frame(2, wire.item(b"status-code", b"\x03\x02")),
    "no status": wire.frame(2, wire.item(b"message", b"\x08\x01x")),
    "nothing at all": wire.frame(2),
    "a message of 300 bytes": wire.disconnect(2, b"m" * 300),
    "a message with control characters": wire.disconnect(2, b"\x1b[31m\r\n\0"),
    "an unknown item": wire.frame(2, wire.item(b"status-code", b"\x03\0") + wire.item(b"x", b"\x09\x01\xff")),
}


@contextlib.contextmanager
def opened(connect: Callable[[], Line]) -> Iterator[Line]:
    """Connect and say HELLO."""
    with connect() as line:
        line.socket.sendall(HELLO)
        line.must_answer(agent_hello())
        yield line


def test_each_of_four_thousand_requests_on_two_hundred_connections_gets_its_own_answer(
    connect: Callable[[], Line],
) -> None:
    """Case 29: 20 in flight on each, sent in pieces and in any order; no two answers mix their bytes."""
    chance = random.Random(29)
    with contextlib.ExitStack() as all_of_them:
        lines = [all_of_them.enter_context(opened(connect)) for _ in range(200)]
        sent: list[tuple[int, bytes]] = []
        expected: dict[int, list[tuple[int, Expected]]] = {}
        for number in range(len(lines)):
            asked = [(stream, chance.choice((ALLOWED, SHUT))) for stream in chance.sample(range(1, 100_000), 20)]
            expected[number] = asked
            frames = b"".join(
                wire.notify(stream, 1, authorize("/open/x" if said is ALLOWED else "/shut")) for stream, said in asked
            )
            cut = chance.randrange(len(frames))
            sent += [(number, frames[:cut]), (number, frames[cut:])]
        # The first piece of each comes before its second.
        for number, piece in sorted(sent[::2], key=lambda _: chance.random()):
            lines[number].socket.sendall(piece)
        for number, piece in sorted(sent[1::2], key=lambda _: chance.random()):
            lines[number].socket.sendall(piece)
        for number, line in enumerate(lines):
            line.must_answer(
                b"".join(line.ack(wire.varint(stream) + b"\x01", said) for stream, said in expected[number])
            )


def test_a_peer_that_takes_no_answers_holds_little_memory_and_keeps_nobody_waiting(
    agent: Agent, connect: Callable[[], Line]
) -> None:
    """Case 30; that it is dropped after a while is held by tests/test_agent.py."""
    burst = wire.notify(1, 1, authorize()) * 1000
    with opened(connect) as slow, opened(connect) as other:
        before = _resident(agent)
        slow.socket.settimeout(1)
        with pytest.raises(TimeoutError):  # the agent reads no more, and the buffers between are full
            slow.socket.sendall(burst * 1000)
        assert _resident(agent) - before < 50 * 2**20
        other.must_serve()


def _resident(agent: Agent) -> int:
    """Return the resident bytes of the worker."""
    pages = int(Path(f"/proc/{_worker(agent)}/statm").read_text().split()[1])
    return pages * 4096


def _worker(agent: Agent) -> int:
    pid = agent.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_every_answer_is_of_one_revision_whole_while_policies_change(
    conforming_with: Callable[..., Agent],
) -> None:
    """Case 33: the verdict is always the one of the revision that is named beside it, and no answer is missing."""
    agent = conforming_with()
    said = {agent.status()["revision"]: ALLOWED}
    shut = POLICY.replace('"/open/**"', '"/other/**"')
    with Line(agent.address(), "") as line:
        line.socket.sendall(HELLO)
        line.must_answer(agent_hello())
        for text in (shut, POLICY):
            before = agent.status()["revision"]
            agent.write_policy(text)
            seen: set[str] = set()
            while not seen - {before}:  # until an answer is of another revision
                line.socket.sendall(wire.notify(1, 1, authorize()) * 50)
                for _ in range(50):
                    seen.add(_must_be_whole(line, said, SHUT if text is shut else ALLOWED))
    assert set(said.values()) == {ALLOWED, SHUT}


def _must_be_whole(line: Line, said: dict[str, Expected], new: Expected) -> str:
    """Read one ACK, which must be that of its revision; return that."""
    head = line.read(4)
    frame = head + line.read(int.from_bytes(head, "big"))
    name = wire.string(b"revision") + b"\x08\x0c"
    place = frame.index(name) + len(name)
    revision = frame[place : place + 12].decode()
    expected = said.setdefault(revision, new)
    line.revision = revision
    assert frame == line.ack(b"\x01\x01", expected)
    return revision


@pytest.mark.parametrize("stream", LEAVINGS.values(), ids=LEAVINGS.keys())
def test_haproxy_leaves_and_is_told_goodbye(connect: Callable[[], Line], stream: bytes) -> None:
    """Case 37: after the answers to what came before; what comes behind is not judged."""
    with opened(connect) as line:
        line.socket.sendall(wire.notify(1, 1, authorize()) + stream + wire.notify(3, 1, authorize()))
        line.must_answer(line.ack(b"\x01\x01", ALLOWED) + agent_disconnect(0))
        line.must_end()


def test_haproxy_may_leave_before_it_greeted(line: Line) -> None:
    """Case 37."""
    line.socket.sendall(wire.disconnect(2))
    line.must_answer(agent_disconnect(0))
    line.must_end()


@pytest.mark.parametrize("linger", [None, struct.pack("ii", 1, 0)], ids=["close", "reset"])
def test_connections_that_are_dropped_with_requests_in_flight_are_no_matter(
    connect: Callable[[], Line], linger: bytes | None
) -> None:
    """Cases 37 and 38: a reset is how HAProxy from 3.1 on leaves; the log says nothing of it."""
    for _ in range(50):
        with opened(connect) as line:
            line.socket.sendall(wire.notify(1, 1, authorize()) * 200)
            if linger is not None:
                line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    with opened(connect) as line:
        line.must_serve()


def test_an_agent_that_is_told_to_stop_answers_what_is_in_flight_and_says_goodbye(
    conforming_with: Callable[..., Agent],
) -> None:
    """Case 39: 100 requests are there when the signal comes, since the worker is held."""
    agent = conforming_with()
    address, revision, worker = agent.address(), agent.status()["revision"], _worker(agent)
    with Line(address, revision) as line, Line(address, revision) as idle:
        for each in (line, idle):
            each.socket.sendall(HELLO)
            each.must_answer(agent_hello())
        os.kill(worker, signal.SIGSTOP)
        try:
            line.socket.sendall(b"".join(wire.notify(number, 1, authorize()) for number in range(100)))
            agent.process.send_signal(signal.SIGTERM)
        finally:
            os.kill(worker, signal.SIGCONT)
        line.must_answer(b"".join(line.ack(bytes([number, 1]), ALLOWED) for number in range(100)))
        for each in (line, idle):
            each.must_answer(agent_disconnect(0))
            each.must_end()
    assert agent.process.wait(30) == 0
