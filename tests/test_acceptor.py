"""Who takes a connection, and what becomes of one that can't be taken."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

import spoa.acceptor
from spoa.acceptor import is_spare
from spoa.agent import Limits
from tests.agents import Serving, policy_of, running_agent, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.agents import Loops


def test_no_more_connections_than_allowed_are_accepted(loops: Loops) -> None:
    with serving(policy_of(), Limits(max_connections=2), loop_factory=loops) as here:
        one, other = here.connect(), here.connect()
        waiting = here.connect(greet=False)
        waiting.socket.sendall(waiting.connection.send_hello())
        assert one.ask()["verdict"] == "allow"
        assert here.call(lambda: here.agent.connections) == 2
        one.socket.close()
        assert waiting.receive(object) is not None
        for haproxy in (other, waiting):
            haproxy.socket.close()


class _Exhausted(socket.socket):
    """A listening socket on which the system has no descriptor left, for a while."""

    failures: list[int]

    def accept(self) -> Any:
        if self.failures:
            raise OSError(self.failures.pop(), "none left")
        return super().accept()


def test_accepting_goes_on_when_the_system_has_descriptors_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.acceptor, "_PAUSE", 0.05)
    listener = _Exhausted(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.failures = [errno.EMFILE, errno.ECONNABORTED, errno.EAGAIN]
    with serving(policy_of(), listener=listener) as here, here.connect() as haproxy:
        assert haproxy.ask()["verdict"] == "allow"
        assert not listener.failures


def test_a_connection_that_breaks_while_it_is_taken_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTCONN, "gone")

    with serving(policy_of(), Limits(max_connections=1)) as here:
        broken, other = socket.socketpair()
        with other:
            here.call(setattr, here.agent._acceptor, "arriving", 1)
            with monkeypatch.context() as patch:
                patch.setattr(here.loop, "connect_accepted_socket", fail)
                asyncio.run_coroutine_threadsafe(here.agent._acceptor._adopt(broken, ()), here.loop).result(5)
            assert broken.fileno() == -1
        with here.connect() as haproxy:
            assert haproxy.ask()["verdict"] == "allow"


def test_a_connection_that_arrives_during_the_drain_is_cut() -> None:
    with serving(policy_of()) as here:
        ours, theirs = socket.socketpair()
        with theirs:
            here.drain().result(5)
            here.call(here.agent._acceptor.go_on)
            asyncio.run_coroutine_threadsafe(here.agent._acceptor._adopt(ours, ()), here.loop).result(5)
            theirs.settimeout(5)
            assert theirs.recv(1) == b""


@pytest.mark.parametrize(("cores", "spare"), [(1, [1, 2, 3]), (2, [2, 3]), (4, [])])
def test_workers_that_outnumber_the_cores_of_their_supervisor_are_spare(
    monkeypatch: pytest.MonkeyPatch, cores: int, spare: list[int]
) -> None:
    own = {os.getppid(): set(range(3, 3 + cores)), 0: {3}}
    monkeypatch.setattr(os, "sched_getaffinity", own.__getitem__)
    assert [number for number in range(4) if is_spare(number)] == spare


def test_where_nothing_is_known_of_the_supervisor_its_own_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def affinity(pid: int) -> set[int]:
        if pid:
            raise ProcessLookupError(pid)
        return {0, 1}

    monkeypatch.setattr(os, "sched_getaffinity", affinity)
    assert [number for number in range(4) if is_spare(number)] == [2, 3]


def test_where_the_system_says_nothing_of_cores_that_a_process_may_use_all_of_them_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert [number for number in range(4) if is_spare(number)] == [2, 3]
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert [number for number in range(3) if is_spare(number)] == [1, 2]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what sets for how long, in seconds, who stands by leaves connections to the others."""

    def set_(deference: float, beginning: float = 0.0) -> None:
        monkeypatch.setattr(spoa.acceptor, "_DEFERENCE", deference)
        monkeypatch.setattr(spoa.acceptor, "_BEGINNING", beginning)

    return set_


def is_left(here: Serving) -> bool:
    """Tell whether an agent has seen a connection and left it to others."""
    return bool(here.call(lambda: not here.agent._acceptor.is_accepting))


def test_who_stands_by_leaves_all_connections_to_who_serves(
    loops: Loops, listener: socket.socket, patience: Callable[..., None]
) -> None:
    patience(60.0)
    with (
        serving(policy_of(), listener=listener.dup(), loop_factory=loops) as main,
        serving(policy_of(), listener=listener.dup(), loop_factory=loops, stands_by=lambda: True) as spare,
        contextlib.ExitStack() as connections,
    ):
        for _ in range(30):
            assert connections.enter_context(main.connect()).ask()["verdict"] == "allow"
        assert main.call(lambda: main.agent.connections) == 30
        assert spare.call(lambda: spare.agent.connections) == 0
        until(lambda: not is_left(spare))


