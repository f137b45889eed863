"""Requests that come before the handshake is over, as early data of TLS 1.3, which somebody may replay."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.haproxy import CONFIGURATION
from tests.integration.edge import PATIENT, Edge, policy_files, start_edge
from tests.integration.faults.conftest import Findings, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.echo import Echo
    from tests.integration.edge import Pki
    from tests.serving import Agent

# Python's `ssl` sends no early data; the `openssl` command does.
pytestmark = [pytest.mark.integration, pytest.mark.faults]

EARLY: Final = Path(__file__).parent / "early.cfg"
REFUSED, TAKEN = "HTTPS", "EARLY"


@pytest.fixture
def early(binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path: Path) -> Iterator[Edge]:
    """Give the enforcing configuration twice: as it is shipped, and with early data allowed by its operator."""
    files = policy_files("any-client", pki)
    text = files["policy.yaml"].replace(b"who: any_certificate", b'who: any_certificate, request: {path: "/open/**"}')
    agent.adopt({**files, "policy.yaml": text})
    variables = {**PATIENT, "EARLY_SPOE": str(CONFIGURATION / "spoe-authz.conf")}
    config = [CONFIGURATION / "authz.cfg", EARLY]
    with start_edge(
        binary, pki, echoes, tmp_path, agent.address, variables, files=config, binds=[REFUSED, TAKEN]
    ) as edge:
        edge.proxy.wait_for_agent()
        yield edge


def converse(edge: Edge, port: str, folder: Path, *options: str, said: str = "") -> str:
    """Have openssl talk to a port, saying something after the handshake, and return what it prints."""
    words = [
        *("openssl", "s_client", "-connect", f"127.0.0.1:{edge.proxy.ports[port]}", "-servername", "localhost"),
        *("-tls1_3", "-cert", str(folder / "client.pem"), "-key", str(folder / "client.pem"), "-ign_eof", *options),
    ]
    done = subprocess.run(words, input=said, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def request(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(("path", "status"), [("/open/early", 200), ("/shut/early", 403)])
@pytest.mark.parametrize("port", [REFUSED, TAKEN])
def test_early_data_is_judged_like_what_comes_after_the_handshake(
    early: Edge, pki: Pki, findings: Findings, tmp_path: Path, port: str, path: str, status: int
) -> None:
    (tmp_path / "client.pem").write_bytes(pki.client("alice").bundle_pem)
    edge, session, first = early, tmp_path / "session.pem", tmp_path / "early.txt"
    first.write_text(request(path))
    assert " 200 OK" in converse(edge, port, tmp_path, "-sess_out", str(session), said=request("/open/first"))
    before = edge.received()
    # As often as somebody may replay it: each time it is judged anew.
    for _ in range(2):
        said = converse(edge, port, tmp_path, "-sess_in", str(session), "-early_data", str(first), said=request(path))
        assert ("Early data was accepted" in said) == (port == TAKEN), said
        assert f"HTTP/1.1 {status} " in said, said
    arrived = edge.received() - before
    assert arrived > 0 or status != 200
    how = "taken" if port == TAKEN else "refused"
    wrong = 0 if status == 200 else arrived
    findings.put(Row(f"early data, {how}: {path}", 2, wrong, 0, 0, 0, f"answered {status} each time"))
