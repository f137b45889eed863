from __future__ import annotations

import pytest

from spoa.spop.frames import FrameType
from spoa.spop.states import DEAF, RECEIVED, TRANSITIONS, Happening, Role, State


@pytest.mark.parametrize("role", Role)
def test_each_role_has_a_row_for_each_state_that_it_can_be_in(role: Role) -> None:
    rows = TRANSITIONS[role]
    reached = {State.NEW} | {target for row in rows.values() for target in row.values()}

    assert set(rows) == reached


@pytest.mark.parametrize("role", Role)
def test_every_state_ends_with_the_stream_and_nothing_leads_out_of_the_end(role: Role) -> None:
    rows = TRANSITIONS[role]

    assert all(row[Happening.EOF] is State.CLOSED for row in rows.values())
    assert set(rows[State.CLOSED].values()) == {State.CLOSED}


@pytest.mark.parametrize("role", Role)
def test_a_connection_never_goes_back(role: Role) -> None:
    order = list(State)

    for state, row in TRANSITIONS[role].items():
        assert all(order.index(target) >= order.index(state) for target in row.values())


@pytest.mark.parametrize("role", Role)
def test_a_frame_may_only_come_where_a_breach_is_possible(role: Role) -> None:
    received = set(RECEIVED[role].values()) | {Happening.UNKNOWN, Happening.HEALTH_CHECK}

    for state, row in TRANSITIONS[role].items():
        assert (state in DEAF[role]) == (Happening.BREACH not in row)
        if state in DEAF[role]:
            assert not received & set(row)


def test_an_agent_is_deaf_once_its_last_word_is_said_and_haproxy_once_it_is_over() -> None:
    assert DEAF[Role.AGENT] == {State.CLOSING, State.CLOSED}
    assert DEAF[Role.HAPROXY] == {State.CLOSED}


@pytest.mark.parametrize("role", Role)
def test_no_state_takes_a_frame_that_goes_the_other_way(role: Role) -> None:
    assert set(RECEIVED[role]) == set(FrameType)
    assert all(Happening.MISDIRECTED not in row for row in TRANSITIONS[role].values())


def test_what_one_side_may_send_the_other_may_receive() -> None:
    for frame_type in FrameType:
        directions = [RECEIVED[role][frame_type] is not Happening.MISDIRECTED for role in Role]
        assert sorted(directions) == [False, True]


def test_a_notify_is_taken_in_one_state_only() -> None:
    taking = [state for state, row in TRANSITIONS[Role.AGENT].items() if Happening.NOTIFY in row]

    assert taking == [State.OPEN]