def test_who_stands_by_takes_what_is_more_than_the_others_may_have(
    loops: Loops, listener: socket.socket, patience: Callable[..., None]
) -> None:
    patience(0.01)
    with (
        serving(policy_of(), Limits(max_connections=1), listener=listener.dup(), loop_factory=loops) as main,
        main.connect() as first,
        serving(
            policy_of(), Limits(max_connections=1), listener=listener.dup(), loop_factory=loops, stands_by=lambda: True
        ) as spare,
        main.connect() as second,
    ):
        assert first.ask()["verdict"] == second.ask()["verdict"] == "allow"
        assert spare.call(lambda: spare.agent.connections) == 1
        with main.connect(greet=False) as third:
            third.socket.sendall(third.connection.send_hello())
            second.socket.close()
            assert third.receive(object) is not None


def test_who_stands_by_takes_all_that_waits_when_some_waited_all_the_time(
    loops: Loops, listener: socket.socket, patience: Callable[..., None]
) -> None:
    patience(60.0)
    with (
        serving(policy_of(), listener=listener, loop_factory=loops, stands_by=lambda: True) as here,
        contextlib.ExitStack() as connections,
    ):
        for _ in range(3):
            connections.enter_context(socket.create_connection(listener.getsockname()))
        until(lambda: is_left(here))
        here.call(here.agent._acceptor._leave, listener, 0.0)
        until(lambda: here.call(lambda: here.agent.connections) == 3)
        until(lambda: not is_left(here))
        connections.enter_context(socket.create_connection(listener.getsockname()))
        until(lambda: is_left(here))
        assert here.call(lambda: here.agent.connections) == 3


def test_who_stands_by_lets_the_others_begin(loops: Loops, patience: Callable[..., None]) -> None:
    patience(0.0, beginning=0.4)
    with serving(policy_of(), loop_factory=loops, stands_by=lambda: True) as here:
        began = here.agent._acceptor._begun
        with here.connect() as haproxy:
            assert haproxy.ask()["verdict"] == "allow"
            assert here.loop.time() - began >= 0.39


def test_who_stands_by_waits_when_the_system_has_no_descriptors(
    monkeypatch: pytest.MonkeyPatch, patience: Callable[..., None]
) -> None:
    patience(0.0)
    monkeypatch.setattr(spoa.acceptor, "_PAUSE", 60.0)
    listener = _Exhausted(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.failures = [errno.EMFILE] * 2
    with (
        serving(policy_of(), listener=listener, stands_by=lambda: True) as here,
        socket.create_connection(listener.getsockname()),
    ):
        until(lambda: len(listener.failures) == 1)
        assert is_left(here)
        here.call(here.agent._acceptor.go_on)
        assert is_left(here)
        assert len(listener.failures) == 1


def test_who_stands_by_no_more_takes_connections_as_everybody(loops: Loops, patience: Callable[..., None]) -> None:
    patience(60.0)
    spare = [True]
    with serving(policy_of(), loop_factory=loops, stands_by=lambda: spare[0]) as here:
        spare.clear()
        spare.append(False)
        with here.connect() as haproxy:
            assert haproxy.ask()["verdict"] == "allow"


def test_what_was_left_to_others_is_not_taken_by_who_has_stopped(
    loops: Loops, listener: socket.socket, patience: Callable[..., None]
) -> None:
    patience(60.0)
    with (
        serving(policy_of(), listener=listener, loop_factory=loops, stands_by=lambda: True) as here,
        socket.create_connection(listener.getsockname()),
    ):
        until(lambda: is_left(here))
        here.call(here.agent.stop_accepting)
        here.call(here.agent._acceptor._leave, listener, 0.0)
        here.call(here.agent._acceptor._relieve, listener)
        assert here.call(lambda: here.agent._acceptor.arriving) == 0


def test_of_workers_that_share_a_core_one_serves_and_another_does_when_it_dies(tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    with running_agent(tmp_path, "--workers", "3", within=["taskset", "--cpu-list", core]) as agent:

        def connections() -> dict[int, int]:
            return {worker["pid"]: worker["connections"] for worker in agent.status()["workers"]}

        with contextlib.ExitStack() as stack:
            for _ in range(50):
                assert stack.enter_context(agent.connect()).ask()["verdict"] == "allow"
            until(lambda: sum(connections().values()) == 50)
            busiest = max(connections(), key=connections().__getitem__)
            assert connections()[busiest] > 30, "three that share have 17 each; one that is stopped loses some"
            os.kill(busiest, signal.SIGKILL)
        with agent.connect() as haproxy:
            assert haproxy.ask()["verdict"] == "allow"
