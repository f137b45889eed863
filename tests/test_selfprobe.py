"""The agent asked by itself: a real one answers, and whatever else listens there is told from it."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from spoa.addresses import Address
from spoa.selfprobe import round_trip
from spoa.spop import Connection, Role
from tests.agents import policy_of, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 20.0


def asked(address: Address, seconds: float = SECONDS) -> str:
    return asyncio.run(round_trip(address, seconds))


@contextmanager
def peer(answer: Callable[[socket.socket], None], on: socket.socket | None = None) -> Iterator[Address]:
    """Accept one connection in a thread and have it answered."""
    listener = on or socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            answer(connection)

    with listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield Address("127.0.0.1", 0) if on else Address("127.0.0.1", listener.getsockname()[1])
        thread.join(SECONDS)
        assert not thread.is_alive()


def hello(connection: socket.socket) -> Connection:
    agent = Connection(Role.AGENT)
    events = agent.receive_data(connection.recv(65536))
    connection.sendall(events[0].reply)  # type: ignore[union-attr] # a HELLO is no plain tuple
    return agent


def acknowledge(connection: socket.socket) -> None:
    agent = hello(connection)
    [event] = agent.receive_data(connection.recv(65536))
    assert isinstance(event, tuple)
    connection.sendall(agent.ack(event[0], b""))
    while connection.recv(65536):
        pass


def hang_up_instead_of_an_ack(connection: socket.socket) -> None:
    hello(connection)
    connection.recv(65536)


def dismiss_instead_of_an_ack(connection: socket.socket) -> None:
    agent = hello(connection)
    connection.recv(65536)
    connection.sendall(agent.send_disconnect())


def dismiss_together_with_the_hello(connection: socket.socket) -> None:
    agent = Connection(Role.AGENT)
    events = agent.receive_data(connection.recv(65536))
    connection.sendall(events[0].reply + agent.send_disconnect())  # type: ignore[union-attr] # a HELLO is no plain tuple
    while connection.recv(65536):
        pass


def hang_up_instead_of_a_hello(connection: socket.socket) -> None:
    connection.recv(65536)


def speak_http(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def test_an_agent_acknowledges_the_question_and_counts_no_decision() -> None:
    with serving(policy_of()) as served:
        assert asked(served.address) == ""
        samples = served.call(served.agent.samples)
    assert samples["frames_total", ("notify",)] == 1
    assert not [key for key, count in samples.items() if key[0] == "decisions_total" and count]


def test_a_unix_socket_is_asked_by_its_path(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "spop.sock"))
        listener.listen()
        with peer(acknowledge, listener):
            assert asked(Address("", 0, str(tmp_path / "spop.sock"))) == ""


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (hang_up_instead_of_a_hello, "no AGENT-HELLO"),
        (hang_up_instead_of_an_ack, "no ACK"),
        (dismiss_instead_of_an_ack, "no ACK"),
        (dismiss_together_with_the_hello, "an answer that is no SPOP"),
        (speak_http, "no AGENT-HELLO"),
    ],
)
def test_another_answer_is_none(answer: Callable[[socket.socket], None], problem: str) -> None:
    with peer(answer) as address:
        assert asked(address).startswith(problem)


def test_an_answer_may_come_in_pieces() -> None:
    def dribble(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        agent = Connection(Role.AGENT)
        for _ in ("hello", "notify"):
            [event] = agent.receive_data(connection.recv(65536))
            answer = agent.ack(event[0], b"") if isinstance(event, tuple) else event.reply
            for byte in answer:
                connection.sendall(bytes([byte]))
        while connection.recv(65536):
            pass

    with peer(dribble) as address:
        assert asked(address) == ""


def test_an_agent_that_hangs_is_told_by_the_time() -> None:
    with peer(say_nothing) as address:
        assert asked(address, 0.2) == "no answer within 0.2 s"


def test_where_nobody_listens_the_system_says_so(tmp_path: Path) -> None:
    assert "o such file" in asked(Address("", 0, str(tmp_path / "none")))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert "refused" in asked(Address("127.0.0.1", bound.getsockname()[1])).lower()
