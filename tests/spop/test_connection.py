from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from spoa.exceptions import ProtocolError
from spoa.spop import (
    Ack,
    AckReceived,
    AgentDisconnect,
    AgentHello,
    Connection,
    DisconnectReceived,
    HaproxyDisconnect,
    HaproxyHello,
    HealthCheckReceived,
    HelloReceived,
    Role,
    State,
    read_frame,
    read_ids,
    write_actions,
    write_frame,
)
from spoa.spop.connection import ANNOUNCED_SIZE
from tests import wire
from tests.spop.sides import (
    AGENT_BREACHES,
    AGENT_BREACHES_WHEN_OPEN,
    ALLOW,
    BREACHES,
    BREACHES_WHEN_OPEN,
    PAYLOAD,
    Feed,
    agent,
    opened,
    relay,
    status_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# The HELLO of HAProxy, and what an agent says to it.


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_a_health_check_is_answered_and_nothing_more_is_heard(feed: Feed) -> None:
    connection = Connection(Role.AGENT)
    events = feed(connection, wire.recorded("haproxy-hello-healthcheck")[0])

    (event,) = events
    assert isinstance(event, HealthCheckReceived)
    assert event.hello == HaproxyHello(16380, is_healthcheck=True)
    assert read_frame(event.reply) == AgentHello(16380, ("pipelining", "fragmentation"))
    assert (connection.state, connection.is_deaf, connection.held_size) == (State.CLOSING, True, 0)


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize("capabilities", [None, b"\x08\0", b"\x08\x10pipelining,async", b"\x08\x0apipelining"])
def test_every_hello_is_answered_with_pipelining_and_fragmentation_and_never_async(
    capabilities: bytes | None, feed: Feed
) -> None:
    connection = Connection(Role.AGENT)
    (event,) = feed(connection, wire.hello(capabilities=capabilities))

    assert isinstance(event, HelloReceived)
    assert read_frame(event.reply) == AgentHello(16380, ("pipelining", "fragmentation"))
    assert connection.state is State.OPEN
    assert connection.peer == event.hello


@pytest.mark.parametrize(
    ("own", "announced", "negotiated"),
    [
        (16380, 16380, 16380),
        (256, 16380, 256),
        (65532, 256, 256),
        (65532, 1048572, 65532),
        (ANNOUNCED_SIZE, 1048572, 1048572),
    ],
)
def test_the_lesser_frame_size_is_negotiated(own: int, announced: int, negotiated: int) -> None:
    connection = Connection(Role.AGENT, max_frame_size=own)
    (event,) = connection.receive_data(wire.hello(size=b"\x03" + wire.varint(announced)))

    assert isinstance(event, HelloReceived)
    assert read_frame(event.reply) == AgentHello(negotiated, ("pipelining", "fragmentation"))
    assert connection.frame_size == negotiated


@pytest.mark.parametrize("size", [0, 255, 2**32, -1])
def test_a_frame_size_that_can_not_be_announced_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="256"):
        Connection(Role.AGENT, max_frame_size=size)


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize(("stream", "status"), BREACHES.values(), ids=BREACHES.keys())
def test_what_is_no_hello_ends_the_connection_with_its_status(stream: bytes, status: int, feed: Feed) -> None:
    connection = Connection(Role.AGENT)
    events = feed(connection, stream)

    assert len(events) == 1
    assert status_of(events) == status
    assert connection.state is State.CLOSING
    assert feed(connection, wire.hello()) == []
    assert connection.held_size == 0


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize(("stream", "status"), BREACHES_WHEN_OPEN.values(), ids=BREACHES_WHEN_OPEN.keys())
def test_a_breach_ends_an_open_connection_after_what_came_before(stream: bytes, status: int, feed: Feed) -> None:
    connection = agent()
    events = feed(connection, wire.notify(9, 9, PAYLOAD) + stream)

    assert events[0] == (b"\x09\x09", PAYLOAD)
    assert len(events) == 2
    assert status_of(events) == status
    assert connection.state is State.CLOSING
    assert feed(connection, wire.notify(1, 1, PAYLOAD)) == []
    assert connection.held_size == 0


# NOTIFY and ACK.

