"""Revocation by OCSP in force: the real agent behind the shipped configuration, and responders that can be told."""

from __future__ import annotations

import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.haproxy import wait_until
from tests.httpservers import hang
from tests.integration.edge import PATIENT, start_edge
from tests.responders import Responder, said_by
from tests.serving import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.client import Client
    from tests.echo import Echo
    from tests.integration.edge import Edge, Pki

pytestmark = pytest.mark.integration

#: Seconds that answers hold in these tests. They are asked for anew after a half, give or take a tenth of that.
LIFE: Final = 10
SECONDS_TO_NOTICE: Final = LIFE / 2 * 1.1
#: What a busy machine may add.
PATIENCE: Final = 3
POLICY: Final = """\
apiVersion: authz/v1
metadata: {{name: checked, owner: tests}}
issuers:
  clients:
    ca: trust/clients-ca.pem
    revocation: {{ocsp: {{responder: "{url}", timeout: 2s}}}}
rules:
  - {{id: any-client, effect: allow, who: any_certificate}}
"""


def files(pki: Pki, responder: Responder) -> dict[str, bytes]:
    return {"policy.yaml": POLICY.format(url=responder.url).encode(), "trust/clients-ca.pem": pki.clients.pem}


@pytest.fixture(scope="module")
def checking(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """Give the agent; each test tells it whom to ask."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "policies" / "trust").mkdir(parents=True)
    with Responder.running(said_by(pki.clients)) as nobody:
        for name, content in files(pki, nobody).items():
            (folder / "policies" / name).write_bytes(content)
        with Agent.running(folder / "policies", folder, "--deadline", "4000", "--workers", "2") as agent:
            yield agent


@pytest.fixture(scope="module")
def edge(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], checking: Agent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """Give the shipped configuration before it."""
    with start_edge(binary, pki, echoes, tmp_path_factory.mktemp("edge"), checking.address, PATIENT) as edge:
        edge.proxy.wait_for_agent()
        yield edge


@pytest.fixture
def responder(pki: Pki, checking: Agent) -> Iterator[Responder]:
    """Give a responder that the agent asks from now on."""
    with Responder.running(said_by(pki.clients, valid_for=LIFE)) as responder:
        checking.adopt(files(pki, responder))
        yield responder


def resumed(client: Client, session: ssl.SSLSession | None) -> str:
    """Return the reason that a resumed session gets."""
    with client.http1(session) as connection:
        assert isinstance(connection.connection, ssl.SSLSocket)
        assert connection.connection.session_reused
        return connection.request("GET", "/").reason


def test_a_revocation_ends_open_connections_and_resumed_sessions_within_half_of_an_answers_life(
    edge: Edge, pki: Pki, responder: Responder
) -> None:
    stolen = pki.client("stolen", serial=time.monotonic_ns())
    client, other = edge.client(stolen), edge.client(pki.client("other", serial=time.monotonic_ns()))
    with client.http1() as http1, client.http2() as http2, other.http1() as bystander:
        assert isinstance(http1.connection, ssl.SSLSocket)
        assert [connection.request("GET", "/").status for connection in (http1, http2, bystander)] == [200, 200, 200]
        session = http1.connection.session
        pki.clients.revoke(stolen, "keyCompromise", at=int(time.time()))

        def is_denied() -> bool:
            assert bystander.request("GET", "/").status == 200
            return http1.request("GET", "/").status == 403

        took = wait_until(is_denied, SECONDS_TO_NOTICE + PATIENCE, "the revocation is noticed")
        assert took < LIFE
        assert http1.request("GET", "/").reason == "certificate_revoked"
        assert http2.request("GET", "/").reason == "certificate_revoked"
        assert resumed(client, session) == "certificate_revoked"
        assert client.get("/").reason == "certificate_revoked"
    print(f"denied {took:.1f} s after the revocation, of answers that hold {LIFE} s")  # noqa: T201 -- a measurement


def test_when_the_responder_is_gone_an_answer_lasts_as_long_as_it_said_and_a_block_works_all_the_same(
    edge: Edge, pki: Pki, responder: Responder, checking: Agent, tmp_path: Path
) -> None:
    good, bad, lost = (pki.client(name, serial=time.monotonic_ns()) for name in ("good", "bad", "lost"))
    pki.clients.revoke(bad)
    with edge.client(good).http1() as http1, edge.client(good).http2() as http2:
        assert edge.client(bad).get("/").reason == "certificate_revoked"
        assert edge.client(lost).get("/").status == 200
        assert http2.request("GET", "/").status == 200
        said = int(time.time())
        responder.stop()
        new = edge.client(pki.client("new", serial=time.monotonic_ns()))
        assert new.get("/").reason == "revocation_unreachable"
        (tmp_path / "lost.pem").write_bytes(lost.pem)
        checking.run("block", str(tmp_path / "lost.pem"), "--reason", "lost")
        wait_until(lambda: edge.client(lost).get("/").status == 403, PATIENCE, "the block takes effect", checking.log)
        assert edge.client(lost).get("/").reason == "certificate_blocked"

        def lasted() -> bool:
            answer = http1.request("GET", "/")
            now = time.time()
            if answer.status == 200:
                return False
            assert now >= said - 1 + LIFE, f"denied after {now - said} s as {answer.reason}"
            return answer.reason == "revocation_stale"

        wait_until(lasted, LIFE + PATIENCE, "the answer runs out", checking.log)
        assert http2.request("GET", "/").reason == "revocation_stale"
        assert edge.client(good).get("/").reason == "revocation_stale"
        assert edge.client(bad).get("/").reason == "certificate_revoked"
        assert edge.client(lost).get("/").reason == "certificate_blocked"


def test_a_hundred_first_requests_of_one_client_are_one_question(
    edge: Edge, pki: Pki, responder: Responder, checking: Agent
) -> None:
    for name in ("crowd", "mob"):
        issued = pki.client(name, serial=time.monotonic_ns())
        if name == "mob":
            pki.clients.revoke(issued)
        client = edge.client(issued)
        before, received = responder.hits, edge.received()

        def crowd(_: int, client: Client = client) -> set[int]:
            with client.http2() as connection:
                return {answer.status for answer in connection.requests([("GET", "/", ())] * 20)}

        with responder.holding() as release, ThreadPoolExecutor(5) as pool:
            asking = [pool.submit(crowd, number) for number in range(5)]
            # Some, rather than all: a busy machine may need longer for the last than the agent asks for the first.
            wait_until(lambda: _waiting(checking) >= 10, 2, "requests wait")
            assert edge.received() == received
            release()
            statuses = set().union(*(one.result() for one in asking))
        assert statuses == ({403} if name == "mob" else {200})
        assert responder.hits == before + 1


def test_with_the_shipped_timeouts_a_first_request_is_denied_with_its_reason_when_nobody_answers(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path
) -> None:
    (tmp_path / "policies" / "trust").mkdir(parents=True)
    with Responder.running(hang) as silent:
        for name, content in files(pki, silent).items():
            (tmp_path / "policies" / name).write_bytes(content)
        with (
            Agent.running(tmp_path / "policies", tmp_path) as agent,
            start_edge(binary, pki, echoes, tmp_path, agent.address, {}) as edge,
        ):
            edge.proxy.wait_for_agent()
            before = edge.received()
            seen: list[tuple[int, str]] = []

            def is_denied_by_reason() -> bool:
                answer = edge.client(pki.client("first", serial=time.monotonic_ns())).get("/")
                seen.append((answer.status, answer.reason))
                return seen[-1] == (403, "revocation_unreachable")

            # Other work on the machine may take more than the 30 ms between the agent's patience and HAProxy's.
            wait_until(is_denied_by_reason, 10, "HAProxy gets the reason in time", lambda: str(seen))
            assert {status for status, _ in seen} <= {403, 503}
            assert edge.received() == before


def _waiting(agent: Agent) -> float:
    lines = agent.ask("/metrics")[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("spoa_authz_revocation_waiting"))
