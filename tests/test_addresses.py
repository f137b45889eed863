"""Addresses are read as they are written, and nothing else is."""

from __future__ import annotations

import pytest

from spoa.addresses import Address, read_address, read_listen_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9123", Address("127.0.0.1", 9123)),
        ("[::1]:9123", Address("::1", 9123)),
        ("[0:0:0:0:0:0:0:1]:0", Address("::1", 0)),
        ("localhost:80", Address("localhost", 80)),
        ("unix:/run/x.sock", Address("", 0, "/run/x.sock")),
    ],
)
def test_an_address_is_read_and_written_back(text: str, address: Address) -> None:
    assert read_address(text) == address
    assert read_address(str(address)) == address


@pytest.mark.parametrize("text", ["", "9123", ":9123", "host:", "host:x", "host:65536", "::1:9123", "unix:x", "[x]:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_address(text)


@pytest.mark.parametrize(
    ("text", "is_local"),
    [("127.0.0.1:1", True), ("[::1]:1", True), ("localhost:1", True), ("unix:/x", True), ("0.0.0.0:1", False),
     ("[::]:1", False), ("example.com:1", False)],
)  # fmt: skip
def test_only_loopback_and_unix_sockets_are_local(text: str, *, is_local: bool) -> None:
    assert read_address(text).is_local is is_local


def test_a_socket_that_is_passed_is_read_where_one_listens_and_nowhere_else() -> None:
    assert read_listen_address("systemd:spop") == Address("", 0, passed="spop")
    assert str(read_listen_address("systemd:spop")) == "systemd:spop"
    assert read_listen_address("unix:/run/x.sock") == read_address("unix:/run/x.sock")
    with pytest.raises(ValueError, match="HOST:PORT"):
        read_address("systemd:spop")


@pytest.mark.parametrize("text", ["systemd:", "systemd:a b", "systemd:a:b", "systemd:é"])
def test_a_passed_socket_needs_a_name_that_systemd_can_give(text: str) -> None:
    with pytest.raises(ValueError, match="as in systemd:spop"):
        read_listen_address(text)
