"""One turn of the loop: who reads in it is judged, then written to, and nobody suffers from another."""

from __future__ import annotations

import json
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
import structlog.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import spoa.answering
from spoa.decision_log import DecisionLog
from spoa.logsinks.file import FileSink
from tests.agents import authorize
from tests.answering_desk import NOW, raising
from tests.turning import ALICE, PATIENT, Loop, Room, answer_alike

if TYPE_CHECKING:
    from pathlib import Path


def test_whoever_reads_in_a_turn_is_answered_at_its_end_in_one_write_each() -> None:
    room = Room(3)
    room.meet("/open/a", "/shut")
    room.read(2, "/open/a", "/shut")
    room.read(0, "/open/a")
    assert len(room.later) == 1, "one look at the end for all of them"
    assert not room.writes
    room.end_turn()
    assert [number for number, _ in room.writes] == [2, 0]
    assert room.verdicts() == [(2, "allow"), (2, "deny"), (0, "allow")]


def test_all_that_is_known_is_judged_before_the_first_is_written_to_and_counted_after_the_last() -> None:
    room = Room(3)
    room.meet("/open/a")
    before, hits = room.count(), room.answering._recall.hits
    seen: list[tuple[float, float]] = []
    for transport in room.transports:
        transport.looks = lambda: seen.append((room.count() - before, room.answering._recall.hits - hits))
    for number in range(3):
        room.read(number, "/open/a")
    room.end_turn()
    assert seen == [(0, 3)] * 3
    assert room.count() == before + 3


def test_a_hundred_reads_are_written_in_portions() -> None:
    room = Room(100)
    room.meet("/open/a")
    before = room.count()
    seen: list[float] = []
    for transport in room.transports:
        transport.looks = lambda: seen.append(room.count() - before)
    for number in range(100):
        room.read(number, "/open/a")
    room.end_turn()
    assert seen == [0] * 64 + [64] * 36


def test_a_connection_that_takes_no_answer_is_dropped_and_the_others_get_theirs() -> None:
    room = Room(3)
    room.meet("/open/a")
    room.transports[1].error = RuntimeError("the handle is closed")
    for number in range(3):
        room.read(number, "/open/a")
    room.end_turn()
    assert room.verdicts() == [(0, "allow"), (2, "allow")]
    assert [transport.is_aborted for transport in room.transports] == [False, True, False]


def test_a_connection_that_can_not_even_be_dropped_keeps_nobody_from_his_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(3)
    room.meet("/open/a")
    room.transports[1].error = RuntimeError("the handle is closed")
    monkeypatch.setattr(room.transports[1], "abort", raising(RuntimeError("no handle")))
    for number in range(3):
        room.read(number, "/open/a")
    room.end_turn()
    assert room.verdicts() == [(0, "allow"), (2, "allow")]


def test_a_connection_whose_work_fails_is_dropped_and_the_others_get_their_answers() -> None:
    room = Room(3)
    room.meet("/open/a")
    room.read(1, *["/open/a"] * 150)
    room.end_turn()
    assert not room.transports[1].is_read, "more was read than one turn takes"
    room.answers()
    room.transports[1].is_read = True  # and its transport fails when it is asked to go on
    for number in (0, 2):
        room.read(number, "/open/a")
    room.end_turn()
    assert {number: told for number, told in room.verdicts() if number != 1} == {0: "allow", 2: "allow"}
    assert [transport.is_aborted for transport in room.transports] == [False, True, False]


def test_a_turn_begins_with_its_first_read() -> None:
    room, before = Room(1), perf_counter()
    first = room.turn.begin()
    room.turn.add(room.silent())
    assert before <= first == room.turn.begin() <= perf_counter()
    room.turn.add_again(room.silent())
    assert room.turn.begin() == first
    room.end_turn()
    room.turn.add_again(room.silent())
    assert room.turn.begin() > first


@pytest.mark.interpreted
def test_a_read_behind_what_is_left_of_a_burst_is_answered_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(1)
    monkeypatch.setattr(spoa.answering, "_TURN", 0.0)
    room.read(0, *["/open/a"] * 40)
    room.end_turn()
    assert len(room.answers()) < 40
    room.read(0, "/shut")
    while room.later:
        room.end_turn()
    assert [told for _, told in room.verdicts()][-2:] == ["allow", "deny"]


def test_a_connection_is_heard_of_by_one_request_as_by_many() -> None:
    room = Room(1)
    room.meet("/open/a")
    for paths in (["/open/a"], ["/open/a"] * 2, ["/shut"], ["/open/a", "/shut"]):
        before = room.peers[0].heard
        room.read(0, *paths)
        room.end_turn()
        assert room.peers[0].heard > before


def test_a_connection_is_heard_of_by_a_request_behind_which_another_begins() -> None:
    room = Room(1)
    room.meet("/open/a")
    request = room.proxies[0].send_notify(1, 1, authorize("/open/a", **ALICE))
    before = room.peers[0].heard
    room.peers[0].data_received(request + request[:20])
    room.end_turn()
    assert room.verdicts() == [(0, "allow")]
    assert room.peers[0].heard > before
    room.peers[0].data_received(request[20:])
    room.end_turn()
    assert room.verdicts() == [(0, "allow")]


