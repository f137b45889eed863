"""The shipped `haproxy.cfg` as a whole, and what `haproxy-config` prints, in service with the real agent."""

from __future__ import annotations

import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from spoa import load_policy
from spoa.haproxy_config import render
from tests.client import plain_http1
from tests.haproxy import wait_until
from tests.haproxy_builds import version_of
from tests.integration.edge import PATIENT, policy_files, start_edge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.echo import Echo
    from tests.integration.edge import Edge, Pki
    from tests.serving import Agent

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def edge(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """Give the shipped configuration, as it is shipped, before the real agent."""
    agent.adopt(policy_files("any-client", pki))
    with start_edge(binary, pki, echoes, tmp_path_factory.mktemp("edge"), agent.address, PATIENT) as edge:
        edge.proxy.wait_for_agent()
        yield edge


def paths_judged(agent: Agent) -> set[str]:
    return {decision["path"] for decision in agent.decisions()}


def test_the_mtls_frontend_serves_clients_of_ours_over_both_versions_of_http(edge: Edge, pki: Pki) -> None:
    alice = edge.client(pki.client("alice"))
    assert alice.get("/api/x").echoed["server"] == "internal"
    with alice.http2() as connection:
        assert connection.request("POST", "/api/x").echoed["method"] == "POST"


def test_the_mtls_frontend_cuts_off_clients_without_a_certificate(edge: Edge) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        edge.client().get("/api/x")


def test_the_public_frontend_serves_everyone_and_asks_nobody(edge: Edge, agent: Agent, pki: Pki) -> None:
    assert edge.client(port="HTTPS").get("/welcome?x=1").echoed["server"] == "public"
    with edge.client(port="HTTPS").http2() as connection:
        assert connection.request("GET", "/welcome").echoed["server"] == "public"
    # A decision that is made later is also logged later.
    edge.client(pki.client("alice")).get("/after-welcome")
    wait_until(lambda: "/after-welcome" in paths_judged(agent), 5, "the decision is logged", agent.log)
    assert "/welcome" not in paths_judged(agent)


@pytest.mark.parametrize("target", ["/api", "/api/x?y=z", "/API/x", "/Api", "/%61pi/x", "/api;v=1/x", "/api%2fx"])
def test_the_public_frontend_sends_the_api_on_to_the_mtls_port(edge: Edge, target: str) -> None:
    answer = edge.client(port="HTTPS").get(target, [("Host", "api.example.com:443")], method="POST")
    assert (answer.status, answer.headers["location"]) == (308, f"https://api.example.com:8443{target}")


@pytest.mark.parametrize(
    "target",
    [
        "//api/x",
        "/x//api",
        "/./api/x",
        "/x/../api/x",
        "/x/..",
        "/%2e%2E/api",
        "/%2fapi",
        "/x/..;/api",
        "/\\api",
        "/%5capi",
        "/%00",
        "api",
        "/%zz",
    ],
)
def test_a_path_that_servers_may_read_as_another_is_not_served_in_public(edge: Edge, target: str) -> None:
    before = edge.received()
    assert edge.client(port="HTTPS").get(target).status == 400
    assert edge.received() == before


def test_a_path_that_only_begins_like_the_api_is_not_sent_on(edge: Edge) -> None:
    assert edge.client(port="HTTPS").get("/apiary").echoed["server"] == "public"


def test_plain_http_is_sent_on_to_https(edge: Edge) -> None:
    with plain_http1(edge.proxy.ports["HTTP"], "[::1]:80") as connection:
        answer = connection.request("GET", "/x?y")
    assert (answer.status, answer.headers["location"]) == (308, "https://[::1]:443/x?y")


@pytest.mark.parametrize("host", ["", ":80", "a/b", "user@a", "a, b"])
def test_a_request_for_no_host_is_not_sent_on(edge: Edge, host: str) -> None:
    with plain_http1(edge.proxy.ports["HTTP"]) as connection:
        assert connection.request("GET", "/x", [("Host", host)]).status == 400
    with edge.client(port="HTTPS").http1() as connection:
        assert connection.request("GET", "/api", [("Host", host)]).status == 400


def test_statistics_and_metrics_are_served(edge: Edge) -> None:
    with plain_http1(edge.proxy.ports["STATS"]) as connection:
        assert b"authz-agents" in connection.request("GET", "/stats").body
        metrics = connection.request("GET", "/metrics").body.decode()
    assert 'haproxy_backend_active_servers{proxy="authz-agents"} 1' in metrics
    assert 'haproxy_frontend_http_requests_total{proxy="mtls_api"}' in metrics


def test_the_log_has_the_clients_name_the_verdict_and_its_reason(edge: Edge, pki: Pki) -> None:
    edge.client(pki.client("alice")).get("/api/for-the-log")
    line = edge.proxy.wait_for_log("/api/for-the-log")
    assert "mtls_api~ internal_api/api1 " in line
    assert 'cn:"alice" verdict:allow reason:ok rule:any-client ' in line
    assert " error:- id:" in line


def test_many_requests_at_once_are_all_judged(edge: Edge, pki: Pki) -> None:
    alice = edge.client(pki.client("alice"))

    def burst(_number: int) -> Counter[int]:
        with alice.http2() as connection:
            return Counter(
                answer.status for _ in range(5) for answer in connection.requests([("GET", "/api/x", ())] * 20)
            )

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(burst, range(6)), Counter()) == {200: 600}


def test_what_haproxy_config_prints_serves_the_policy_that_it_was_printed_for(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path: Path
) -> None:
    files = policy_files("route-by-cn", pki)
    text = files["policy.yaml"].decode()
    tenant = "  - {id: tenant, effect: deny, request: {header: {X-Tenant: evil}}}\n\nroutes:"
    agent.adopt({**files, "policy.yaml": text.replace("\nroutes:", tenant).encode()})
    policy = load_policy(agent.policies)
    routes = [route.backend for route in policy.model.routes]
    for name, content in render(version_of(binary), policy.reads, routes).items():
        (tmp_path / name).write_text(content.replace("127.0.0.1:8080", echoes["admin"].address))
    shipped = [tmp_path / "haproxy.cfg"]
    binds = ["HTTP", "HTTPS", "MTLS", "STATS"]
    with start_edge(binary, pki, echoes, tmp_path, agent.address, PATIENT, files=shipped, binds=binds) as printed:
        printed.proxy.wait_for_agent()
        client = printed.client(pki.client("admin-service"))
        assert client.get("/").echoed["server"] == "admin"
        assert client.get("/", [("X-Tenant", "good")]).status == 200
        assert client.get("/", [("X-Tenant", "evil")]).reason == "denied_by_rule"
        assert client.get("/", [("X-Tenant", "good"), ("X-Tenant", "good")]).reason == "denied_by_rule"
        assert printed.client(pki.client("somebody")).get("/").reason == "no_rule_allows"
