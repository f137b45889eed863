"""Fragments, and streams of any kind, cut anywhere."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.spop import Ack, AckReceived, Connection, Role, frame_bytes, read_ids
from spoa.spop.connection import REASSEMBLED_SIZE
from tests import wire
from tests.spop.sides import (
    AGENT_BREACHES,
    AGENT_BREACHES_WHEN_OPEN,
    BREACHES,
    BREACHES_WHEN_OPEN,
    PAYLOAD,
    Feed,
    agent,
    opened,
    status_of,
)


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize("cut", range(len(PAYLOAD) + 1))
def test_a_notify_in_fragments_is_the_whole_one_wherever_it_is_cut(cut: int, feed: Feed) -> None:
    connection = agent()
    pieces = [
        wire.notify(0, 7, PAYLOAD[:cut], flags=0),
        wire.notify(0, 7, b"", kind=0, flags=0),
        wire.notify(0, 7, PAYLOAD[cut:], kind=0),
        wire.notify(2, 7, b"next"),
    ]

    assert feed(connection, b"".join(pieces)) == [(b"\0\x07", PAYLOAD), (b"\x02\x07", b"next")]


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_fragments_that_are_given_up_are_forgotten(feed: Feed) -> None:
    connection = agent()
    given_up = wire.notify(1, 1, b"x" * 100, flags=0) + wire.notify(1, 1, b"", kind=0, flags=3)

    assert feed(connection, given_up * 3 + wire.notify(3, 1, b"")) == [(b"\x03\x01", b"")]


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_an_unknown_type_may_come_between_fragments(feed: Feed) -> None:
    stream = wire.notify(1, 1, b"x", flags=0) + wire.frame(50) + wire.notify(1, 1, b"y", kind=0)

    assert feed(agent(), stream) == [(b"\x01\x01", b"xy")]


def test_the_bound_of_fragments_is_kept_and_its_memory_released() -> None:
    connection = agent(max_fragmented=1000)
    first = wire.notify(1, 1, bytes(600), flags=0)

    assert connection.receive_data(first + wire.notify(1, 1, bytes(400), kind=0)) == [(b"\x01\x01", bytes(1000))]
    assert connection.receive_data(first) == []
    assert connection.held_size == 600
    assert status_of(connection.receive_data(wire.notify(1, 1, bytes(401), kind=0, flags=0))) == 3
    assert connection.held_size == 0


def test_fragments_of_64_kib_are_put_together_by_default() -> None:
    connection = agent()
    piece = bytes(REASSEMBLED_SIZE // 8)
    stream = wire.notify(1, 1, piece, flags=0) + wire.notify(1, 1, piece, kind=0, flags=0) * 7

    assert connection.receive_data(stream + wire.notify(1, 1, b"", kind=0)) == [(b"\x01\x01", bytes(REASSEMBLED_SIZE))]
    assert status_of(connection.receive_data(stream + wire.notify(1, 1, b"!", kind=0))) == 3


LEGAL = [
    wire.notify(1, 1, PAYLOAD),
    wire.notify(2**64 - 1, 2**64 - 1, b""),
    wire.notify(5000, 1, PAYLOAD * 20),
    wire.notify(3, 1, b"x", flags=0) + wire.notify(3, 1, b"y", kind=0),
    wire.notify(3, 1, b"", flags=3),
    wire.frame(50),
]
FRAMES = st.one_of(
    st.sampled_from(LEGAL),
    st.sampled_from([stream for stream, _ in (*BREACHES.values(), *BREACHES_WHEN_OPEN.values())]),
    st.sampled_from([wire.disconnect(), wire.hello(), *wire.recorded("haproxy-hello-healthcheck")]),
    st.builds(
        frame_bytes,
        st.integers(0, 255),
        st.integers(0, 3),
        st.binary(min_size=2, max_size=12),
        st.binary(max_size=20),
    ),
    st.binary(max_size=20),
)
STREAMS = st.builds(
    lambda greets, frames: (wire.hello() if greets else b"") + b"".join(frames),
    st.booleans(),
    st.lists(FRAMES, max_size=8),
)


def fed(role: Role, pieces: list[bytes], feed: Feed = Connection.receive_data) -> tuple[Connection, list[object]]:
    """Feed pieces to a new connection, and return it and what came of them."""
    connection = Connection(role, max_frame_size=16380)
    if role is Role.HAPROXY:
        connection.send_hello()
    events = [event for piece in pieces for event in feed(connection, piece)]
    return connection, wire.comparable(events)


@given(STREAMS, st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_of_any_stream_gives_the_same(stream: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]
    whole, expected = fed(Role.AGENT, [stream])

    for others, feed in product((pieces, [bytes([byte]) for byte in stream]), (Connection.receive_data, wire.served)):
        connection, events = fed(Role.AGENT, others, feed)
        assert events == expected
        assert (connection.state, connection.held_size) == (whole.state, whole.held_size)


def test_what_looks_like_a_frame_behind_half_a_frame_is_the_rest_of_it() -> None:
    inner = wire.notify(2, 1, b"not to be judged")
    outer = wire.notify(1, 1, b"before" + inner)
    connection = agent()
    assert wire.served(connection, outer[: -len(inner)]) == []
    assert wire.served(connection, inner) == [(b"\x01\x01", b"before" + inner)]


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_a_notify_above_the_size_that_haproxy_announced_is_a_breach_however_it_comes(feed: Feed) -> None:
    assert feed(agent(), wire.notify(1, 1, bytes(16380 - 7))) == [(b"\x01\x01", bytes(16380 - 7))]
    assert status_of(feed(agent(), wire.notify(1, 1, bytes(16380 - 6)))) == 3


AGENT_FRAMES = [
    wire.recorded("agent-hello")[0],
    wire.recorded("ack-set-var")[0],
    wire.recorded("agent-disconnect")[0],
    *(stream for stream, _ in (*AGENT_BREACHES.values(), *AGENT_BREACHES_WHEN_OPEN.values())),
]


@given(st.lists(st.one_of(st.sampled_from(AGENT_FRAMES), FRAMES), max_size=8).map(b"".join), st.sampled_from(Role))
def test_any_bytes_leave_a_defined_state_and_a_breach_is_the_last_event(stream: bytes, role: Role) -> None:
    connection, events = fed(role, [stream])
    breaches = [event for event in events if type(event) is tuple and event[0] == "broken"]

    assert breaches in ([], events[-1:])
    assert connection.is_deaf or not breaches
    assert connection.held_size <= len(stream)
    assert fed(role, [bytes([byte]) for byte in stream])[1] == events


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=600)), min_size=1, max_size=6
    ),
    st.integers(256, 2000),
)
def test_whatever_haproxy_s_side_sends_the_agent_receives(
    notifies: list[tuple[int, int, bytes]], frame_size: int
) -> None:
    proxy, connection = opened(max_frame_size=frame_size)
    events = connection.receive_data(b"".join(proxy.send_notify(*notify) for notify in notifies))

    assert [(*read_ids(event[0]), event[1]) for event in events if isinstance(event, tuple)] == notifies
    answers = b"".join(connection.ack(event[0], b"") for event in events if isinstance(event, tuple))
    assert proxy.receive_data(answers) == [AckReceived(Ack(stream, frame)) for stream, frame, _ in notifies]
