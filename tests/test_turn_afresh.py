"""What isn't remembered is put off until all others of a turn have their answers, and never forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.turning import PATIENT, Room, answer_alike

#: No turn judges more than one request afresh.
HASTY = PATIENT._replace(afresh=0.0)


def test_nobody_waits_for_a_request_that_is_judged_afresh() -> None:
    room = Room(2)
    room.meet("/open/a")
    misses: list[int] = []
    room.transports[0].looks = lambda: misses.append(room.answering._recall.misses)
    before = room.answering._recall.misses
    room.read(0, "/open/a")
    room.read(1, "/open/never seen", who="bob")
    room.end_turn()
    assert misses == [before], "the first had its answer by then"
    assert room.answering._recall.misses == before + 1
    assert room.verdicts() == [(0, "allow"), (1, "deny")]


def test_what_is_judged_afresh_comes_behind_what_is_known_and_is_answered_together() -> None:
    room = Room(4)
    room.meet("/open/a")
    before, recall = room.answering._recall.misses, room.answering._recall
    seen: list[int] = []
    for transport in room.transports:
        transport.looks = lambda: seen.append(recall.misses - before)
    for number, who in enumerate(("bob", "alice", "bob", "alice")):
        room.read(number, "/open/a", who=who)
    room.end_turn()
    assert seen == [0, 0, 2, 2]
    assert room.verdicts() == [(1, "allow"), (3, "allow"), (0, "deny"), (2, "deny")]
    assert not room.later


def test_whoever_waited_long_for_others_that_are_judged_afresh_is_answered_before_them() -> None:
    room = Room(3, patience=PATIENT._replace(held=0.0))
    room.meet("/open/a")
    before, recall = room.answering._recall.misses, room.answering._recall
    seen: list[int] = []
    for number, transport in enumerate(room.transports):
        transport.looks = lambda: seen.append(recall.misses - before)
        room.read(number, "/open/a", who="bob")
    room.end_turn()
    assert seen == [1, 2, 3]


def test_what_a_read_begins_with_is_answered_before_the_rest_is_judged_and_all_of_it_in_order() -> None:
    room = Room(2)
    room.meet("/open/a")
    before, recall = room.answering._recall.misses, room.answering._recall
    seen: list[int] = []
    room.transports[0].looks = lambda: seen.append(recall.misses - before)
    room.read(0, "/open/a", "/open/a")
    room.read(0, "/open/a", who="bob")
    room.read(0, "/open/a")
    room.read(1, "/open/a")
    room.end_turn()
    assert [number for number, _ in room.writes] == [0, 1, 0]
    assert seen == [0, 1]
    told = room.verdicts()
    assert [verdict for number, verdict in told if number == 0] == ["allow", "allow", "deny", "allow"]
    assert not room.later


def test_what_would_take_too_long_is_judged_in_the_next_turns_behind_whoever_is_known_by_then() -> None:
    room = Room(4, patience=HASTY)
    room.meet("/open/a")
    for number in range(3):
        room.read(number, "/open/a", who="bob")
    room.end_turn()
    assert room.verdicts() == [(0, "deny")]
    room.read(3, "/open/a")
    room.end_turn()
    assert room.verdicts() == [(3, "allow"), (1, "deny")]
    room.end_turn()
    assert room.verdicts() == [(2, "deny")]
    assert not room.later


def test_no_read_comes_alone_while_others_are_put_off() -> None:
    room = Room(4, patience=HASTY._replace(apart=0.0))
    room.meet("/open/a")
    room.turn._was_alone = False
    for number in range(3):
        room.read(number, "/open/a", who="bob")
    room.end_turn()
    for number, told in ((3, [(0, "deny"), (3, "allow"), (1, "deny")]), (0, [(0, "allow"), (2, "deny")])):
        writes = len(room.writes)
        room.read(number, "/open/a")
        assert len(room.writes) == writes
        room.end_turn()
        assert room.verdicts() == told


def test_what_has_waited_for_others_to_be_judged_is_denied_when_its_time_is_up() -> None:
    room = Room(2, patience=HASTY)
    for number in range(2):
        room.read(number, "/open/a")
    room.end_turn()
    assert room.verdicts() == [(0, "allow")]
    room.peers[1]._started -= 60
    room.end_turn()
    assert [(number, told["reason"]) for number, told in room.answers()] == [(1, "internal_error")]


def test_whoever_sends_more_while_a_request_of_his_is_put_off_is_answered_in_order() -> None:
    room = Room(2, patience=HASTY)
    room.read(0, "/open/a")
    room.read(1, "/open/a")
    room.end_turn()
    room.read(1, "/shut", "/open/b")
    room.end_turns()
    assert room.verdicts() == [(0, "allow"), (1, "allow"), (1, "deny"), (1, "allow")]


@pytest.mark.parametrize("takes_answers", [True, False])
def test_a_request_that_is_put_off_is_answered_before_the_end_of_its_stream(takes_answers: bool) -> None:
    room = Room(3, patience=HASTY)
    for number in range(3):
        room.read(number, "/open/a")
    room.end_turn()
    if not takes_answers:
        room.peers[2].pause_writing()
    assert not room.peers[2].eof_received()
    assert room.verdicts() == [(number, "allow") for number in range(3 if takes_answers else 2)]


def test_whoever_is_gone_before_his_request_is_judged_holds_nobody_up() -> None:
    room = Room(3, patience=HASTY)
    for number in range(3):
        room.read(number, "/open/a")
    room.end_turn()
    room.peers[1].connection_lost(None)
    room.end_turns()
    assert room.verdicts() == [(0, "allow"), (2, "allow")]


@settings(deadline=None)
@given(reads=st.data())
def test_what_is_put_off_changes_no_answer(reads: st.DataObject) -> None:
    answer_alike(("alice", "bob"), reads, HASTY)