IDS = [0, 1, 239, 240, 2287, 2288, 264431, 264432, 2**31 - 1, 2**32, 2**60, 2**64 - 1]


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize("stream_id", IDS)
@pytest.mark.parametrize("frame_id", [0, 1, 3, 240, 2**64 - 1])
def test_an_ack_echoes_the_very_ids_of_its_notify(stream_id: int, frame_id: int, feed: Feed) -> None:
    connection = agent()
    ((ids, payload),) = feed(connection, wire.notify(stream_id, frame_id, PAYLOAD))  # type: ignore[misc]  # a NOTIFY

    assert payload == PAYLOAD
    assert read_ids(ids) == (stream_id, frame_id)
    assert read_frame(connection.ack(ids, write_actions(ALLOW))) == Ack(stream_id, frame_id, ALLOW)


def test_an_ack_is_the_one_of_the_corpus() -> None:
    assert agent().ack(b"\x01\x01", write_actions(ALLOW)) == wire.recorded("ack-set-var")[0]


def test_an_ack_may_be_as_large_as_negotiated_and_no_larger() -> None:
    connection = agent(max_frame_size=256)

    assert len(connection.ack(b"\x01\x01", bytes(249))) == 4 + 256
    with pytest.raises(ProtocolError) as caught:
        connection.ack(b"\x01\x01", bytes(250))
    assert caught.value.status == 3


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_fifty_frames_come_in_order_however_they_are_cut(feed: Feed) -> None:
    frames = [(number * 100, number, PAYLOAD * (number % 3)) for number in range(50)]
    events = feed(agent(), b"".join(wire.notify(*frame) for frame in frames))

    assert events == [(wire.varint(stream) + wire.varint(frame), payload) for stream, frame, payload in frames]


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_hello_and_what_follows_may_come_in_one_read(feed: Feed) -> None:
    connection = Connection(Role.AGENT)
    events = feed(connection, wire.hello() + wire.notify(1, 1, b"") + wire.disconnect())

    assert [type(event) for event in events] == [HelloReceived, tuple, DisconnectReceived]


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_the_same_ids_twice_are_two_notifies(feed: Feed) -> None:
    assert feed(agent(), wire.notify(1, 1, b"") * 2) == [(b"\x01\x01", b"")] * 2


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_reserved_flags_are_ignored(feed: Feed) -> None:
    assert feed(agent(), wire.notify(1, 1, PAYLOAD, flags=0xFFFFFFFD)) == [(b"\x01\x01", PAYLOAD)]


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize("flags", [2, 3, 0xFFFFFFFF])
def test_an_aborted_notify_is_not_answered_and_harms_nothing(flags: int, feed: Feed) -> None:
    events = feed(agent(), wire.notify(1, 1, PAYLOAD, flags=flags) + wire.notify(3, 1, b""))

    assert events == [(b"\x03\x01", b"")]


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize("kind", [4, 50, 100, 104, 255])
@pytest.mark.parametrize("flags", [0, 1])
def test_an_unknown_type_is_passed_over(kind: int, flags: int, feed: Feed) -> None:
    events = feed(agent(), wire.frame(kind, b"whatever", flags=flags) + wire.notify(1, 1, b""))

    assert events == [(b"\x01\x01", b"")]


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_a_frame_between_what_was_negotiated_and_announced_is_taken(feed: Feed) -> None:
    payload = bytes(16380 - 7)

    assert feed(agent(max_frame_size=256), wire.notify(1, 1, payload)) == [(b"\x01\x01", payload)]


def test_more_than_a_mebibyte_is_not_taken_because_it_was_announced() -> None:
    connection = Connection(Role.AGENT, max_frame_size=65532)
    connection.receive_data(wire.hello(size=b"\x03" + wire.varint(2**32)))

    assert connection.receive_data(ANNOUNCED_SIZE.to_bytes(4, "big")) == []
    connection = Connection(Role.AGENT, max_frame_size=65532)
    connection.receive_data(wire.hello(size=b"\x03" + wire.varint(2**32)))
    assert status_of(connection.receive_data((ANNOUNCED_SIZE + 1).to_bytes(4, "big"))) == 3


def test_only_what_came_is_held_and_never_what_was_promised() -> None:
    connection = agent()
    connection.receive_data(wire.frame(3, bytes(100), length=16380))

    assert connection.held_size == 111
    connection.receive_eof()
    assert (connection.state, connection.held_size) == (State.CLOSED, 0)
    assert connection.receive_data(wire.notify(1, 1, b"")) == []


