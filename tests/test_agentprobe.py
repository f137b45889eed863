"""Whether an agent answers, asked over real sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from spoa.addresses import Address
from spoa.agentprobe import probe, server_address
from spoa.spop import Connection, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 5.0


@contextmanager
def peer(listener: socket.socket, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Accept one connection in a thread and have it answered."""

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            answer(connection)

    with listener:
        listener.listen()
        thread = threading.Thread(target=run)
        thread.start()
        yield
        thread.join(SECONDS)
        assert not thread.is_alive()


def tcp() -> tuple[socket.socket, Address]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener, Address("127.0.0.1", listener.getsockname()[1])


def hello(connection: socket.socket) -> None:
    """Answer as an agent does, in two writes."""
    agent = Connection(Role.AGENT)
    events = agent.receive_data(connection.recv(65536))
    reply = events[0].reply  # type: ignore[union-attr] # a HELLO is no plain tuple
    connection.sendall(reply[:9])
    connection.sendall(reply[9:])


def hang_up(connection: socket.socket) -> None:
    """Read the HELLO, so that nothing is reset, and end."""
    connection.recv(65536)


def test_an_agent_that_says_hello_is_there() -> None:
    listener, address = tcp()
    with peer(listener, hello):
        assert probe(address, SECONDS) == ""


def test_a_unix_socket_is_asked_too(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "a.sock"))
    with peer(listener, hello):
        assert probe(Address("", 0, str(tmp_path / "a.sock")), SECONDS) == ""


def test_what_is_no_agent_is_told_from_one() -> None:
    listener, address = tcp()
    with peer(listener, lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)):
        assert probe(address, SECONDS) == "doesn't speak SPOP, or refuses"


def test_one_that_hangs_up_is_none() -> None:
    listener, address = tcp()
    with peer(listener, hang_up):
        assert probe(address, SECONDS) == "closed the connection without an AGENT-HELLO"


def test_one_that_says_nothing_is_waited_for_so_long_and_no_longer() -> None:
    listener, address = tcp()
    with listener:
        listener.listen()
        assert probe(address, 0.05) == "no answer within 0.05 s"


def test_where_nobody_listens_the_system_says_so(tmp_path: Path) -> None:
    listener, address = tcp()
    listener.close()
    assert probe(address, SECONDS) == "Connection refused"
    assert probe(Address("", 0, str(tmp_path / "none")), SECONDS) == "No such file or directory"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9123", Address("127.0.0.1", 9123)),
        ("ipv4@127.0.0.1:9123", Address("127.0.0.1", 9123)),
        ("[::1]:9123", Address("::1", 9123)),
        ("unix@/run/a.sock", Address("", 0, "/run/a.sock")),
        ("/run/a.sock", Address("", 0, "/run/a.sock")),
    ],
)
def test_addresses_are_those_of_server_lines(text: str, address: Address) -> None:
    assert server_address(text) == address


@pytest.mark.parametrize("text", ["127.0.0.1", "abns@x", "unix@relative", "fd@7"])
def test_an_address_that_cannot_be_asked_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|absolute"):
        server_address(text)
