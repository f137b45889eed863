"""Who may connect is said by networks and TLS, whoever may not is counted, and one line tells of many."""

from __future__ import annotations

import socket
import ssl

import pytest
import structlog.testing

from spoa.gate import Gate

IPV4, IPV6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


def refused(gate: Gate, cause: str) -> float:
    return gate.samples().get(("peers_refused_total", (cause,)), 0)


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("10.1.2.3", True),
        ("10.1.3.3", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", True),
        ("fe80::2%eth0", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:10.1.3.3", False),
        ("", False),
        ("10.1.2", False),
        ("localhost", False),
    ],
)
def test_only_the_networks_named_may_connect(host: str, is_allowed: bool) -> None:
    gate = Gate(["10.1.2.0/24", "192.0.2.7", "2001:db8::/32", "fe80::1"])
    with structlog.testing.capture_logs():
        for family in (IPV4, IPV6):
            assert gate.admits(family, (host, 1)) is is_allowed
    assert refused(gate, "address") == (0 if is_allowed else 2)


def test_without_networks_everybody_may_and_a_unix_socket_has_its_permissions() -> None:
    assert Gate().admits(IPV4, ("203.0.113.9", 1))
    strict = Gate(["192.0.2.1"], is_secret=True)
    assert strict.admits(UNIX, "")
    assert strict.context_for(UNIX) is None
    assert strict.samples() == {}


def test_a_kind_of_socket_that_is_neither_is_not_let_in_by_accident() -> None:
    guest = (3, 1024)
    with structlog.testing.capture_logs():
        assert not Gate(["0.0.0.0/0", "::/0"]).admits(socket.AF_VSOCK, guest)
        strict = Gate(is_secret=True)
        assert not strict.admits(socket.AF_VSOCK, guest)
        strict.secure(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert strict.context_for(socket.AF_VSOCK) is not None
    assert refused(strict, "tls") == 1


def test_an_address_that_is_none_is_in_no_network() -> None:
    with structlog.testing.capture_logs():
        assert not Gate(["0.0.0.0/0"]).admits(IPV4, "10.0.0.1")


def test_what_is_no_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="host bits set"):
        Gate(["10.0.0.1/8"])


def test_nobody_gets_in_over_tcp_before_there_is_something_to_show() -> None:
    gate = Gate(is_secret=True)
    with structlog.testing.capture_logs():
        assert not gate.admits(IPV6, ("::1", 1, 0, 0))
    assert refused(gate, "tls") == 1
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    gate.secure(context)
    assert gate.admits(IPV6, ("::1", 1, 0, 0))
    assert gate.context_for(IPV4) is context
    assert Gate().context_for(IPV4) is None


def test_of_many_that_are_refused_a_line_in_ten_seconds_tells_how_many() -> None:
    now = [100.0]
    gate = Gate(["192.0.2.1"], clock=lambda: now[0])
    with structlog.testing.capture_logs() as logs:
        for _ in range(500):
            gate.admits(IPV4, ("192.0.2.2", 1))
        now[0] += 10
        gate.admits(IPV4, ("192.0.2.3", 1))
    assert [(line["peer"], line["count"]) for line in logs] == [("192.0.2.2", 1), ("192.0.2.3", 500)]
    assert refused(gate, "address") == 501
