"""TLS sessions that go on at another HAProxy: by a ticket, and by an id."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.haproxy import CONFIGURATION, wait_until
from tests.integration.edge import PATIENT, Edge, policy_files, start_edge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.client import Response
    from tests.echo import Echo
    from tests.integration.edge import Pki
    from tests.pki import Issued
    from tests.serving import Agent

pytestmark = pytest.mark.integration

RESUMED: Final = Path(__file__).parent / "resumed.cfg"
FILES: Final = [CONFIGURATION / "authz.cfg", RESUMED]
TICKET, ID = "HTTPS", "BYID"


class Pair:
    """Two HAProxy processes with the same ticket keys, before one agent."""

    def __init__(self, edges: tuple[Edge, Edge], agent: Agent, pki: Pki) -> None:
        self.edges, self.agent, self.pki = edges, agent, pki
        self.path = ""

    def visit(
        self, edge: Edge, port: str, context: ssl.SSLContext, session: ssl.SSLSession | None
    ) -> tuple[Response, bool, ssl.SSLSession]:
        """Make a request; return the answer, whether the session was resumed, and the session."""
        client = edge.client(port=port)
        client.context = context
        self.path = f"/visit/{uuid.uuid4()}"
        with client.http1(session) as connection:
            answer = connection.request("GET", self.path)
            assert isinstance(connection.connection, ssl.SSLSocket)
            left = connection.connection.session
            assert left is not None
            return answer, bool(connection.connection.session_reused), left

    def logged(self) -> dict[str, Any]:
        """Return what the decision log says of the last visit."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.agent.decisions() if line["path"] == self.path]

        wait_until(found, 60, "the visit is logged", self.agent.log)
        return found()[-1]


def fingerprint(issued: Issued) -> str:
    return hashlib.sha256(issued.der).hexdigest()


def environment(folder: Path) -> dict[str, str]:
    """Make ticket keys, as HAProxy wants them: at least three of 48 octets."""
    keys = folder / "keys"
    keys.write_bytes(b"".join(base64.b64encode(os.urandom(48)) + b"\n" for _ in range(3)))
    return {**PATIENT, "RESUMED_SPOE": str(CONFIGURATION / "spoe-authz.conf"), "RESUMED_KEYS": str(keys)}


@pytest.fixture
def other_keys(binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path: Path) -> Iterator[Edge]:
    """Give a HAProxy with ticket keys of its own."""
    folder = tmp_path / "three"
    folder.mkdir()
    variables = environment(folder)
    with start_edge(binary, pki, echoes, folder, agent.address, variables, files=FILES, binds=[TICKET, ID]) as edge:
        edge.proxy.wait_for_agent(seconds=60)
        yield edge


@pytest.fixture
def pair(binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path: Path) -> Iterator[Pair]:
    """Give two of them."""
    agent.adopt(policy_files("any-client", pki))
    variables = environment(tmp_path)
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    with (
        start_edge(binary, pki, echoes, folders[0], agent.address, variables, files=FILES, binds=[TICKET, ID]) as one,
        start_edge(binary, pki, echoes, folders[1], agent.address, variables, files=FILES, binds=[TICKET, ID]) as two,
    ):
        one.proxy.wait_for_agent(seconds=60)
        two.proxy.wait_for_agent(seconds=60)
        yield Pair((one, two), agent, pki)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("port", "elsewhere"), [(TICKET, True), (ID, False)], ids=["ticket", "id"])
def test_a_session_is_judged_by_its_certificate_wherever_it_goes_on(
    pair: Pair, version: ssl.TLSVersion, port: str, *, elsewhere: bool
) -> None:
    alice = pair.pki.clients.issue("resumed")
    context = pair.edges[0].client(alice, port=port).context
    context.maximum_version = version
    answer, resumed, session = pair.visit(pair.edges[0], port, context, None)
    assert (answer.status, resumed) == (200, False)
    # A ticket is good at each process that has its key; an id only at the one that gave it, which asks anew elsewhere.
    for edge, expected in zip(pair.edges, (True, elsewhere), strict=True):
        answer, resumed, _ = pair.visit(edge, port, context, session)
        assert (answer.status, resumed) == (200, expected)
        assert pair.logged()["cert"]["sha256"] == fingerprint(alice)
    blocks = pair.agent.status()["blocks"]["count"]
    pair.agent.run("block", f"sha256:{fingerprint(alice)}", "--reason", "a test")
    wait_until(lambda: pair.agent.status()["blocks"]["count"] > blocks, 60, "the block is in force", pair.agent.log)
    for edge, expected in zip(pair.edges, (True, elsewhere), strict=True):
        answer, resumed, _ = pair.visit(edge, port, context, session)
        assert (answer.status, answer.reason, resumed) == (403, "certificate_blocked", expected)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_under_a_key_that_a_process_lacks_is_a_full_handshake(
    pair: Pair, other_keys: Edge, version: ssl.TLSVersion
) -> None:
    alice = pair.pki.client("alice")
    context = pair.edges[0].client(alice, port=TICKET).context
    context.maximum_version = version
    _, _, session = pair.visit(pair.edges[0], TICKET, context, None)
    answer, resumed, _ = pair.visit(other_keys, TICKET, context, session)
    assert (answer.status, resumed) == (200, False)
    assert pair.logged()["cert"]["sha256"] == fingerprint(alice)
