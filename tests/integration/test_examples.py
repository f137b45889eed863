"""Each example of the shipped configuration, with its policy and the real agent."""

from __future__ import annotations

import base64
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from spoa import load_policy
from spoa.exceptions import PolicyError
from tests.client import Client, plain_http1
from tests.echo import Echo
from tests.haproxy import wait_until
from tests.integration.edge import PATIENT, Edge, example_files, policy_files, start_edge
from tests.integration.scripted_agent import ScriptedAgent, answers
from tests.pki import DAY, HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.integration.edge import Pki
    from tests.serving import Agent

    Example = Callable[..., AbstractContextManager[tuple[Edge, Agent]]]

pytestmark = pytest.mark.integration


@pytest.fixture
def example(binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path: Path) -> Example:
    """Give a function that starts an example by its name, with a policy by its name."""

    @contextmanager
    def started(
        name: str, policy: str, binds: tuple[str, ...] = ("HTTPS",), **variables: str
    ) -> Iterator[tuple[Edge, Agent]]:
        agent.adopt(policy_files(policy, pki))
        environment = {**PATIENT, **variables}
        files = example_files(name)
        with start_edge(binary, pki, echoes, tmp_path, agent.address, environment, files=files, binds=binds) as edge:
            edge.proxy.wait_for_agent()
            yield edge, agent

    return started


def assert_cut_off(client: Client) -> None:
    """The handshake fails; in TLS 1.3 the client notices at its first read."""
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        client.get("/cut-off")


def paths_judged(agent: Agent) -> set[str]:
    return {decision["path"] for decision in agent.decisions()}


def test_required_mtls_lets_in_clients_with_a_certificate_of_ours(example: Example, pki: Pki) -> None:
    with example("required-mtls", "any-client") as (edge, agent):
        alice = edge.client(pki.client("alice"))
        assert alice.get("/things").echoed["target"] == "/things"
        with alice.http2() as connection:
            assert [answer.status for answer in connection.requests([("GET", f"/{n}", ()) for n in range(20)])] == [
                200
            ] * 20
        assert_cut_off(edge.client())
        assert_cut_off(edge.client(pki.stranger.issue("alice")))
        assert_cut_off(edge.client(pki.client("late", not_before=pki.root.now - DAY, not_after=pki.root.now - HOUR)))
        # A decision that is made later is also logged later.
        alice.get("/after-the-cuts")
        wait_until(lambda: "/after-the-cuts" in paths_judged(agent), 5, "the decision is logged", agent.log)
        assert "/cut-off" not in paths_judged(agent)


def test_optional_mtls_has_a_backend_for_each_kind_of_client(example: Example, pki: Pki) -> None:
    with example("optional-mtls", "optional") as (edge, _):
        assert edge.client(pki.client("alice")).get("/").echoed["server"] == "api"
        assert edge.client().get("/").echoed["server"] == "public"
        assert edge.client().get("/", method="POST").reason == "no_rule_allows"
        stranger = edge.client(pki.stranger.issue("alice")).get("/")
        assert (stranger.status, stranger.reason) == (403, "certificate_not_verified")


def test_an_invalid_certificate_is_answered_rather_than_cut_off(example: Example, pki: Pki) -> None:
    now = pki.root.now
    with example("answer-invalid-certificates", "any-client") as (edge, _):
        answers = {
            "none": edge.client(),
            "stranger": edge.client(pki.stranger.issue("alice")),
            "expired": edge.client(pki.client("late", not_before=now - DAY, not_after=now - HOUR)),
            "early": edge.client(pki.client("early", not_before=now + DAY)),
            "server": edge.client(pki.clients.server("localhost")),
        }
        reasons = {
            name: (answer.status, answer.reason) for name, client in answers.items() for answer in [client.get("/")]
        }
        assert reasons.pop("none") == (403, "no_certificate")
        assert set(reasons.values()) == {(403, "certificate_not_verified")}
        assert edge.client(pki.client("alice")).get("/").status == 200


def test_the_server_gets_the_certificate_in_headers_that_cannot_be_spoofed(example: Example, pki: Pki) -> None:
    alice = pki.client("alice", "administrators")
    names = (
        "DN",
        "CN",
        "Serial",
        "Fingerprint",
        "NotBefore",
        "NotAfter",
        "Issuer",
        "Verify",
        "Cert",
        "Identity",
        "Days-Left",
    )
    with example("certificate-headers", "any-client") as (edge, _):
        spoofed = [(f"X-Client-{name}", "spoofed") for name in names] + [
            ("X_Client_CN", "spoofed"),
            ("X-Client-New", "x"),
        ]
        answer = edge.client(alice).get("/", spoofed)
        told = {name: answer.sent_header(f"X-Client-{name}") for name in names}
        assert base64.b64decode(told.pop("Cert")[0]) == alice.der
        assert told.pop("Fingerprint")[0].lower() == alice.certificate.fingerprint(SHA256()).hex()
        assert int(told.pop("Serial")[0], 16) == alice.certificate.serial_number
        dates = alice.certificate.not_valid_before_utc, alice.certificate.not_valid_after_utc
        assert [told.pop("NotBefore"), told.pop("NotAfter")] == [[f"{date:%y%m%d%H%M%SZ}"] for date in dates]
        assert told == {
            "DN": ["/OU=administrators/CN=alice"],
            "CN": ["alice"],
            "Issuer": ["/CN=Acme Clients CA"],
            "Verify": ["0"],
            "Identity": [""],
            "Days-Left": ["29"],
        }
        assert answer.sent_header("X_Client_CN") == answer.sent_header("X-Client-New") == []


