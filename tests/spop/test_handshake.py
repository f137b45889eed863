from __future__ import annotations

from typing import Any

import pytest

from spoa.exceptions import ProtocolError
from spoa.spop.handshake import (
    AgentDisconnect,
    AgentHello,
    Disconnect,
    HaproxyDisconnect,
    HaproxyHello,
    read_agent_hello,
    read_disconnect,
    read_haproxy_hello,
    write_agent_hello,
    write_disconnect,
    write_haproxy_hello,
)
from tests import wire

#: A value of each type with its type byte.
ANYTHING = (b"\0", b"\x11", b"\x02\x01", b"\x03\x01", b"\x04\x01", b"\x05\x01", b"\x06" + bytes(4), b"\x07" + bytes(16))
WRONG_STRINGS = (*ANYTHING, b"\x09\x032.0")
WRONG_INTEGERS = (b"\0", b"\x11", b"\x08\x0316k", b"\x09\x01\x01", b"\x06" + bytes(4))


def payload(**changes: Any) -> bytes:
    """Return the payload of a HAPROXY-HELLO with some values changed."""
    return wire.hello(**changes)[11:]


def answer(
    version: bytes | None = b"\x08\x032.0",
    size: bytes | None = b"\x03\xfc\xf0\x06",
    capabilities: bytes | None = b"\x08\0",
) -> bytes:
    """Return the payload of an AGENT-HELLO."""
    keys = ((b"version", version), (b"max-frame-size", size), (b"capabilities", capabilities))
    return b"".join(wire.item(key, typed) for key, typed in keys if typed is not None)


def test_haproxy_s_hello_holds_both_ways() -> None:
    check = HaproxyHello(16380, is_healthcheck=True)
    written = wire.recorded("haproxy-hello-healthcheck")[0][11:]

    assert write_haproxy_hello(check) == written
    assert read_haproxy_hello(written) == check


@pytest.mark.parametrize(
    "hello",
    [
        HaproxyHello(256),
        HaproxyHello(16380, capabilities=("pipelining",), engine_id=b"e-1"),
        HaproxyHello(2**32 - 1, ((2, 0), (1, 5)), ("pipelining", "async"), b"\xff" * 4096, is_healthcheck=True),
    ],
)
def test_everything_a_hello_can_say_comes_back(hello: HaproxyHello) -> None:
    assert read_haproxy_hello(write_haproxy_hello(hello)) == hello


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, HaproxyHello(16380, capabilities=("pipelining",))),
        ({"capabilities": None}, HaproxyHello(16380)),
        ({"capabilities": b"\x08\0"}, HaproxyHello(16380)),
        ({"capabilities": b"\x08\x12 pipelining, async"}, HaproxyHello(16380, capabilities=("pipelining", "async"))),
        ({"versions": b"\x08\x05 2.0 "}, HaproxyHello(16380, capabilities=("pipelining",))),
        ({"versions": b"\x08\x082.0, 1.5"}, HaproxyHello(16380, ((2, 0), (1, 5)), ("pipelining",))),
        ({"versions": b"\x08\x073.0,2.0"}, HaproxyHello(16380, ((3, 0), (2, 0)), ("pipelining",))),
        ({"versions": b"\x08\x082.0,x,2."}, HaproxyHello(16380, capabilities=("pipelining",))),
        ({"size": b"\x03\xf0\x01"}, HaproxyHello(256, capabilities=("pipelining",))),
        ({"size": b"\x02\xfc\xf0\x06"}, HaproxyHello(16380, capabilities=("pipelining",))),
        ({"size": b"\x03" + wire.varint(1048572)}, HaproxyHello(1048572, capabilities=("pipelining",))),
        ({"others": [wire.item(b"engine-id", b"\x08\0")]}, HaproxyHello(16380, capabilities=("pipelining",))),
        (
            {"others": [wire.item(b"engine-id", b"\x08\x03abc")]},
            HaproxyHello(16380, capabilities=("pipelining",), engine_id=b"abc"),
        ),
        ({"others": [wire.item(b"healthcheck", b"\x01")]}, HaproxyHello(16380, capabilities=("pipelining",))),
        ({"others": [wire.item(b"x", value) for value in ANYTHING]}, HaproxyHello(16380, capabilities=("pipelining",))),
        ({"others": [wire.item(b"versions", b"\0")]}, HaproxyHello(16380, capabilities=("pipelining",))),
        (
            {"others": [wire.item(b"max-frame-size", b"\x03" + wire.varint(300))]},
            HaproxyHello(300, capabilities=("pipelining",)),
        ),
    ],
)
def test_a_hello_that_is_usable_is_read(changes: dict[str, Any], expected: HaproxyHello) -> None:
    assert read_haproxy_hello(payload(**changes)) == expected