def test_two_connections_do_not_know_each_other() -> None:
    one, other = agent(), agent()
    one.receive_data(wire.notify(1, 1, b"x", flags=0))

    assert other.receive_data(wire.notify(1, 1, b"y")) == [(b"\x01\x01", b"y")]
    assert one.receive_data(wire.notify(1, 1, b"z", kind=0)) == [(b"\x01\x01", b"xz")]


# DISCONNECT, both ways, and the end of the stream.


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize("status", [*range(14), 99, 150])
def test_haproxy_s_disconnect_is_answered_with_status_0(status: int, feed: Feed) -> None:
    connection = agent()
    (event,) = feed(connection, wire.disconnect(status, b"m" * 300))

    assert isinstance(event, DisconnectReceived)
    assert event.disconnect == HaproxyDisconnect(status, b"m" * 300)
    assert event.reply == wire.recorded("agent-disconnect")[0]
    assert connection.state is State.CLOSING


def test_haproxy_may_leave_without_a_hello_and_amid_fragments() -> None:
    for connection in (Connection(Role.AGENT), agent()):
        if connection.state is State.OPEN:
            connection.receive_data(wire.notify(1, 1, b"x", flags=0))
        (event,) = connection.receive_data(wire.frame(2))

        assert isinstance(event, DisconnectReceived)
        assert event.disconnect.status == 99
        assert connection.held_size == 0


def test_a_notify_that_crosses_our_disconnect_is_dropped() -> None:
    connection = agent()
    connection.receive_data(wire.notify(1, 1, b"")[:5])

    assert connection.send_disconnect() == wire.recorded("agent-disconnect")[0]
    assert connection.held_size == 0
    assert connection.receive_data(wire.notify(1, 1, b"")[5:] + wire.disconnect()) == []
    assert connection.state is State.CLOSING


@pytest.mark.parametrize(("status", "text"), [(0, b"normal"), (4, b"invalid frame"), (150, b"status not assigned")])
def test_an_agent_may_leave_with_any_status_at_any_time(status: int, text: bytes) -> None:
    closing, closed = agent(), agent()
    closing.receive_data(wire.disconnect())
    closed.receive_eof()

    for connection in (Connection(Role.AGENT), agent(), closing, closed):
        assert read_frame(connection.send_disconnect(status)) == AgentDisconnect(status, text)
        assert connection.is_deaf


def test_the_end_of_the_stream_may_come_at_any_time_and_twice() -> None:
    for connection in (Connection(Role.AGENT), agent(), *opened(), Connection(Role.HAPROXY)):
        connection.receive_eof()
        connection.receive_eof()

        assert connection.state is State.CLOSED
        assert connection.receive_data(wire.hello()) == []


# HAProxy's side.


def test_both_sides_agree_in_memory() -> None:
    proxy, connection = opened(max_frame_size=1000)
    notifies = [(stream, 1, PAYLOAD) for stream in (1, 300, 5)]
    events = relay(connection, b"".join(proxy.send_notify(*notify) for notify in notifies), proxy)
    acks = [connection.ack(event[0], write_actions(ALLOW)) for event in events if isinstance(event, tuple)]

    assert proxy.frame_size == connection.frame_size == 1000
    assert proxy.receive_data(b"".join(reversed(acks))) == [
        AckReceived(Ack(stream, 1, ALLOW)) for stream in (5, 300, 1)
    ]
    (event,) = relay(connection, proxy.send_disconnect(2), proxy)
    assert isinstance(event, DisconnectReceived)
    assert event.disconnect == HaproxyDisconnect(2, b"timeout")
    assert (proxy.state, connection.state) == (State.CLOSED, State.CLOSING)


def test_a_hello_says_what_it_is_told_to() -> None:
    proxy = Connection(Role.HAPROXY, max_frame_size=16380)
    hello = proxy.send_hello(capabilities=("pipelining", "async"), engine_id=b"e-1")

    assert read_frame(hello) == HaproxyHello(16380, capabilities=("pipelining", "async"), engine_id=b"e-1")


