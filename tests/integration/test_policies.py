"""Policies in force: the real agent behind the shipped configuration, and edits that take effect under way."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.haproxy import wait_until
from tests.integration.edge import PATIENT, start_edge
from tests.pki import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.echo import Echo
    from tests.integration.edge import Edge, Pki
    from tests.serving import Agent

pytestmark = pytest.mark.integration

#: What the project promises about an edit.
SECONDS_TO_TAKE_EFFECT: Final = 1
#: And what this busy machine may add to it before a test calls it broken.
PATIENCE: Final = 9

HEAD: Final = """\
apiVersion: authz/v1
metadata: {name: under-test, owner: tests}
issuers:
  corp: {ca: trust/clients-ca.pem, revocation: {none: "tests"}}
"""
PEOPLE: Final = """\
identities:
  administrators: {issuer: corp, ou: administrators}
  staff: {issuer: corp, ou: {any_of: [staff, administrators]}}
  readonly: {issuer: corp, cn: "*-readonly"}
"""
RULES: Final = """\
rules:
  - {id: admin-only, effect: require, request: {path: "/admin/**"}, who: administrators}
  - {id: readonly-cannot-write, effect: deny, who: readonly, request: {method: write}, status: 405, reason: read_only}
  - {id: staff, effect: allow, who: staff, request: {path: "/**"}}
  - {id: readonly, effect: allow, who: readonly, request: {path: "/api/**", method: read}}
routes:
  - {who: administrators, request: {path: "/admin/**"}, backend: admin_api}
  - {backend: internal_api}