def test_a_read_that_comes_alone_is_answered_at_once() -> None:
    room = Room(2, patience=PATIENT._replace(apart=0.0))
    room.read(0, "/open/a")
    room.end_turn()
    room.answers()
    room.read(1, "/open/a")
    assert not room.later
    assert room.verdicts() == [(1, "allow")]


def test_a_read_right_behind_one_that_came_alone_waits_for_the_others_of_its_turn() -> None:
    room = Room(3, patience=PATIENT._replace(apart=60.0))
    for number in (0, 1, 2):
        room.read(number, "/open/a")
        if number == 0:
            room.end_turn()
            room.answers()
    assert len(room.later) == 1
    assert not room.writes
    room.end_turn()
    assert room.verdicts() == [(1, "allow"), (2, "allow")]


def test_after_a_turn_of_many_the_next_read_is_not_taken_to_come_alone() -> None:
    room = Room(2, patience=PATIENT._replace(apart=0.0))
    for number in (0, 1):
        room.read(number, "/open/a")
    room.end_turn()
    room.answers()
    room.read(0, "/open/a")
    assert not room.writes
    room.end_turn()
    assert room.verdicts() == [(0, "allow")]


def test_what_is_left_of_a_burst_never_comes_at_once() -> None:
    room = Room(1, patience=PATIENT._replace(apart=0.0))
    room.turn.add(room.silent())
    room.end_turn()
    room.turn.add_again(room.silent())
    assert len(room.later) == 1


def test_a_turn_that_ran_before_its_time_gives_nobody_two_of_them() -> None:
    room = Room(1)
    room.turn.add_again(room.silent())
    room.turn.run()
    room.turn.add_again(room.silent())
    assert len(room.later) == 1
    room.end_turn()
    room.turn.add_again(room.silent())
    assert len(room.later) == 1