def test_the_common_name_chooses_the_backend(example: Example, pki: Pki) -> None:
    with example("route-by-cn", "route-by-cn") as (edge, _):
        for name, server in (("admin-service", "admin"), ("monitoring", "monitoring"), ("api-client", "api")):
            assert edge.client(pki.client(name)).get("/").echoed["server"] == server
        assert edge.client(pki.client("somebody")).get("/").reason == "no_rule_allows"


def test_paths_belong_to_organizational_units(example: Example, pki: Pki) -> None:
    with example("paths-by-ou", "paths-by-ou") as (edge, _):
        admin, partner, internal = (
            edge.client(pki.client(name, ou))
            for name, ou in (("a", "administrators"), ("p", "partner-api"), ("i", "internal-services"))
        )
        assert [client.get("/admin/users").status for client in (admin, partner, internal)] == [200, 403, 403]
        assert [client.get("/api/partner/x").status for client in (admin, partner, internal)] == [403, 200, 403]
        assert [client.get("/other").status for client in (admin, partner, internal)] == [200, 200, 200]
        for evasion in ("/ADMIN/users", "/admin", "/admin/", "/Admin"):
            assert internal.get(evasion).reason == "requirement_not_met"
        for evasion in ("//admin", "/x/../admin", "/%61dmin", "/admin%2Fusers", "/./admin"):
            assert (internal.get(evasion).status, internal.get(evasion).reason) == (400, "path_not_canonical")
        assert edge.client(pki.client("o", "other")).get("/other").reason == "no_rule_allows"


def test_only_listed_fingerprints_get_in_and_the_list_can_be_edited(example: Example, pki: Pki) -> None:
    listed, older, other = pki.client("listed"), pki.client("older"), pki.client("other")
    with example("fingerprint-allowlist", "allowlist") as (edge, agent):
        clients = [edge.client(certificate) for certificate in (listed, older, other)]
        assert [client.get("/").status for client in clients] == [403, 403, 403]
        revision = agent.revision()
        file = agent.policies / "lists" / "allowed-certs.txt"
        lines = [listed.certificate.fingerprint(SHA256()).hex(), older.certificate.fingerprint(SHA1()).hex().upper()]
        file.write_text(file.read_text() + "\n".join(lines) + "\n")
        agent.wait_for_change(revision)
        assert [client.get("/").status for client in clients] == [200, 200, 403]


def test_sample_fingerprints_that_are_not_hexadecimal_are_refused_with_their_line(pki: Pki, tmp_path: Path) -> None:
    for name, content in policy_files("allowlist", pki).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "lists" / "allowed-certs.txt").write_text(
        "# One SHA1 fingerprint per line\n"
        "A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6Q7R8S9T0\n"
        "9T8S7R6Q5P4O3N2M1L0K9J8I7H6G5F4E3D2C1B0A\n"
    )
    with pytest.raises(PolicyError) as refused:
        load_policy(tmp_path)
    problems = [problem for problem in refused.value.problems if not problem.is_warning]
    assert [(problem.file, problem.line) for problem in problems] == [
        ("lists/allowed-certs.txt", 2),
        ("lists/allowed-certs.txt", 3),
    ]


def test_clients_of_an_intermediate_ca_are_verified_up_to_the_root(example: Example, pki: Pki) -> None:
    files = {
        "AUTHZ_INTERMEDIATE_CA": str(pki.write("intermediate-ca.crt", pki.clients.pem)),
        "AUTHZ_ROOT_CA": str(pki.write("root-ca.crt", pki.root.pem)),
    }
    with example("intermediate-ca", "any-client", **files) as (edge, _):
        assert edge.client(pki.client("scanner", o=["warehouse"])).get("/").status == 200
        assert_cut_off(edge.client(pki.stranger.issue("scanner")))
        assert_cut_off(edge.client())


def test_http_is_redirected_to_https_with_path_and_query(example: Example, pki: Pki) -> None:
    with example("https-redirect", "any-client", ("HTTP", "HTTPS"), AUTHZ_PORT_HTTPS="4443") as (edge, agent):
        with plain_http1(edge.proxy.ports["HTTP"], "api.example.com:80") as connection:
            answer = connection.request("POST", "/redirected?c=d")
        assert (answer.status, answer.headers["location"]) == (308, "https://api.example.com:4443/redirected?c=d")
        assert edge.client(pki.client("alice")).get("/after-that").status == 200
        wait_until(lambda: "/after-that" in paths_judged(agent), 5, "the decision is logged", agent.log)
        assert "/redirected" not in paths_judged(agent)