def test_keys_may_come_in_any_order() -> None:
    keys = [
        wire.item(b"max-frame-size", b"\x03\xfc\xf0\x06"),
        wire.item(b"healthcheck", b"\x11"),
        wire.item(b"supported-versions", b"\x08\x032.0"),
    ]

    assert read_haproxy_hello(b"".join(keys)) == HaproxyHello(16380, is_healthcheck=True)
    assert read_haproxy_hello(b"".join(reversed(keys))) == HaproxyHello(16380, is_healthcheck=True)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"versions": None}, 5),
        ({"size": None}, 6),
        ({"versions": b"\x08\x031.0"}, 8),
        ({"versions": b"\x08\0"}, 8),
        ({"versions": b"\x08\x012"}, 8),
        ({"versions": b"\x08\x042.01"}, 8),
        ({"versions": b"\x08\x042.\xb20"}, 8),
        ({"versions": b"\x08\x0a2.00000000"}, 8),
        ({"size": b"\x03\xff\0"}, 9),
        ({"size": b"\x03\0"}, 9),
        ({"size": b"\x04" + wire.varint(2**64 - 1)}, 9),
        ({"others": [b"\0\0"]}, 4),
        ({"others": [wire.item(b"x", b"\x0a")]}, 4),
        ({"others": [wire.item(b"healthcheck", b"\x03\x01")]}, 4),
        *(({"versions": value}, 4) for value in WRONG_STRINGS),
        *(({"capabilities": value}, 4) for value in WRONG_STRINGS),
        *(({"others": [wire.item(b"engine-id", value)]}, 4) for value in WRONG_STRINGS),
        *(({"size": value}, 4) for value in WRONG_INTEGERS),
    ],
)
def test_a_hello_that_is_not_usable_is_refused_with_its_status(changes: dict[str, Any], status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_haproxy_hello(payload(**changes))

    assert caught.value.status == status


def test_the_agent_s_hello_holds_both_ways() -> None:
    hello = AgentHello(16380, ("pipelining",))
    written = wire.recorded("agent-hello")[0][11:]

    assert write_agent_hello(hello) == written
    assert read_agent_hello(written) == hello


def test_an_agent_s_hello_may_leave_capabilities_away() -> None:
    assert read_agent_hello(answer(capabilities=None)) == AgentHello(16380)


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (answer(version=None), 5),
        (answer(size=None), 6),
        (answer(version=b"\x08\x032.1"), 8),
        (answer(version=b"\x08\x031.0"), 8),
        (answer(version=b"\x08\x03two"), 4),
        (answer(size=b"\x03\xff\0"), 9),
        *((answer(version=value), 4) for value in WRONG_STRINGS),
        *((answer(capabilities=value), 4) for value in WRONG_STRINGS),
        *((answer(size=value), 4) for value in WRONG_INTEGERS),
    ],
)
def test_an_agent_s_hello_that_is_not_usable_is_refused_with_its_status(written: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_agent_hello(written)

    assert caught.value.status == status


def test_a_disconnect_holds_both_ways() -> None:
    written = wire.recorded("agent-disconnect")[0][11:]

    assert write_disconnect(AgentDisconnect(0, b"normal")) == written
    assert read_disconnect(written) == (0, b"normal")


@pytest.mark.parametrize("status", [*range(14), 99, 150, 2**32])
def test_any_status_comes_back(status: int) -> None:
    assert read_disconnect(write_disconnect(Disconnect(status, b"why"))) == (status, b"why")


def test_what_a_disconnect_leaves_away_is_taken_as_unknown() -> None:
    assert read_disconnect(b"") == (99, b"")


def test_a_long_message_is_read_whole_and_written_short() -> None:
    assert read_disconnect(wire.disconnect(1, b"m" * 300)[11:]) == (1, b"m" * 300)
    assert read_disconnect(write_disconnect(HaproxyDisconnect(1, b"m" * 300))) == (1, b"m" * 255)


@pytest.mark.parametrize(
    "written",
    [
        *(wire.item(b"status-code", value) for value in WRONG_INTEGERS),
        *(wire.item(b"message", value) for value in WRONG_STRINGS),
        b"\x01",
    ],
)
def test_a_broken_disconnect_is_refused(written: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_disconnect(written)

    assert caught.value.status == 4
