"""Who is no HAProxy of ours gets nothing from the agent, and who is no agent of ours is not believed by HAProxy."""

from __future__ import annotations

import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.agents import PATIENCE, running_agent, until
from tests.haproxy import CONFIGURATION
from tests.integration.edge import PATIENT, policy_files, start_edge
from tests.pki import CA
from tests.secrecy import Secrecy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.agents import Agent
    from tests.client import Client
    from tests.echo import Echo
    from tests.integration.edge import Edge, Pki

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PAGE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "run-several-agents.md"
SHIPPED: Final = 'server agent1 "${AUTHZ_AGENT}"'


def documented_server(secrecy: Secrecy, client: str = "haproxy.pem", ca: str = "ca.pem") -> str:
    """Return the server line of the page, with our files and where the agent is; without `crt` where there is none."""
    (line,) = (one.strip() for one in PAGE.read_text().splitlines() if "server agent1" in one and "ssl" in one)
    replaced = line.replace("10.0.0.11:9123", '"${AUTHZ_AGENT}"')
    replaced = replaced.replace("/etc/haproxy/agents-ca.pem", str(secrecy.folder / ca))
    if not client:
        return replaced.partition(" crt ")[0]
    return replaced.replace("/etc/haproxy/agent-client.pem", str(secrecy.folder / client))


@pytest.fixture
def secrecy(tmp_path: Path) -> Secrecy:
    """Give the certificates of both sides."""
    return Secrecy.made(tmp_path / "tls")


@contextmanager
def agent_of(pki: Pki, folder: Path, *options: str) -> Iterator[Agent]:
    """Run the agent on a policy that allows every client, until the block ends."""
    folder.mkdir()
    for name, content in policy_files("any-client", pki).items():
        (folder / "policies" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "policies" / name).write_bytes(content)
    with running_agent(folder, "--deadline", "4000", *options, policy=None) as agent:
        yield agent


@pytest.fixture
def start(binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path) -> Any:
    """Give what starts HAProxy on the shipped configuration with another server line."""

    @contextmanager
    def started(agent: Agent, line: str) -> Iterator[tuple[Edge, Client]]:
        number = len(list(tmp_path.glob("edge-*")))
        folder = tmp_path / f"edge-{number}"
        shutil.copytree(CONFIGURATION, folder / "haproxy")
        shared = folder / "haproxy" / "authz.cfg"
        text = shared.read_text()
        assert text.count(SHIPPED) == 1
        # Who may connect is the matter here, and not how soon: a busy machine takes its time for a handshake.
        patient = text.replace("timeout connect 200ms", "timeout connect 10s").replace(
            "timeout check 500ms", "timeout check 2s"
        )
        assert patient != text
        shared.write_text(patient.replace(SHIPPED, line))
        files = [shared, folder / "haproxy" / "examples" / "required-mtls.cfg"]
        with start_edge(binary, pki, echoes, folder, str(agent.address()), PATIENT, files=files) as edge:
            yield edge, edge.client(pki.client("alice"))

    return started


def refused(agent: Agent, cause: str) -> float:
    return agent.metric(f'peers_refused_total{{cause="{cause}"}}')


def must_deny(edge: Edge, client: Client) -> None:
    """Nothing reaches a server: the agent is not there for this HAProxy."""
    before = edge.received()
    edge.proxy.wait_for_agent("DOWN", PATIENCE)
    answer = client.get("/x")
    assert (answer.status, answer.reason) == (503, "not_ready")
    assert edge.received() == before


def test_a_haproxy_whose_address_is_not_allowed_gets_nothing(start: Any, pki: Pki, tmp_path: Path) -> None:
    with agent_of(pki, tmp_path / "agent", "--allow-from", "127.0.0.2/32, 10.0.0.0/8") as agent:
        with start(agent, SHIPPED) as (edge, client):
            must_deny(edge, client)
        until(lambda: refused(agent, "address") > 0)
        assert agent.metric("connections_total") == 0
        with start(agent, f"{SHIPPED} source 127.0.0.2") as (edge, client):
            edge.proxy.wait_for_agent(seconds=PATIENCE)
            assert client.get("/x").status == 200


def test_over_tls_only_our_haproxy_and_only_our_agent_are_believed(
    start: Any, pki: Pki, secrecy: Secrecy, tmp_path: Path
) -> None:
    stranger = CA("Another CA")
    secrecy.write("stranger.pem", stranger.issue("haproxy").bundle_pem)
    secrecy.write("stranger-ca.pem", stranger.pem)
    with agent_of(pki, tmp_path / "agent", *secrecy.options) as agent:
        with start(agent, documented_server(secrecy)) as (edge, client):
            edge.proxy.wait_for_agent(seconds=PATIENCE)
            with client.http1() as connection:
                assert [connection.request("GET", "/x").status for _ in range(20)] == [200] * 20
        taken = agent.metric("connections_total")
        # Strangers to the agent: without a certificate, with another CA's.
        for line in (documented_server(secrecy, ""), documented_server(secrecy, "stranger.pem")):
            before = refused(agent, "tls")
            with start(agent, line) as (edge, client):
                must_deny(edge, client)
            until(lambda before=before: refused(agent, "tls") > before)  # type: ignore[misc] # its default is bound
        # The agent is the stranger: signed by a CA that HAProxy doesn't know.
        with start(agent, documented_server(secrecy, ca="stranger-ca.pem")) as (edge, client):
            must_deny(edge, client)
        # It is one that the CA knows, by another name.
        secrecy.write("agent.pem", secrecy.ca.server("web.example").bundle_pem)
        agent.process.send_signal(signal.SIGHUP)
        until(lambda: "TLS is renewed" in agent.log.read_text())
        with start(agent, documented_server(secrecy)) as (edge, client):
            must_deny(edge, client)
        assert agent.metric("connections_total") == taken
        assert "Traceback" not in agent.log.read_text()


def test_a_certificate_that_is_renewed_by_reload_is_shown_and_one_that_is_broken_is_not(
    start: Any, pki: Pki, secrecy: Secrecy, tmp_path: Path
) -> None:
    """HAProxy believes only one CA, and goes by what the agent shows when it connects."""
    first, second = secrecy.ca, CA("Next Agents CA")
    secrecy.write("next-ca.pem", second.pem)
    secrecy.write("ca.pem", first.pem + second.pem)  # those who may ask stay the same
    with agent_of(pki, tmp_path / "agent", *secrecy.options) as agent:
        line = documented_server(secrecy, ca="next-ca.pem")
        with start(agent, line) as (edge, client):
            edge.proxy.wait_for_agent("DOWN", PATIENCE)
            secrecy.write("agent.pem", b"half of it")
            agent.process.send_signal(signal.SIGHUP)
            until(lambda: "is not renewed" in agent.log.read_text())
            secrecy.ca = second
            secrecy.renew()
            agent.process.send_signal(signal.SIGHUP)
            edge.proxy.wait_for_agent(seconds=PATIENCE)
            assert client.get("/x").status == 200
