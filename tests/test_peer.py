"""One connection: what is read, kept, judged and written, and in what portions."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from spoa.answering import Answering
from spoa.peer import Peer
from spoa.spop import Connection, Event, Role
from spoa.turn import Turn
from tests import wire
from tests.agents import authorize, policy_of, variables

if TYPE_CHECKING:
    from collections.abc import Iterator


class Transport(asyncio.Transport):
    """A transport in memory: what was written, and whether reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.reads = True
        self.end = ""
        self.unsent = 0

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def close(self) -> None:
        self.end = "closed"

    def abort(self) -> None:
        self.end = "aborted"


class Line:
    """A peer on a transport in memory, and the HAProxy at its other end."""

    def __init__(self, deadline: float = 0.08) -> None:
        self.answering = Answering(policy_of(), deadline, lambda: 1_800_000_000.0, None)
        self.lost: list[Peer] = []
        self.turn = Turn(self.answering)
        self.peer = Peer(self.answering, self.turn, 65532, lambda _: None, self.lost.append)
        self.transport = Transport()
        self.peer.connection_made(self.transport)
        self.haproxy = Connection(Role.HAPROXY)
        self.give(self.haproxy.send_hello())
        self.received()

    def give(self, data: bytes) -> None:
        """Let the peer read, in a turn in which nobody else does."""
        self.peer.data_received(data)
        self.turn.run()

    def received(self) -> list[Event]:
        """Return what HAProxy understands of what was written since the last look."""
        data = b"".join(self.transport.writes)
        self.transport.writes.clear()
        return self.haproxy.receive_data(data)

    def answering_to(self, data: bytes) -> bytes:
        """Return the ACK of one NOTIFY without writing it, as an answer that comes later."""
        agent = Connection(Role.AGENT)
        agent.receive_data(Connection(Role.HAPROXY).send_hello())
        transport = Transport()
        self.answering.answer(agent, transport, agent.receive_data(data), 0, perf_counter(), None)
        self.answering.finish()
        return b"".join(transport.writes)

    def burst(self, count: int, payload: bytes = b"") -> bytes:
        return b"".join(self.haproxy.send_notify(n, 1, payload or authorize()) for n in range(1, count + 1))


@pytest.fixture
def line() -> Iterator[Line]:
    """A connection that said HELLO. Runs inside a loop whose turns the test takes itself."""
    loop = asyncio.new_event_loop()
    running = asyncio.events._get_running_loop()
    asyncio.events._set_running_loop(loop)
    try:
        yield Line()
    finally:
        asyncio.events._set_running_loop(running)
        loop.close()


def turn() -> None:
    """Let the loop do what is due now."""
    loop = asyncio.get_running_loop()
    asyncio.events._set_running_loop(None)
    try:
        loop.call_soon(loop.stop)
        loop.run_forever()
    finally:
        asyncio.events._set_running_loop(loop)


def verdicts(events: list[Event]) -> list[str]:
    return [variables(event.ack)["verdict"] for event in events]  # type: ignore[union-attr] # all are ACKs


def test_the_frames_of_one_read_are_answered_with_one_write(line: Line) -> None:
    line.give(line.burst(16))
    assert len(line.transport.writes) == 1
    assert verdicts(line.received()) == ["allow"] * 16


def test_a_frame_that_comes_byte_by_byte_is_answered_once(line: Line) -> None:
    for byte in line.burst(1):
        line.give(bytes([byte]))
    assert verdicts(line.received()) == ["allow"]


def test_a_large_read_is_worked_off_in_turns_and_nothing_more_is_read_meanwhile(line: Line) -> None:
    data = line.burst(12_000)
    line.give(data)
    assert not line.transport.reads
    assert line.peer.is_busy
    decoded = len(data) - len(line.peer._data)
    assert decoded % (1 << 16) == 0, "of the rest nothing is decoded yet"
    assert decoded < len(data) / 2, "however fast it goes"
    turns = 0
    events = line.received()
    while not line.transport.reads:
        turn()
        turns += 1
        events += line.received()
    assert turns > 2
    assert len(events) == 12_000
    assert not line.peer.is_busy


def test_what_comes_while_a_burst_is_worked_off_is_answered_after_it(line: Line) -> None:
    line.give(line.burst(1500))
    line.give(line.haproxy.send_notify(9999, 1, authorize("/shut")))
    events = line.received()
    while len(events) < 1501:
        turn()
        events += line.received()
    assert verdicts(events)[-1] == "deny"


def test_half_a_frame_behind_a_large_read_waits_for_its_end(line: Line) -> None:
    data = line.burst(1, authorize(others=(8, b"x" * 100_000)))  # type: ignore[arg-type] # a type by its number
    line.give(data[:90_000])
    for _ in range(4):
        turn()
    assert line.transport.reads
    line.give(data[90_000:])
    for _ in range(4):
        turn()
    assert line.received()


def test_a_peer_that_takes_no_answers_is_not_read(line: Line) -> None:
    line.peer.pause_writing()
    assert not line.transport.reads
    assert line.peer.stalled
    line.give(line.burst(3000))
    line.peer.resume_writing()
    while not line.transport.reads:
        turn()
    assert not line.peer.stalled
    assert len(line.received()) == 3000


