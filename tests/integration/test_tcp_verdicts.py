"""`mode tcp`: a connection has a certificate and a source and nothing else, and rules about more than that deny it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.haproxy import wait_until
from tests.integration.edge import PATIENT, Edge, example_files, start_edge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.echo import Echo
    from tests.integration.edge import Pki
    from tests.serving import Agent

pytestmark = pytest.mark.integration

#: Unit of a client → the rules for it, and the reason that is right.
UNITS: Final = {
    "plain": ("", "ok"),
    "nobody": ("{id: other-path, effect: allow, who: WHO, request: {path: '/**'}}", "no_rule_allows"),
    "source": ("{id: source, effect: deny, who: WHO, unless: {source: 127.0.0.0/8}}", "ok"),
    "elsewhere": ("{id: elsewhere, effect: deny, who: WHO, unless: {source: 10.0.0.0/8}}", "denied_by_rule"),
    "modern": ("{id: modern, effect: deny, who: WHO, unless: {tls: [TLSv1.3]}}", "ok"),
    "old": ("{id: old, effect: deny, who: WHO, when: {tls: [TLSv1.3]}}", "denied_by_rule"),
    "name": ("{id: name, effect: deny, who: WHO, request: {sni: localhost}}", "denied_by_rule"),
    "other-name": ("{id: other-name, effect: deny, who: WHO, request: {sni: other.example}}", "ok"),
    # A connection has no path, method, host or header, so what denies by one of them denies it.
    "path": ("{id: path, effect: deny, who: WHO, request: {path: '/admin/**'}}", "denied_by_rule"),
    "method": ("{id: method, effect: deny, who: WHO, request: {method: write}}", "denied_by_rule"),
    "host": ("{id: host, effect: deny, who: WHO, request: {host: other.example}}", "denied_by_rule"),
    "header": ("{id: header, effect: deny, who: WHO, request: {header: {X-A: b}}}", "denied_by_rule"),
}


def policy() -> str:
    """Write the rules for all units; each but one is allowed unless its own rule denies."""
    rules = [rule.replace("WHO", f"{{issuer: clients, ou: {unit}}}") for unit, (rule, _) in UNITS.items() if rule]
    allowed = ", ".join(unit for unit in UNITS if unit != "nobody")
    return "\n".join(
        [
            "apiVersion: authz/v1",
            'issuers: {clients: {ca: trust/clients-ca.pem, revocation: {none: "a test"}}}',
            "rules:",
            f"  - {{id: allowed, effect: allow, who: {{issuer: clients, ou: [{allowed}]}}}}",
            *(f"  - {rule}" for rule in rules),
            "",
        ]
    )


@pytest.fixture(scope="module")
def edge(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """Give the shipped example of `mode tcp` before the real agent."""
    agent.adopt({"policy.yaml": policy().encode(), "trust/clients-ca.pem": pki.clients.pem})
    folder = tmp_path_factory.mktemp("edge")
    files = example_files("tcp")
    with start_edge(binary, pki, echoes, folder, agent.address, PATIENT, files=files, binds=["HTTPS"]) as edge:
        edge.proxy.wait_for_agent(seconds=60)
        yield edge


def connections(agent: Agent) -> list[dict[str, Any]]:
    """Return the decisions about connections, which have no method."""
    return [decision for decision in agent.decisions() if decision["method"] is None]


@pytest.mark.parametrize("unit", UNITS)
def test_a_connection_is_judged_by_what_it_has(edge: Edge, agent: Agent, pki: Pki, unit: str) -> None:
    before, served, (_, reason) = len(connections(agent)), edge.received(), UNITS[unit]
    client = edge.client(pki.client(f"tcp-{unit}", unit))
    if reason == "ok":
        assert client.get("/").status == 200
    else:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            client.get("/")
    wait_until(lambda: len(connections(agent)) > before, 60, "the connection is logged", agent.log)
    (decision,) = connections(agent)[before:]
    assert (decision["reason"], decision["path"]) == (reason, None)
    assert edge.received() - served == (reason == "ok")
