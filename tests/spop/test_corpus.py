"""What real HAProxy sent, read by the agent's side and written again by HAProxy's."""

from __future__ import annotations

import pytest

from spoa.spop import (
    Argument,
    Connection,
    DataType,
    DisconnectReceived,
    Event,
    HaproxyDisconnect,
    HaproxyHello,
    HealthCheckReceived,
    HelloReceived,
    Message,
    Role,
    read_ids,
    read_messages,
    write_frame,
    write_messages,
)
from tests import wire

RECORDINGS = sorted(path.stem for path in wire.CORPUS.glob("haproxy-[0-9]*.hex"))
LEGACY = ("2.6.12", "2.8.25", "3.0.11")
MUX = ("3.2.26", "3.4.7")


def events_of(name: str) -> list[Event]:
    return Connection(Role.AGENT).receive_data(b"".join(wire.recorded(name)))


def expected(path: bytes, unique_id: object) -> list[Message]:
    """Return the message that every recording holds."""
    return [
        Message(
            b"authorize",
            (
                Argument(b"cert", DataType.NULL, None),
                Argument(b"used", DataType.NULL, None),
                Argument(b"verify", DataType.INT64, 0),
                Argument(b"resumed", DataType.BOOL, value=False),
                Argument(b"src", DataType.IPV4, b"\x7f\0\0\x01"),
                Argument(b"method", DataType.STRING, b"GET"),
                Argument(b"path", DataType.STRING, path),
                Argument(b"host", DataType.STRING, b"example.org"),
                Argument(b"n", DataType.INT64, -1),
                Argument(b"six", DataType.IPV6, bytes.fromhex("20010db8000000000000000000000001")),
                Argument(b"id", DataType.STRING, unique_id),  # type: ignore[arg-type]  # bytes, as it was recorded
                Argument(b"", DataType.STRING, b"unnamed"),
                Argument(b"blob", DataType.BINARY, b"\0\xff\x10"),
            ),
        )
    ]


def test_the_recordings_are_there() -> None:
    assert {name.split("-")[1] for name in RECORDINGS} == {*LEGACY, *MUX}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_gives_the_same_events_byte_by_byte_and_breaks_nothing(name: str) -> None:
    stream = b"".join(wire.recorded(name))
    events = wire.comparable(events_of(name))

    assert wire.comparable(wire.byte_by_byte(Connection(Role.AGENT), stream)) == events
    assert not [event for event in events if type(event) is tuple and event[0] == "broken"]


@pytest.mark.parametrize("version", [*LEGACY, *MUX])
def test_the_health_check_of_every_version_is_the_same(version: str) -> None:
    (event,) = events_of(f"haproxy-{version}-check")

    assert isinstance(event, HealthCheckReceived)
    assert event.hello == HaproxyHello(16380, is_healthcheck=True)
    assert write_frame(event.hello) == wire.recorded(f"haproxy-{version}-check")[0]


@pytest.mark.parametrize(
    ("version", "capabilities", "stream_ids"),
    [(version, ("pipelining", "async"), [0, 2]) for version in LEGACY]
    + [(version, ("pipelining",), [1, 3]) for version in MUX],
)
def test_two_requests_are_read_and_their_payloads_written_again(
    version: str, capabilities: tuple[str, ...], stream_ids: list[int]
) -> None:
    name = f"haproxy-{version}-requests"
    greeting, *rest = events_of(name)
    notifies = [event for event in rest if isinstance(event, tuple)]

    assert isinstance(greeting, HelloReceived)
    assert isinstance(greeting.hello, HaproxyHello)
    assert greeting.hello.capabilities == capabilities
    assert len(greeting.hello.engine_id) == 36
    assert write_frame(greeting.hello) == wire.recorded(name)[0]
    assert [read_ids(ids) for ids, _ in notifies] == [(stream_id, 1) for stream_id in stream_ids]
    for _, payload in notifies:
        messages = read_messages(payload)
        assert messages == expected(b"/orders/4711", messages[0].arguments[10].value)
        assert write_messages(messages) == payload


@pytest.mark.parametrize("version", LEGACY)
def test_an_idle_connection_is_left_with_a_timeout(version: str) -> None:
    *_, event = events_of(f"haproxy-{version}-requests")

    assert isinstance(event, DisconnectReceived)
    assert event.disconnect == HaproxyDisconnect(2, b"a timeout occurred")
    assert write_frame(event.disconnect) == wire.recorded(f"haproxy-{version}-requests")[-1]


@pytest.mark.parametrize("version", LEGACY)
def test_a_large_request_is_put_together_again(version: str) -> None:
    name = f"haproxy-{version}-fragments"
    notifies = [event for event in events_of(name) if isinstance(event, tuple)]

    assert {frame[4] for frame in wire.recorded(name)} >= {0, 1, 3}
    assert notifies
    for _, payload in notifies:
        messages = read_messages(payload)
        assert messages == expected(b"/" + b"0123456789abcdef" * 40, messages[0].arguments[10].value)