def test_a_burst_waits_while_the_peer_takes_no_answers(line: Line) -> None:
    line.give(line.burst(3000))
    line.peer.pause_writing()
    before = len(line.received())
    for _ in range(3):
        turn()
    assert not line.received()
    line.peer.resume_writing()
    while not line.transport.reads:
        turn()
    assert before + len(line.received()) == 3000


def test_after_a_breach_nothing_more_is_read_and_the_peer_may_close_first(line: Line) -> None:
    line.give(wire.notify(1, 1, b"\xff\xff") + line.burst(1))
    (event,) = line.received()
    assert event.disconnect.status == 4  # type: ignore[union-attr] # that is what it must be
    assert line.peer.is_leaving
    line.give(b"anything")
    assert not line.transport.writes
    assert not line.transport.end


def test_a_peer_that_leaves_gets_our_goodbye(line: Line) -> None:
    line.give(line.haproxy.send_disconnect())
    (event,) = line.received()
    assert event.disconnect.status == 0  # type: ignore[union-attr] # that is what it must be


def test_who_parts_says_so_in_one_write_with_the_next_answers(line: Line) -> None:
    line.peer.part(0)
    assert line.peer.is_parting
    assert not line.transport.writes
    line.give(line.burst(3))
    assert len(line.transport.writes) == 1
    *answers, goodbye = line.received()
    assert verdicts(answers) == ["allow"] * 3
    assert goodbye.disconnect.status == 0  # type: ignore[union-attr] # that is what it must be
    assert line.peer.is_leaving


def test_who_parts_in_a_burst_answers_all_of_it_before(line: Line) -> None:
    line.peer.part(0)
    line.give(line.burst(3000))
    events = line.received()
    while not line.peer.is_leaving:
        turn()
        events += line.received()
    assert len(verdicts(events[:-1])) == 3000
    assert type(events[-1]).__name__ == "DisconnectReceived"
    assert line.transport.reads


def test_who_parts_waits_for_answers_that_are_owed(line: Line) -> None:
    owed = [line.answering_to(line.haproxy.send_notify(n, 1, authorize())) for n in (7, 8)]
    line.peer.owe()
    line.peer.owe()
    line.peer.part(0)
    line.give(line.burst(1))
    line.peer.pay(owed[0], 1)
    assert verdicts(line.received()) == ["allow"] * 2
    line.peer.pay(owed[1], 1)
    assert len(line.transport.writes) == 1
    assert [type(event).__name__ for event in line.received()] == ["AckReceived", "DisconnectReceived"]


def test_a_peer_that_leaves_while_we_part_gets_one_goodbye(line: Line) -> None:
    line.peer.part(0)
    line.give(line.burst(1) + line.haproxy.send_disconnect())
    assert len(line.transport.writes) == 1
    assert line.transport.writes[0].count(b"status-code") == 1
    assert line.peer.is_leaving


def test_leaving_in_the_middle_of_a_burst_denies_the_rest_before_the_goodbye(line: Line) -> None:
    line.give(line.burst(600))
    line.peer.leave(0)
    line.peer.leave(0)
    events = line.received()
    assert type(events[-1]).__name__ == "DisconnectReceived"
    assert {*verdicts(events[:-1])} <= {"allow", "deny"}
    assert line.transport.reads
    turn()
    assert not line.transport.writes


@pytest.mark.interpreted
@pytest.mark.parametrize(("unsent", "end"), [(0, "closed"), (10, "aborted")])
def test_the_connection_is_closed_a_second_after_our_last_word(
    line: Line, monkeypatch: pytest.MonkeyPatch, unsent: int, end: str
) -> None:
    monkeypatch.setattr("spoa.peer._LINGER", 0.0)
    line.transport.unsent = unsent
    line.peer.leave(0)
    turn()
    turn()
    assert line.transport.end == end


def test_the_end_of_the_stream_ends_the_connection(line: Line) -> None:
    assert not line.peer.eof_received()
    line.peer.connection_lost(None)
    assert line.lost == [line.peer]


def test_a_connection_that_is_gone_takes_everything_calmly(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.peer._LINGER", 0.0)
    line.give(line.burst(3000))
    line.peer.leave(0)
    line.peer.connection_lost(ConnectionResetError())
    turn()
    turn()
    line.peer.leave(0)
    line.peer.abort()
    line.peer.pause_writing()
    line.peer.resume_writing()
    assert not line.transport.end


def test_cutting_drops_the_connection_at_once(line: Line) -> None:
    line.peer.abort()
    assert line.transport.end == "aborted"


def test_a_hello_alone_does_not_count_as_a_request_but_as_being_heard(line: Line) -> None:
    assert line.peer.has_greeted
    assert 0 <= perf_counter() - line.peer.heard < 5
    assert line.transport.high


def test_an_answer_that_comes_later_keeps_the_connection_busy_and_is_written(line: Line) -> None:
    line.peer.owe()
    line.peer.owe()
    assert line.peer.is_busy
    line.peer.pay(b"late", 1)
    assert line.peer.is_busy
    line.peer.pay(b"later", 1)
    assert not line.peer.is_busy
    assert line.transport.writes == [b"late", b"later"]


def test_an_answer_that_comes_too_late_is_written_nowhere(line: Line) -> None:
    line.peer.owe()
    line.peer.leave(0)
    line.received()
    line.peer.pay(b"late", 1)
    assert line.transport.writes == []
    line.peer.connection_lost(None)
    line.peer.owe()
    line.peer.pay(b"later", 1)
    assert line.transport.writes == []