def test_the_end_of_the_stream_right_behind_a_request_leaves_it_answered() -> None:
    room = Room(2)
    room.read(0, "/open/a")
    room.read(1, "/open/a")
    assert not room.peers[1].eof_received()
    assert room.verdicts() == [(0, "allow"), (1, "allow")]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections linger after their goodbye."""
    monkeypatch.setattr("asyncio.get_running_loop", Loop)


@pytest.mark.usefixtures("loop")
def test_a_request_right_before_our_goodbye_is_answered_before_it() -> None:
    room = Room(1)
    room.read(0, "/open/a")
    room.peers[0].leave(0)
    (_, answer), (_, goodbye) = room.answers()
    assert answer["verdict"] == "allow"
    assert goodbye == "DisconnectReceived"


@pytest.mark.usefixtures("loop")
def test_whoever_parts_is_answered_all_of_a_long_read_before_the_goodbye_however_many_others_read() -> None:
    room = Room(64)
    room.meet("/open/a")
    for number in range(64):
        room.read(number, *["/open/a"] * (400 if number == 63 else 1))
    room.peers[63].part(0)
    for _ in range(60):
        room.end_turn()
    told = [what for number, what in room.answers() if number == 63]
    assert [what if what == "DisconnectReceived" else "" for what in told] == [""] * 400 + ["DisconnectReceived"]
    assert room.transports[63].is_read


@pytest.mark.usefixtures("loop")
def test_whoever_parts_and_is_left_says_goodbye_once_however_many_others_read() -> None:
    room = Room(64)
    room.meet("/open/a")
    for number in range(63):
        room.read(number, "/open/a")
    room.peers[63].part(0)
    room.read(63, "/open/a", leaves=True)
    room.end_turn()
    assert b"".join(data for number, data in room.writes if number == 63).count(b"status-code") == 1


def test_whoever_does_not_take_his_answer_is_read_no_more_however_many_others_read() -> None:
    room = Room(65)
    room.meet("/open/a")
    room.transports[63].looks = room.peers[63].pause_writing
    for number in range(65):
        room.read(number, "/open/a")
    room.end_turn()
    assert not room.transports[63].is_read
    room.peers[63].resume_writing()
    assert room.transports[63].is_read


def test_whoever_falls_behind_and_catches_up_again_and_again_is_in_a_turn_once() -> None:
    room = Room(1)
    room.meet("/open/a")
    room.read(0, *["/open/a"] * 3000)
    room.end_turn()
    for _ in range(5):
        room.peers[0].pause_writing()
        room.peers[0].resume_writing()
    room.writes.clear()
    room.end_turn()
    assert len(room.writes) == 1


def test_a_request_is_as_old_as_its_read_whatever_others_left_for_the_turn() -> None:
    room = Room(2)
    room.meet("/open/a")
    room.read(0, *["/open/a"] * 3000)
    room.end_turn()
    assert room.later, "the rest of it"
    before = perf_counter()
    room.read(1, "/open/a")
    assert room.turn.begin() >= before


def test_a_clock_that_fails_lets_nobody_be_judged_by_what_was_known_before() -> None:
    room = Room(3)
    room.meet("/open/a")
    turned: list[bool] = []

    def turn() -> None:
        turned.append(True)
        room.answering.policy.clock_usable = False
        if len(turned) == 1:
            raise RuntimeError("a defect")

    room.answering.watch_clock(NOW - 10, turn)
    room.now = NOW - 20
    for number in range(3):
        room.read(number, "/open/a")
    room.end_turn()
    assert room.transports[0].is_aborted
    assert room.verdicts() == [(1, "deny"), (2, "deny")]


def test_what_was_judged_before_the_clock_turned_is_counted_under_the_switches_of_then() -> None:
    room = Room(2)
    room.answering.policy.switches = frozenset({"incident"})
    room.meet("/open/a")
    met = room.answering.samples()["break_glass_decisions_total", ("allow",)]
    room.answering.watch_clock(NOW - 10, lambda: setattr(room.answering.policy, "switches", frozenset()))
    room.read(0, "/open/a")
    room.read(1, "/open/a", who="bob")  # is judged afresh, before which the clock is looked at anew
    room.transports[0].looks = lambda: setattr(room, "now", NOW - 20)
    room.end_turn()
    assert room.answering.samples()["break_glass_decisions_total", ("allow",)] == met + 1


def test_what_is_answered_waits_neither_for_bursts_nor_for_what_is_judged_afresh_in_a_read() -> None:
    room = Room(3)
    room.meet("/open/a")
    written: list[int] = []
    room.transports[0].looks = lambda: written.append(room.answering._recall.misses)
    room.transports[1].looks = lambda: written.append(-1)
    before = room.answering._recall.misses
    room.read(0, "/open/a")
    room.read(1, *["/open/a"] * 100)
    room.read(2, "/open/a", "/open/never seen", "/open/neither", who="bob")
    room.end_turn()
    assert written == [before, -1]
    room.read(0, "/open/a")
    room.read(2, "/open/a", "/open/new", "/open/newer")
    room.end_turn()
    assert written[2:] == [before + 3]


@pytest.mark.usefixtures("loop")
def test_whoever_takes_no_answers_gets_those_to_what_was_read_before_our_goodbye(tmp_path: Path) -> None:
    log = DecisionLog(FileSink(tmp_path / "log"), 1.0)
    room = Room(1, log)
    room.read(0, "/open/a", "/open/a")
    room.peers[0].pause_writing()
    room.peers[0].leave(0)
    assert [what for _, what in room.answers()][-1] == "DisconnectReceived"
    assert room.count() == 2
    log.close()
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(row["verdict"], row["reason"]) for row in rows] == [("deny", "internal_error")] * 2


@pytest.mark.usefixtures("loop")
def test_whoever_leaves_in_a_burst_of_his_that_we_leave_gets_one_goodbye() -> None:
    room = Room(1)
    room.meet("/open/a")
    room.read(0, *["/open/a"] * 3000, leaves=True)
    room.end_turn()
    room.peers[0].leave(0)
    assert b"".join(data for _, data in room.writes).count(b"status-code") == 1


@pytest.mark.interpreted
def test_what_can_not_be_counted_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(2)
    room.meet("/open/a")
    monkeypatch.setattr("spoa.counts.Counts.answered", raising(RuntimeError("a defect")))
    room.read(0, "/open/a")
    room.read(1, "/open/a")
    with structlog.testing.capture_logs() as lines:
        room.end_turn()
    assert room.verdicts() == [(0, "allow"), (1, "allow")]
    assert [line["event"] for line in lines] == ["what was answered could not be counted or logged"]


def test_each_line_of_the_log_is_of_the_request_that_it_tells_of(tmp_path: Path) -> None:
    log = DecisionLog(FileSink(tmp_path / "log"), 1.0)
    room = Room(4, log)
    paths = ["/open/a", "/shut", "/open/b", "/shut/b"]
    for _ in range(4):
        for number, path in enumerate(paths):
            room.read(number, path)
        room.end_turn()
    log.close()
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(row["path"], row["verdict"]) for row in rows] == [
        (path, "allow" if path.startswith("/open") else "deny") for path in paths
    ] * 4


def test_who_paces_the_turns_is_told_of_the_answers_when_there_are_as_many_as_it_said() -> None:
    room, told = Room(2), []

    def look(answered: int) -> int:
        told.append(answered)
        return answered + 3

    room.read(0, "/open/a")
    room.end_turn()
    room.turn.pace_by(look)
    for paths in (["/open/a", "/open/b"], ["/shut"], ["/open/a"] * 7, ["/open/a"], ["/open/a"], ["/open/a"]):
        room.read(0, *paths[:1])
        if paths[1:]:
            room.read(1, *paths[1:])
        room.end_turn()
    assert told == [1, 4, 11, 14]


@pytest.mark.parametrize("people", [("alice",), ("alice", "bob")])
@settings(deadline=None)
@given(reads=st.data())
def test_who_else_reads_in_a_turn_changes_no_answer(people: tuple[str, ...], reads: st.DataObject) -> None:
    answer_alike(people, reads)
