"""More connections than there is room for, and connections that do not behave."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import pytest

from spoa.spop import HelloReceived
from tests.agents import Haproxy, authorize, running_agent, until
from tests.integration.faults.conftest import FULL
from tests.integration.faults.load import WIDER, Load, Outcome, Spop, judged
from tests.wire import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spoa.addresses import Address
    from tests.agents import Agent
    from tests.integration.faults.conftest import Findings

pytestmark = pytest.mark.integration

QUESTIONS: Final = (judged("/open/x", is_allowed=True), judged("/shut/x", is_allowed=False))
PATIENT: Final = ("--deadline", "4000")
#: A crowd, and how many connections a worker has room for.
CROWD: Final = 10_000 if FULL else 300
SECONDS: Final = 10
SLOW_PEERS: Final = 'connections_closed_total{cause="slow_peer"}'
#: Requests whose answers nobody reads; that they all have the same stream is nothing to an agent.
BURST: Final = b"".join(notify(1, 1, authorize("/open/" + "x" * 200)) for _ in range(100))
HELLO_TIMEOUTS: Final = 'connections_closed_total{cause="hello_timeout"}'


@contextmanager
def crowd(address: Address, size: int, *, greet: bool = True) -> Iterator[list[Haproxy]]:
    """Open connections, and close them at the latest when the block ends."""
    wanted = size + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        assert hard == resource.RLIM_INFINITY or hard >= wanted, f"{wanted} descriptors are needed: ulimit -n"
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    connections: list[Haproxy] = []
    try:
        connections.extend(Haproxy(address, greet=greet) for _ in range(size))
        yield connections
    finally:
        disperse(connections)


def disperse(connections: list[Haproxy]) -> None:
    """Close them all."""
    for each in connections:
        each.socket.close()


def seconds_to_serve(agent: Agent) -> float:
    """Return how long a new connection takes to be answered."""
    began = time.monotonic()
    with agent.connect() as haproxy:
        assert haproxy.ask("/open/x")["verdict"] == "allow"
        assert haproxy.ask("/shut/x")["verdict"] == "deny"
    return time.monotonic() - began


def test_a_crowd_of_connections_is_served_on_each(tmp_path: Path, findings: Findings) -> None:
    with running_agent(tmp_path, *PATIENT, "--workers", "2", "--max-connections", str(CROWD)) as agent:
        address = agent.address()
        with Load.running(lambda: Spop(address), QUESTIONS, askers=4, rate=100) as load:
            load.wait_for(20)
            with crowd(address, CROWD) as everyone:
                for haproxy in everyone:
                    assert haproxy.ask("/open/x")["verdict"] == "allow"
                    assert haproxy.ask("/shut/x")["verdict"] == "deny"
                until(lambda: agent.metric("connections ") >= CROWD)
            left = time.monotonic()
            until(lambda: agent.metric("connections ") <= 4)
            freed = time.monotonic() - left
        assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    findings.add(f"{CROWD:,} connections", load, freed, SECONDS, "until all are forgotten")


@pytest.mark.faults
def test_a_crowd_beyond_the_limit_waits_and_those_inside_are_served(tmp_path: Path, findings: Findings) -> None:
    with running_agent(tmp_path, *PATIENT, "--max-connections", "50") as agent:
        address = agent.address()
        with Load.running(lambda: Spop(address), QUESTIONS, askers=4, rate=100) as load:
            load.wait_for(20)
            with crowd(address, 46) as inside, crowd(address, 50, greet=False) as outside:
                for haproxy in outside:
                    haproxy.socket.sendall(haproxy.connection.send_hello())
                load.wait_for(40)
                assert agent.metric("connections ") == 50
                disperse(inside)
                began = time.monotonic()
                # Now it is their turn.
                for haproxy in outside[:40]:
                    haproxy.receive(HelloReceived)
                    assert haproxy.ask("/shut/x")["verdict"] == "deny"
                recovery = time.monotonic() - began
        assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    findings.add("more connections than --max-connections", load, recovery, SECONDS)


@pytest.mark.faults
def test_without_descriptors_the_connections_that_are_there_go_on(tmp_path: Path, findings: Findings) -> None:
    with running_agent(tmp_path, *PATIENT, within=("prlimit", "--nofile=64:64")) as agent:
        address = agent.address()
        before = agent.status()["revision"]
        with Load.running(lambda: Spop(address), QUESTIONS, askers=4, rate=100) as load:
            load.wait_for(20)
            with crowd(address, 100, greet=False):
                until(lambda: "no connection can be accepted" in agent.log.read_text())
                agent.write_policy(WIDER)  # which takes descriptors too
                until(lambda: agent.status()["last_reload"]["result"] == "failed")
                load.wait_for(50)
                assert agent.status()["revision"] == before
            began = time.monotonic()
            seconds_to_serve(agent)
            until(lambda: agent.status()["revision"] != before)
            recovery = time.monotonic() - began
        assert verdict(agent, "/other/x") == "allow"
    findings.add("descriptors exhausted", load, recovery, SECONDS)


def verdict(agent: Agent, path: str) -> str:
    with agent.connect() as haproxy:
        return str(haproxy.ask(path)["verdict"])


@pytest.mark.faults
def test_a_hello_that_comes_byte_by_byte_holds_nobody_up(tmp_path: Path, findings: Findings) -> None:
    seconds = 10 if FULL else 1
    with running_agent(tmp_path, *PATIENT, "--hello-timeout", str(seconds)) as agent:
        address = agent.address()
        with Load.running(lambda: Spop(address), QUESTIONS, askers=4, rate=200) as load:
            load.wait_for(20)
            with crowd(address, CROWD // 5, greet=False) as slow:
                began = time.monotonic()
                for byte in slow[0].connection.send_hello()[:-1]:
                    for haproxy in slow:
                        send(haproxy, bytes([byte]))
                    load.wait_for(4)
                    if agent.metric(HELLO_TIMEOUTS) >= len(slow):
                        break
                until(lambda: agent.metric(HELLO_TIMEOUTS) >= len(slow))
                closed = time.monotonic() - began
        assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    findings.add(f"{len(slow):,} slow HELLOs", load, closed, seconds + SECONDS, "until all are closed")


def send(haproxy: Haproxy, data: bytes) -> None:
    """Send to a peer that may be gone."""
    try:
        haproxy.socket.sendall(data)
    except OSError:
        haproxy.socket.close()


@pytest.mark.faults
def test_a_peer_that_never_reads_is_cut_off_and_holds_nobody_up(tmp_path: Path, findings: Findings) -> None:
    with running_agent(tmp_path, *PATIENT) as agent:
        address = agent.address()
        with Load.running(lambda: Spop(address), QUESTIONS, askers=4, rate=400) as load:
            load.wait_for(20)
            with crowd(address, 4) as deaf:
                began = time.monotonic()
                for haproxy in deaf:
                    haproxy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    haproxy.socket.settimeout(0)
                sent: dict[Haproxy, int] = {}
                while agent.metric(SLOW_PEERS) < len(deaf):
                    stuff(deaf, sent)
                    assert time.monotonic() - began < 90, agent.log.read_text()
                cut = time.monotonic() - began
        assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    findings.add(f"{len(deaf)} peers that never read", load, cut, 60, "until all are cut off")


def stuff(peers: list[Haproxy], sent: dict[Haproxy, int]) -> None:
    """Send requests, whole ones, until nothing more is taken, and take no answer."""
    for haproxy in peers:
        with suppress(OSError):
            while True:
                sent[haproxy] = sent.get(haproxy, 0) % len(BURST)
                sent[haproxy] += haproxy.socket.send(BURST[sent[haproxy] :])