"""


@pytest.fixture(scope="module")
def edge(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """Give the shipped configuration before the real agent; certificates are optional."""
    folder = tmp_path_factory.mktemp("edge")
    with start_edge(binary, pki, echoes, folder, agent.address, {"AUTHZ_VERIFY": "optional", **PATIENT}) as edge:
        edge.proxy.wait_for_agent()
        yield edge


def adopt(agent: Agent, pki: Pki, policy: str, **files: str) -> None:
    """Have the agent go by a policy, and by other files whose names have `_` for `/` and `.txt` at their end."""
    named = {f"{name.replace('_', '/')}.txt": content.encode() for name, content in files.items()}
    agent.adopt({"policy.yaml": policy.encode(), "trust/clients-ca.pem": pki.clients.pem, **named})


def test_rules_allow_deny_and_route_by_identity(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    alice = edge.client(pki.client("alice", "administrators"))
    bob = edge.client(pki.client("bob", "staff"))
    audit = edge.client(pki.client("audit-readonly"))
    mallory = edge.client(pki.client("mallory", "finance"))
    assert alice.get("/admin/users").echoed["server"] == "admin"
    assert alice.get("/api/x").echoed["server"] == "internal"
    assert bob.get("/api/x", method="POST").echoed["server"] == "internal"
    assert audit.get("/api/x").status == 200
    refused = {
        "bob in admin": bob.get("/admin/users"),
        "audit writes": audit.get("/api/x", method="DELETE"),
        "audit elsewhere": audit.get("/x"),
        "mallory": mallory.get("/api/x"),
        "nobody": edge.client().get("/api/x"),
    }
    assert {name: (answer.status, answer.reason) for name, answer in refused.items()} == {
        "bob in admin": (403, "requirement_not_met"),
        "audit writes": (405, "read_only"),
        "audit elsewhere": (403, "no_rule_allows"),
        "mallory": (403, "no_rule_allows"),
        "nobody": (403, "no_certificate"),
    }
    edge.proxy.wait_for_log(
        'cn:"bob" verdict:deny reason:requirement_not_met rule:admin-only identity:staff revision:[0-9a-f]{12}'
    )


def test_the_decision_log_and_haproxys_log_name_a_request_alike(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    target = f"/admin/{time.monotonic_ns()}"
    edge.client(pki.client("bob", "staff")).get(f"{target}?secret=1")
    line = edge.proxy.wait_for_log(target)
    wait_until(lambda: any(decision["path"] == target for decision in agent.decisions()), 5, "the decision is logged")
    (decision,) = (decision for decision in agent.decisions() if decision["path"] == target)
    assert f"id:{decision['id']} " in line
    assert f"rule:{decision['rule']} " in line
    assert f"revision:{decision['revision']} " in line
    assert "secret" not in str(decision)


def test_an_edit_takes_effect_on_connections_that_are_open(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    bob = edge.client(pki.client("bob", "staff"))
    with bob.http1() as http1, bob.http2() as http2:
        assert isinstance(http1.connection, ssl.SSLSocket)
        assert [connection.request("GET", "/api/x").status for connection in (http1, http2)] == [200, 200]
        session = http1.connection.session
        adopt(agent, pki, HEAD + PEOPLE + RULES.replace('"/**"', '"/elsewhere/**"'))
        assert [connection.request("GET", "/api/x").status for connection in (http1, http2)] == [403, 403]
        with bob.http1(session) as resumed:
            assert isinstance(resumed.connection, ssl.SSLSocket)
            assert resumed.connection.session_reused
            assert resumed.request("GET", "/api/x").reason == "no_rule_allows"
        adopt(agent, pki, HEAD + PEOPLE + RULES)
        assert [connection.request("GET", "/api/x").status for connection in (http1, http2)] == [200, 200]


def test_an_edit_takes_effect_within_a_second(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    policy = agent.policies / "policy.yaml"
    seconds: list[float] = []
    with edge.client(pki.client("bob", "staff")).http1() as connection:
        # Other work on the machine may slow down an edit, but not all of them.
        for path, status in [("elsewhere", 403), ("**", 200)] * 5:
            policy.write_text(HEAD + PEOPLE + RULES.replace('"/**"', f'"/{path}"'))

            def has_effect(wanted: int = status) -> bool:
                return connection.request("GET", "/api/x").status == wanted

            seconds.append(wait_until(has_effect, PATIENCE, "the edit takes effect", agent.log))
            if seconds[-1] <= SECONDS_TO_TAKE_EFFECT:
                return
    pytest.fail(f"an edit took {min(seconds)} s at best")


def test_a_bad_edit_changes_nothing(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    revision = agent.revision()
    policy = agent.policies / "policy.yaml"
    good = policy.read_text()
    policy.write_text(good.replace("effect: allow", "efect: allow"))
    try:
        wait_until(lambda: b'"rejected"' in agent.ask("/status")[1], PATIENCE, "the edit is rejected", agent.log)
        assert agent.revision() == revision
        assert edge.client(pki.client("bob", "staff")).get("/api/x").status == 200
        assert edge.client(pki.client("mallory")).get("/api/x").reason == "no_rule_allows"
    finally:
        policy.write_text(good)
        wait_until(lambda: b'"rejected"' not in agent.ask("/status")[1], PATIENCE, "the edit is mended", agent.log)


def test_a_certificate_that_expires_is_denied_on_its_open_connection(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    brief = edge.client(pki.client("brief", "staff", not_after=int(time.time()) + 3))
    with brief.http1() as connection:
        assert connection.request("GET", "/api/x").status == 200
        wait_until(lambda: connection.request("GET", "/api/x").status != 200, PATIENCE, "the certificate expires")
        assert connection.request("GET", "/api/x").reason == "certificate_expired"


def test_a_block_ends_open_connections_and_resumed_sessions(edge: Edge, agent: Agent, pki: Pki, tmp_path: Path) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    stolen = pki.client("stolen", "staff", serial=0x51013)
    file = tmp_path / "stolen.pem"
    file.write_bytes(stolen.pem)
    client = edge.client(stolen)
    with client.http1() as http1, client.http2() as http2:
        assert isinstance(http1.connection, ssl.SSLSocket)
        assert [connection.request("GET", "/api/x").status for connection in (http1, http2)] == [200, 200]
        session = http1.connection.session
        agent.run("block", str(file), "--ticket", "INC-7")
        wait_until(lambda: http1.request("GET", "/api/x").status == 403, PATIENCE, "the block takes effect", agent.log)
        assert http2.request("GET", "/api/x").reason == "certificate_blocked"
        with client.http1(session) as resumed:
            assert resumed.request("GET", "/api/x").reason == "certificate_blocked"
        assert edge.client(pki.client("bob", "staff")).get("/api/x").status == 200
        agent.run("unblock", str(file))
        wait_until(lambda: http1.request("GET", "/api/x").status == 200, PATIENCE, "the block is lifted", agent.log)


def test_a_long_lived_certificate_is_refused_where_the_issuer_says_so(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, (HEAD + PEOPLE + RULES).replace("ca: trust", "max_lifetime: 7d, ca: trust"))
    week = edge.client(pki.client("week", "staff", not_after=pki.root.now + DAY))
    assert week.get("/api/x").status == 200
    assert edge.client(pki.client("bob", "staff")).get("/api/x").reason == "certificate_too_long_lived"


def test_an_ambiguous_path_is_refused_or_normalised_as_the_policy_says(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    bob = edge.client(pki.client("bob", "staff"))
    paths = ("/api/../admin/x", "/%61dmin/x", "//admin/x", "/api/./x", "/api//x")
    assert {(answer.status, answer.reason) for answer in map(bob.get, paths)} == {(400, "path_not_canonical")}
    adopt(agent, pki, HEAD + "defaults: {path_on_ambiguity: normalise}\n" + PEOPLE + RULES)
    for path in paths[:3]:
        assert bob.get(path).reason == "requirement_not_met"
    for path in paths[3:]:
        assert bob.get(f"{path}?q=//..").echoed["target"] == "/api/x?q=//.."
    with bob.http2() as connection:
        assert connection.request("GET", "/api/b/../%7Ex?q").echoed["target"] == "/api/~x?q"
        assert connection.request("GET", "/api/../../x").reason == "path_not_canonical"


def test_a_host_that_is_not_the_server_name_of_tls_is_refused(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES)
    bob = edge.client(pki.client("bob", "staff"))
    assert bob.get("/api/x", [("Host", "localhost:8443")]).status == 200
    assert bob.get("/api/x", [("Host", "api.example.com")]).reason == "sni_mismatch"


def test_clients_without_a_certificate_are_judged_by_the_policy(edge: Edge, agent: Agent, pki: Pki) -> None:
    anonymous = '  - {id: public, effect: allow, who: anonymous, request: {path: "/public/**", method: read}}\nroutes:'
    policy = HEAD + "defaults: {no_certificate: anonymous}\n" + PEOPLE + RULES.replace("routes:", anonymous)
    adopt(agent, pki, policy)
    nobody = edge.client()
    assert nobody.get("/public/x").status == 200
    assert nobody.get("/public/x", method="POST").reason == "no_rule_allows"
    assert nobody.get("/api/x").reason == "no_rule_allows"
    assert nobody.get("/admin/x").reason == "requirement_not_met"


def test_a_route_to_a_backend_that_haproxy_does_not_have_is_a_403(edge: Edge, agent: Agent, pki: Pki) -> None:
    adopt(agent, pki, HEAD + PEOPLE + RULES.replace("{backend: internal_api}", "{backend: internal_apl}"))
    before = edge.received()
    assert edge.client(pki.client("bob", "staff")).get("/api/x").status == 403
    assert edge.received() == before
    edge.proxy.wait_for_log("authz-denied/<NOSRV>")


def test_source_and_tls_version_are_judged_as_haproxy_sees_them(edge: Edge, agent: Agent, pki: Pki) -> None:
    office = (
        '  - {id: office, effect: require, request: {path: "/office/**"}, when: {source: 127.0.0.0/8, tls: TLSv1.3}}\n'
    )
    away = '  - {id: away, effect: require, request: {path: "/away/**"}, when: {source: 10.0.0.0/8}}\nroutes:'
    adopt(agent, pki, HEAD + PEOPLE + RULES.replace("routes:", office + away))
    bob = edge.client(pki.client("bob", "staff"))
    assert bob.get("/office/x").status == 200
    assert bob.get("/away/x").reason == "requirement_not_met"
    bob.context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert bob.get("/office/x").reason == "requirement_not_met"
    assert bob.get("/away/x", [("X-Forwarded-For", "10.0.0.1")]).reason == "requirement_not_met"


def test_a_header_that_a_policy_reads_must_be_sent_by_the_configuration(edge: Edge, agent: Agent, pki: Pki) -> None:
    tenant = "  - {id: tenant, effect: require, request: {header: {X-Tenant: b}}, when: {source: 10.0.0.0/8}}\nroutes:"
    adopt(agent, pki, HEAD + PEOPLE + RULES.replace("routes:", tenant))
    # The shipped configuration sends no headers: what is not sent is unavailable, and that matches what restricts.
    assert edge.client(pki.client("bob", "staff")).get("/api/x").reason == "requirement_not_met"