def test_a_health_check_ends_with_the_agent_s_hello() -> None:
    proxy = Connection(Role.HAPROXY, max_frame_size=16380)
    check = proxy.send_hello(capabilities=(), is_healthcheck=True)
    (asked,) = Connection(Role.AGENT).receive_data(check)
    assert isinstance(asked, HealthCheckReceived)

    assert check == wire.recorded("haproxy-hello-healthcheck")[0]
    assert proxy.receive_data(asked.reply) == [HealthCheckReceived(AgentHello(16380, ("pipelining", "fragmentation")))]
    assert proxy.state is State.CLOSED


@pytest.mark.parametrize("feed", wire.FEEDERS)
def test_an_agent_s_disconnect_ends_haproxy_s_side(feed: Feed) -> None:
    proxy, connection = opened()

    assert feed(proxy, connection.send_disconnect(13)) == [DisconnectReceived(AgentDisconnect(13, b"out of resources"))]
    assert proxy.state is State.CLOSED


def test_haproxy_hears_late_acks_and_hellos_while_it_leaves() -> None:
    proxy, connection = opened()
    proxy.send_disconnect()
    assert proxy.receive_data(connection.ack(b"\x01\x01", b"") + wire.frame(50)) == [AckReceived(Ack(1, 1))]
    assert proxy.state is State.CLOSING

    proxy = Connection(Role.HAPROXY)
    proxy.send_hello()
    proxy.send_disconnect()
    assert [type(event) for event in proxy.receive_data(wire.recorded("agent-hello")[0])] == [HelloReceived]
    assert proxy.state is State.CLOSING


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize(("stream", "status"), AGENT_BREACHES.values(), ids=AGENT_BREACHES.keys())
def test_haproxy_s_side_refuses_what_is_no_hello(stream: bytes, status: int, feed: Feed) -> None:
    proxy = Connection(Role.HAPROXY, max_frame_size=16380)
    proxy.send_hello()

    assert status_of(feed(proxy, stream)) == status
    assert proxy.state is State.CLOSED


@pytest.mark.parametrize("feed", wire.FEEDERS)
@pytest.mark.parametrize(("stream", "status"), AGENT_BREACHES_WHEN_OPEN.values(), ids=AGENT_BREACHES_WHEN_OPEN.keys())
def test_haproxy_s_side_refuses_what_does_not_belong(stream: bytes, status: int, feed: Feed) -> None:
    proxy, _ = opened()

    assert status_of(feed(proxy, stream)) == status
    assert proxy.state is State.CLOSED


def test_an_agent_that_speaks_first_broke_the_protocol() -> None:
    proxy = Connection(Role.HAPROXY)

    assert status_of(proxy.receive_data(wire.recorded("agent-hello")[0])) == 4


def test_haproxy_s_side_fragments_what_does_not_fit_if_the_agent_takes_it() -> None:
    proxy, connection = opened(max_frame_size=256)
    stream = proxy.send_notify(1, 1, bytes(range(256)) * 4)
    lengths = []
    rest = stream
    while rest:
        length = int.from_bytes(rest[:4], "big")
        lengths.append(length)
        rest = rest[4 + length :]

    assert lengths == [256, 256, 256, 256, 7 + 28]
    assert connection.receive_data(stream) == [(b"\x01\x01", bytes(range(256)) * 4)]


def test_haproxy_s_side_sends_nothing_too_large_to_an_agent_without_fragmentation() -> None:
    proxy = Connection(Role.HAPROXY)
    proxy.send_hello()
    proxy.receive_data(write_frame(AgentHello(256, ("pipelining",))))

    assert len(proxy.send_notify(1, 1, bytes(249))) == 260
    with pytest.raises(ProtocolError) as caught:
        proxy.send_notify(1, 1, bytes(250))
    assert caught.value.status == 3


def test_what_may_not_be_sent_now_is_not_sent_and_changes_nothing() -> None:
    proxy, connection = opened()
    left = Connection(Role.HAPROXY)
    left.receive_eof()

    early = Connection(Role.HAPROXY)
    sends: list[Callable[[], bytes]] = [
        proxy.send_hello,
        connection.send_hello,
        partial(connection.send_notify, 1, 1, b""),
        left.send_disconnect,
        partial(early.send_notify, 1, 1, b""),
    ]
    for send in sends:
        with pytest.raises(ProtocolError, match="sending") as caught:
            send()
        assert caught.value.status == 4
    assert (proxy.state, connection.state, left.state) == (State.OPEN, State.OPEN, State.CLOSED)
