"""What the agent judges is what the server gets, and what the server is told about the client is HAProxy's word."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import pytest

from tests.client import plain_http1
from tests.integration.scripted_agent import answers, arguments_of

if TYPE_CHECKING:
    from spoa.spop import Value
    from tests.client import Response
    from tests.integration.edge import Edge
    from tests.integration.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.integration


@pytest.fixture
def allowing(scripted: tuple[Edge, ScriptedAgent]) -> tuple[Edge, ScriptedAgent]:
    """Give an agent that allows everything."""
    scripted[1].script = answers(verdict="allow", status=200, reason="ok")
    return scripted


def judged(agent: ScriptedAgent) -> dict[str, Value]:
    return arguments_of(agent.notified[-1])


def assert_same(arguments: dict[str, Value], answer: Response) -> None:
    """Method, path and host of the judgement are those that the server received; or HAProxy itself refused."""
    if answer.status in {0, 400}:
        return
    received = answer.echoed
    target = received["target"]
    origin = "/" + "".join(target.split("/", 3)[3:]) if target.startswith("http://") else target
    assert arguments["method"] == received["method"].encode()
    # `OPTIONS *` has no path in HAProxy's eyes.
    assert arguments["path"] == (None if target == "*" else origin.split("?")[0].encode("latin-1"))
    assert [arguments["host"]] == [host.encode() for host in answer.sent_header("host")]


TARGETS: Final = [
    "/",
    "/things",
    "/a//b",
    "//a",
    "/a/../b",
    "/a/./b",
    "/%2e%2e/x",
    "/a%2Fb",
    "/a;p=1/b",
    "/A%41",
    "/a?x=/b/../c",
    "/?",
    "/a%00b",
    "/a\\b",
    "/a%zz",
    "/\xe4",
    "/a#b",
    "/a?b#c",
]


@pytest.mark.parametrize("target", [*TARGETS, "http://localhost/absolute?x", "http://localhost", "*", "relative", "?x"])
def test_http1_targets_are_judged_as_they_are_delivered(allowing: tuple[Edge, ScriptedAgent], target: str) -> None:
    edge, agent = allowing
    method = "OPTIONS" if target == "*" else "GET"
    answer = edge.client().get(target, method=method)
    assert_same(judged(agent), answer)


@pytest.mark.parametrize("target", [target for target in TARGETS if target.isascii()])
def test_http2_targets_are_judged_as_they_are_delivered(allowing: tuple[Edge, ScriptedAgent], target: str) -> None:
    edge, agent = allowing
    with edge.client().http2() as connection:
        answer = connection.request("GET", target)
    assert_same(judged(agent), answer)


@pytest.mark.parametrize("target", ["admin", "admin/users", "?x", "http:admin"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_target_without_a_path_reaches_no_server(
    allowing: tuple[Edge, ScriptedAgent], method: str, target: str
) -> None:
    edge, _ = allowing
    before = edge.received()
    assert edge.client().get(target, method=method).status == 400
    assert edge.received() == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_the_method_is_judged_as_it_is_delivered(allowing: tuple[Edge, ScriptedAgent], method: str) -> None:
    edge, agent = allowing
    before = {name: len(echo.received) for name, echo in edge.echoes.items()}
    assert edge.client().get("/", method=method).status == 200
    assert judged(agent)["method"] == method.encode()
    (received,) = edge.echoes["internal"].received[before["internal"] :]
    assert received["method"] == method


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "one.example"), ("Host", "two.example")],
        [("Host", "one.example"), ("Host", "one.example")],
        [("Host", "one.example, two.example")],
        [("Host", "ONE.example:8443")],
        [("Host", "")],
        [("Host", "one.example/../two")],
        [("Host", "one.example two.example")],
    ],
)
def test_http1_hosts_are_judged_as_they_are_delivered(
    allowing: tuple[Edge, ScriptedAgent], headers: list[tuple[str, str]]
) -> None:
    edge, agent = allowing
    with edge.client().http1() as connection:
        answer = connection.request("GET", "/", headers)
    assert_same(judged(agent), answer)


def test_a_host_that_contradicts_an_absolute_target_does_not_reach_a_server_unseen(
    allowing: tuple[Edge, ScriptedAgent],
) -> None:
    edge, agent = allowing
    with edge.client().http1() as connection:
        answer = connection.request("GET", "http://one.example/", [("Host", "two.example")])
    assert_same(judged(agent), answer)


@pytest.mark.parametrize(
    "headers", [[("host", "two.example")], [(":authority", "one.example"), ("host", "two.example")]]
)
def test_http2_authority_is_judged_as_it_is_delivered(
    allowing: tuple[Edge, ScriptedAgent], headers: list[tuple[str, str]]
) -> None:
    edge, agent = allowing
    with edge.client().http2() as connection:
        answer = connection.request("GET", "/", headers)
    assert_same(judged(agent), answer)


OVERRIDES: Final = [
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Method",
    "X-Rewrite-URL",
    "X-Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-Method",
    "X_HTTP_METHOD_OVERRIDE",
    "x-http_method-override",
    "X_Original_URL",
    "X-Http-Path-Override",
    "X-Path-Override",
    "X-Override-URL",
    "X.HTTP.Method.Override",
    "X.Original.URL",
]
SPOOFED: Final = [
    "X-Client-CN",
    "X-Client-DN",
    "X-Client-Serial",
    "X-Client-Fingerprint",
    "X-Client-Verify",
    "X-Client-Identity",
    "X-Client-Cert",
    "X_Client_CN",
    "x_client-cn",
    "X-SSL-Client-Verify",
    "X-Real-IP",
    "X-Authz-Reason",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Client-Cert",
    "X_Forwarded_For",
    "Forwarded",
    "X-Request-ID",
    "True-Client-IP",
    "X-Cluster-Client-IP",
    "Client-IP",
    "Client-Cert",
    "SSL-Client-Verify",
    "SSL_CLIENT_VERIFY",
    "Remote-User",
    "X-Remote-User",
    "X.Client.CN",
    "X.Forwarded.For",
]


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_header_that_overrides_method_or_path_does_not_arrive(
    allowing: tuple[Edge, ScriptedAgent], name: str
) -> None:
    edge, _ = allowing
    for client in (edge.client(edge.pki.client("alice")), edge.client(port="HTTPS")):
        assert client.get("/", [(name, "/admin")]).sent_header(name) == []
        with client.http2() as connection:
            assert connection.request("GET", "/", [(name, "/admin"), (name, "DELETE")]).sent_header(name) == []


@pytest.mark.parametrize("name", SPOOFED)
def test_what_a_client_says_about_itself_does_not_arrive(allowing: tuple[Edge, ScriptedAgent], name: str) -> None:
    edge, _ = allowing
    headers = [(name, "spoofed"), (name.upper(), "spoofed")]
    for client in (edge.client(edge.pki.client("alice")), edge.client(), edge.client(port="HTTPS")):
        assert "spoofed" not in str([value for _, value in client.get("/", headers).echoed["headers"]])
        with client.http2() as connection:
            assert "spoofed" not in str(connection.request("GET", "/", headers).echoed["headers"])


def test_ordinary_headers_arrive(allowing: tuple[Edge, ScriptedAgent]) -> None:
    edge, _ = allowing
    headers = [("Accept", "text/html"), ("X-Clientele", "1"), ("X-Methodical", "no"), ("Cookie", "a=b")]
    answer = edge.client().get("/", headers)
    assert [answer.sent_header(name) for name in ("Accept", "X-Clientele", "Cookie")] == [["text/html"], ["1"], ["a=b"]]


def test_the_server_is_told_who_the_client_is(allowing: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = allowing
    agent.script = answers(verdict="allow", status=200, reason="ok", identity="administrators")
    alice = edge.pki.client("alice", "administrators")
    answer = edge.client(alice).get("/")
    told = {name: answer.sent_header(f"X-Client-{name}") for name in ("CN", "DN", "Serial", "Identity", "Fingerprint")}
    assert told["CN"] == ["alice"]
    assert told["DN"] == ["CN=alice,OU=administrators"]
    assert int(told["Serial"][0], 16) == alice.certificate.serial_number
    assert told["Identity"] == ["administrators"]
    assert answer.sent_header("X-Forwarded-For") == ["127.0.0.1"]
    assert answer.sent_header("X-Forwarded-Proto") == ["https"]
    assert answer.sent_header("X-Request-ID") == [judged(agent)["id"].decode()]  # type: ignore[union-attr]  # it is bytes


@pytest.mark.parametrize("port", ["MTLS", "HTTPS"])
@pytest.mark.parametrize("upgrade", ["h2c", "H2C", "websocket, h2c", "h2c, websocket"])
def test_an_upgrade_to_cleartext_http2_does_not_arrive(
    allowing: tuple[Edge, ScriptedAgent], upgrade: str, port: str
) -> None:
    edge, _ = allowing
    headers = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", upgrade),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ]
    answer = edge.client(port=port).get("/", headers)
    # Since 2.8 HAProxy itself takes the one word out of a list.
    assert answer.sent_header("Upgrade") in ([], ["websocket"])
    assert answer.sent_header("HTTP2-Settings") == []


def test_an_upgrade_to_a_web_socket_does_arrive(allowing: tuple[Edge, ScriptedAgent]) -> None:
    edge, _ = allowing
    answer = edge.client().get(
        "/", [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")]
    )
    assert answer.sent_header("Upgrade") == ["websocket"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_agent_gets_the_certificate_on_full_and_resumed_sessions(
    allowing: tuple[Edge, ScriptedAgent], version: ssl.TLSVersion
) -> None:
    edge, agent = allowing
    alice = edge.pki.client("alice")
    client = edge.client(alice)
    client.context.maximum_version = version
    with client.http1() as connection:
        connection.request("GET", "/first")
        first = judged(agent)
        assert isinstance(connection.connection, ssl.SSLSocket)
        session = connection.connection.session
    with client.http1(session) as connection:
        connection.request("GET", "/second")
        assert isinstance(connection.connection, ssl.SSLSocket)
        assert connection.connection.session_reused
    second = judged(agent)
    for arguments in (first, second):
        assert arguments["cert"] == alice.der
        assert (arguments["used"], arguments["verify"]) == (True, 0)
        assert arguments["tls"] == version.name.replace("_", ".").encode()
        assert arguments["sni"] == b"localhost"
        assert arguments["src"] == bytes([127, 0, 0, 1])
    assert (first["resumed"], second["resumed"]) == (False, True)


def test_the_agent_is_told_that_there_is_no_certificate(allowing: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = allowing
    edge.client().get("/")
    arguments = judged(agent)
    assert (arguments["cert"], arguments["used"], arguments["verify"], arguments["resumed"]) == (None, False, 0, False)


def test_plain_http_is_redirected_and_asks_nobody(allowing: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = allowing
    before = len(agent.notified)
    with plain_http1(edge.proxy.ports["HTTP"], "localhost:8080") as connection:
        answer = connection.request("GET", "/a?b=c", [("Upgrade", "h2c")])
    assert (answer.status, answer.headers["location"]) == (308, "https://localhost:443/a?b=c")
    assert len(agent.notified) == before