def test_haproxy_and_the_server_show_each_other_certificates(example: Example, pki: Pki) -> None:
    name = "api.internal.example"
    variables = {
        "AUTHZ_HAPROXY_CERT": str(pki.write("haproxy.pem", pki.root.issue("haproxy").bundle_pem)),
        "AUTHZ_BACKEND_CA": str(pki.write("backend-ca.pem", pki.root.pem)),
        "AUTHZ_BACKEND_NAME": name,
    }
    servers = {
        "genuine": pki.root.server(name),
        "of a stranger": pki.stranger.server(name),
        "by another name": pki.root.server("other.internal.example"),
    }
    answers = {}
    for kind, certificate in servers.items():
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=pki.root.pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(pki.write("backend.pem", certificate.bundle_pem))
        with (
            Echo.running(kind, context) as echo,
            example("backend-mtls", "any-client", AUTHZ_SERVER_API=echo.address, **variables) as (edge, _),
        ):
            answers[kind] = edge.client(pki.client("alice")).get("/")
            assert len(echo.received) == (kind == "genuine")
    assert {kind: answer.status for kind, answer in answers.items()} == {
        "genuine": 200,
        "of a stranger": 503,
        "by another name": 503,
    }
    assert answers["genuine"].echoed["peer"]["subject"] == [[["commonName", "haproxy"]]]


def test_haproxys_own_crl_stops_handshakes_and_the_agent_serves_beside_it(example: Example, pki: Pki) -> None:
    good, revoked = pki.client("good"), pki.client("revoked", o=["revoked"])
    pki.clients.revoke(revoked)
    crls = pki.write("both.pem", pki.root.crl_pem() + pki.clients.crl_pem())
    with example("native-crl", "any-client", AUTHZ_CRL=str(crls)) as (edge, _):
        assert edge.client(good).get("/").status == 200
        assert_cut_off(edge.client(revoked))


def test_a_pkcs12_bundle_holds_all_that_a_browser_needs(example: Example, pki: Pki, tmp_path: Path) -> None:
    bundle = pki.client("browser").p12("changeme")
    key, certificate, others = pkcs12.load_key_and_certificates(bundle, b"changeme")
    assert key is not None
    assert certificate is not None
    pem = tmp_path / "browser.pem"
    chain = [certificate, *others]
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + b"".join(one.public_bytes(Encoding.PEM) for one in chain)
    )
    with example("required-mtls", "any-client") as (edge, _):
        browser = edge.client()
        browser.context.load_cert_chain(pem)
        with browser.http2() as connection:
            assert connection.request("GET", "/").status == 200


def connections_judged(agent: Agent) -> list[dict[str, Any]]:
    """Return the decisions on connections in `mode tcp`, which have no method."""
    return [decision for decision in agent.decisions() if not decision["method"]]


@pytest.mark.parametrize("route", ["authz-agents", "authz-denied", "stats", "#2", "#3", "#4", "#5", "no_such_backend"])
def test_a_tcp_connection_is_closed_where_the_route_leads_to_no_server(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path, route: str
) -> None:
    script = answers(verdict="allow", status=200, reason="ok", route=route)
    files = example_files("tcp")
    with (
        ScriptedAgent.running(script) as agent,
        start_edge(binary, pki, echoes, tmp_path, agent.address, PATIENT, files=files, binds=("HTTPS",)) as edge,
    ):
        edge.proxy.wait_for_agent()
        before = edge.received()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            edge.client(pki.client("alice")).get("/")
        assert edge.received() == before
        # The last field tells where the connection went: nowhere.
        assert "<NOSRV> " in edge.proxy.wait_for_log("verdict:allow")


def test_tcp_connections_are_judged_once_by_their_certificate(example: Example, pki: Pki) -> None:
    with example("tcp", "any-client", AUTHZ_TIMEOUT_PROCESSING="500ms") as (edge, agent):
        before = len(connections_judged(agent))
        with edge.client(pki.client("alice")).http1() as connection:
            for number in range(3):
                assert connection.request("GET", f"/{number}").echoed["server"] == "api"
        wait_until(lambda: len(connections_judged(agent)) > before, 5, "the connection is logged", agent.log)
        assert [decision["verdict"] for decision in connections_judged(agent)[before:]] == ["allow"]
        edge.proxy.wait_for_log('cn:"alice" verdict:allow reason:ok')
        revision = agent.revision()
        policy = agent.policies / "policy.yaml"
        policy.write_text(policy.read_text().replace("effect: allow", "effect: deny"))
        agent.wait_for_change(revision)
        before = edge.received()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            edge.client(pki.client("alice")).get("/")
        agent.kill()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            edge.client(pki.client("alice")).get("/")
        assert edge.received() == before
        edge.proxy.wait_for_log('cn:"alice" verdict:- reason:- error:[0-9]')
    agent.start()
    agent.wait_until_ready()
