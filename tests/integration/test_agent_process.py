"""The real agent stopped, killed, frozen and back, behind the shipped configuration with the shipped timeouts."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.haproxy import wait_until
from tests.integration.edge import policy_files, start_edge
from tests.serving import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.client import Client
    from tests.echo import Echo
    from tests.integration.edge import Edge, Pki

pytestmark = pytest.mark.integration

#: What the project promises about a returning agent.
SECONDS_TO_RECOVER: Final = 2
#: The shipped `timeout processing` (0.1 s) and what a busy machine may add to it.
SECONDS_TO_FAIL: Final = 1.5


@pytest.fixture(scope="module")
def edge(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """Give the shipped configuration before the real agent."""
    agent.adopt(policy_files("any-client", pki))
    with start_edge(binary, pki, echoes, tmp_path_factory.mktemp("edge"), agent.address, {}) as edge:
        yield edge


@pytest.fixture
def client(edge: Edge, pki: Pki) -> Client:
    """Give a client that is allowed, for an agent that is up."""
    edge.proxy.wait_for_agent()
    client = edge.client(pki.client("alice"))
    recovery(edge, client)
    return client


def recovery(edge: Edge, client: Client) -> float:
    """Return the seconds until a request is allowed again."""
    return wait_until(lambda: client.get("/").status == 200, 10, "a request is allowed again", edge.proxy.report)


def assert_unavailable(edge: Edge, client: Client) -> None:
    """A request is refused as 503 in time, by HTTP/1.1 and HTTP/2, and reaches no server."""
    before, begin = edge.received(), time.monotonic()
    answer = client.get("/")
    assert time.monotonic() - begin < SECONDS_TO_FAIL
    assert (answer.status, answer.reason, answer.headers["retry-after"]) == (503, "not_ready", "1")
    with client.http2() as connection:
        assert {answer.status for answer in connection.requests([("GET", "/", ())] * 5)} == {503}
    assert edge.received() == before


def test_a_killed_agent_denies_and_its_return_is_noticed(edge: Edge, client: Client, agent: Agent) -> None:
    agent.kill()
    assert_unavailable(edge, client)
    edge.proxy.wait_for_agent("DOWN")
    assert_unavailable(edge, client)
    agent.start()
    agent.wait_until_ready()
    assert recovery(edge, client) <= SECONDS_TO_RECOVER


def test_a_frozen_agent_denies_and_its_return_is_noticed(edge: Edge, client: Client, agent: Agent) -> None:
    agent.signal(signal.SIGSTOP)
    try:
        assert_unavailable(edge, client)
        edge.proxy.wait_for_agent("DOWN")
        assert_unavailable(edge, client)
    finally:
        agent.signal(signal.SIGCONT)
    assert recovery(edge, client) <= SECONDS_TO_RECOVER


def test_an_agent_killed_in_mid_request_denies_what_is_in_flight(edge: Edge, client: Client, agent: Agent) -> None:
    agent.signal(signal.SIGSTOP)
    before = edge.received()
    with ThreadPoolExecutor(8) as pool:
        under_way = [pool.submit(client.get, "/") for _ in range(8)]
        agent.kill()
        assert {answer.result().status for answer in under_way} == {503}
    assert edge.received() == before
    agent.start()
    agent.wait_until_ready()
    assert recovery(edge, client) <= SECONDS_TO_RECOVER


def test_a_stopping_agent_answers_what_it_has_and_then_denies(edge: Edge, client: Client, agent: Agent) -> None:
    stop = threading.Event()

    def keep_asking() -> list[int]:
        seen = []
        with client.http1() as connection:
            while not stop.wait(0.02):
                seen.append(connection.request("GET", "/").status)
        return seen

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(keep_asking) for _ in range(2)]
        try:
            begin = time.monotonic()
            agent.stop()
            assert time.monotonic() - begin < 10
            assert_unavailable(edge, client)
            agent.start()
            agent.wait_until_ready()
            assert recovery(edge, client) <= SECONDS_TO_RECOVER
        finally:
            stop.set()
        seen = [status for result in asking for status in result.result()]
    assert set(seen) == {200, 503}


def test_an_agent_without_a_policy_is_not_reached(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path
) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text("apiVersion: authz/v1\nrules: [}\n")
    agent = Agent(policies, tmp_path)
    agent.start()
    assert agent.process is not None
    assert agent.process.wait(20) == 3
    with start_edge(binary, pki, echoes, tmp_path, agent.address, {}) as edge:
        assert_unavailable(edge, edge.client(pki.client("alice")))
