"""Every way in which a client's connection and request may come, each with the verdict and reason that is right."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import ssl
import struct
import threading
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.client import SECONDS_TO_ANSWER, Http1, Http2
from tests.haproxy import CONFIGURATION, wait_until
from tests.integration.edge import PATIENT, Edge, start_edge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.client import Response
    from tests.echo import Echo
    from tests.integration.edge import Pki
    from tests.serving import Agent

pytestmark = pytest.mark.integration

POLICY: Final = r"""
apiVersion: authz/v1
issuers:
  clients: {ca: trust/clients-ca.pem, revocation: {none: "a test"}}
rules:
  - {id: open, effect: allow, who: any_certificate, request: {path: "/open/**"}}
  - {id: inside, effect: allow, who: any_certificate, request: {path: "/inside/**"}}
  - id: only-from-inside
    effect: require
    request: {path: "/inside/**"}
    when: {source: [10.0.0.0/8, "2001:db8::/32", "::1/128"]}
  - {id: named, effect: allow, who: any_certificate, request: {path: "/named/**", host: localhost}}
  - {id: hosts, effect: allow, who: any_certificate, request: {path: "/hosts/**"}}
  - {id: not-evil, effect: deny, request: {path: "/hosts/**", host: evil.example}}
  - {id: reading, effect: allow, who: any_certificate, request: {path: "/read/**", method: read}}
"""

OK: Final = (200, "ok")
NOT_INSIDE: Final = (403, "requirement_not_met")
NO_RULE: Final = (403, "no_rule_allows")
DENIED: Final = (403, "denied_by_rule")
#: PROXY protocol: version 1, then 2 (its signature, command and version, family, length, addresses and ports).
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"


def proxy_v1(source: str) -> bytes:
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {source} 40000 443\r\n".encode()


def proxy_v2(source: str) -> bytes:
    packed = ip_address(source).packed
    family = b"\x21" if len(packed) == 16 else b"\x11"
    addresses = packed + packed + struct.pack(">HH", 40000, 443)
    return SIGNATURE + b"\x21" + family + struct.pack(">H", len(addresses)) + addresses


#: The first octet of a TLS record that is part of a handshake (RFC 8446 section 5.1).
HANDSHAKE: Final = b"\x16"
PROXY_LOCAL: Final = SIGNATURE + b"\x20\x00\x00\x00"
#: RFC 6455 section 1.3: a server shows by this that it has understood the key.
KEY: Final = b"AAAAAAAAAAAAAAAAAAAAAA=="
ACCEPT: Final = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


class Tunnel:
    """A server that agrees to every upgrade and then returns what it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listener.getsockname())
        self.opened = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            held = b""
            while b"\r\n\r\n" not in held:
                data = connection.recv(65536)
                if not data:
                    return
                held += data
            self.opened += 1
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
            )
            with suppress(OSError):  # the other side may leave at any time
                while data := connection.recv(65536):
                    connection.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Ways:
    """An edge with many doors, and the agent that judges behind all of them."""

    def __init__(self, edge: Edge, agent: Agent, tunnel: Tunnel, ipv6: int, unix: Path) -> None:
        self.edge, self.agent, self.tunnel, self.ipv6, self.unix = edge, agent, tunnel, ipv6, unix
        self.client = edge.client(edge.pki.client("alice"), port="HTTPS")

    @contextmanager
    def connected(self, way: str, first: bytes = b"", protocol: str = "http/1.1") -> Iterator[ssl.SSLSocket]:
        """Connect by a way, saying something before TLS begins."""
        with ExitStack() as stack:
            if way == "unix":
                plain = stack.enter_context(socket.socket(socket.AF_UNIX))
                plain.settimeout(SECONDS_TO_ANSWER)
                plain.connect(str(self.unix))
            else:
                host, port = ("::1", self.ipv6) if way == "IPv6" else ("127.0.0.1", self.edge.proxy.ports[way])
                plain = stack.enter_context(socket.create_connection((host, port), timeout=SECONDS_TO_ANSWER))
            plain.sendall(first)
            self.client.context.set_alpn_protocols([protocol])
            yield stack.enter_context(self.client.context.wrap_socket(plain, server_hostname="localhost"))

    def get(self, way: str, path: str, first: bytes = b"") -> Response:
        """Make one request."""
        with self.connected(way, first) as connection:
            return Http1(connection, "localhost").request("GET", path)

    def asked(self) -> tuple[int, float]:
        """Return how many requests have reached a server, and how many the agent."""
        return self.edge.received(), self.agent.metric('frames_total{type="notify"}')

    def decision(self, path: str) -> dict[str, Any]:
        """Return what the decision log says of the last request for a path."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.agent.decisions() if line["path"] == path]

        wait_until(found, 60, f"the decision about {path} is logged", self.agent.log)
        return found()[-1]


def free_ipv6_port() -> int:
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def ways(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ways]:
    """Give them with the real agent."""
    agent.adopt({"policy.yaml": POLICY.encode(), "trust/clients-ca.pem": pki.clients.pem})
    folder, tunnel, ipv6 = tmp_path_factory.mktemp("ways"), Tunnel(), free_ipv6_port()
    # Of a unix socket's name no more than 108 characters count.
    unix = Path(f"/tmp/spoa-authz-ways-{ipv6}.sock")
    variables = {
        **PATIENT,
        "WAYS_IPV6": f"ipv6@[::1]:{ipv6}",
        "WAYS_UNIX": str(unix),
        "WAYS_TUNNEL": tunnel.address,
        "WAYS_SPOE": str(CONFIGURATION / "spoe-authz.conf"),
        "WAYS_INNER": "127.0.0.1:1",
    }
    files = [CONFIGURATION / "authz.cfg", Path(__file__).parent / "ways.cfg"]
    try:
        with start_edge(
            binary, pki, echoes, folder, agent.address, variables, files=files, binds=["HTTPS", "PROXIED", "OUTER"]
        ) as edge:
            edge.proxy.ask(f"set server inner/ways addr 127.0.0.1 port {edge.proxy.ports['PROXIED']}")
            edge.proxy.wait_for_agent(seconds=60)
            yield Ways(edge, agent, tunnel, ipv6, unix)
    finally:
        tunnel.close()
        unix.unlink(missing_ok=True)


def outcome(answer: Response) -> tuple[int, str]:
    """Return status and reason; an allowed request's reason is `ok`, which isn't told to clients."""
    return answer.status, "ok" if answer.status == 200 else answer.reason


@pytest.mark.parametrize(
    ("way", "first", "source", "inside"),
    [
        ("HTTPS", b"", "127.0.0.1", NOT_INSIDE),
        ("IPv6", b"", "::1", OK),
        ("unix", b"", None, NOT_INSIDE),
        ("PROXIED", proxy_v1("10.1.2.3"), "10.1.2.3", OK),
        ("PROXIED", proxy_v1("192.0.2.1"), "192.0.2.1", NOT_INSIDE),
        ("PROXIED", proxy_v1("2001:db8::5"), "2001:db8::5", OK),
        ("PROXIED", proxy_v2("10.1.2.3"), "10.1.2.3", OK),
        ("PROXIED", proxy_v2("192.0.2.1"), "192.0.2.1", NOT_INSIDE),
        ("PROXIED", proxy_v2("2001:db8::5"), "2001:db8::5", OK),
        ("PROXIED", proxy_v2("::ffff:10.1.2.3"), "10.1.2.3", OK),
        ("PROXIED", PROXY_LOCAL, "127.0.0.1", NOT_INSIDE),
        ("PROXIED", b"PROXY UNKNOWN\r\n", "127.0.0.1", NOT_INSIDE),
        ("OUTER", proxy_v1("10.1.2.3"), "10.1.2.3", OK),
        ("OUTER", proxy_v2("192.0.2.1"), "192.0.2.1", NOT_INSIDE),
        ("OUTER", PROXY_LOCAL, "127.0.0.1", NOT_INSIDE),
    ],
    ids=[
        "IPv4",
        "IPv6",
        "a unix socket has no source",
        "PROXY 1, inside",
        "PROXY 1, outside",
        "PROXY 1, IPv6",
        "PROXY 2, inside",
        "PROXY 2, outside",
        "PROXY 2, IPv6",
        "PROXY 2, IPv4 as IPv6",
        "PROXY 2, the proxy itself",
        "PROXY 1, not known",
        "two proxies, inside",
        "two proxies, outside",
        "two proxies, the first itself",
    ],
)
def test_the_source_is_whom_the_connection_or_its_proxies_say(
    ways: Ways, way: str, first: bytes, source: str | None, inside: tuple[int, str]
) -> None:
    assert outcome(ways.get(way, "/open/x", first)) == OK
    path = f"/inside/{way}-{first.hex()}"
    assert outcome(ways.get(way, path, first)) == inside
    logged = ways.decision(path)
    assert (logged["src"], logged["reason"]) == (source, inside[1])
    assert outcome(ways.get(way, "/elsewhere", first)) == NO_RULE


@pytest.mark.parametrize(
    ("way", "first"),
    [
        ("HTTPS", proxy_v1("10.1.2.3")),
        ("HTTPS", proxy_v2("10.1.2.3")),
        ("PROXIED", b""),
        ("PROXIED", proxy_v1("10.1.2.3") * 2),
        ("PROXIED", b"PROXY TCP4 10.1.2.3\r\n"),
        ("PROXIED", SIGNATURE + b"\x21\x11\xff\xff"),
    ],
    ids=["version 1 unasked", "version 2 unasked", "none", "two", "half", "one that never ends"],
)
def test_a_proxy_header_where_none_belongs_or_a_broken_one_reaches_nobody(ways: Ways, way: str, first: bytes) -> None:
    before = ways.asked()
    with socket.create_connection(("127.0.0.1", ways.edge.proxy.ports[way]), timeout=SECONDS_TO_ANSWER) as plain:
        plain.sendall(first + client_hello(ways.client.context))
        received = b""
        # No handshake begins, but the connection ends, or TLS says that this is none.
        with suppress(OSError):
            plain.shutdown(socket.SHUT_WR)
            received = plain.recv(65536)
    assert received[:1] != HANDSHAKE
    assert ways.asked() == before


def client_hello(context: ssl.SSLContext) -> bytes:
    """Return what a client says first."""
    said = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost").do_handshake()
    return said.read()


def raw(ways: Ways, data: bytes, method: str = "GET") -> Response:
    """Send octets as they are and return the answer."""
    with ways.connected("HTTPS") as connection:
        connection.sendall(data)
        return Http1(connection, "localhost").receive(method)


@pytest.mark.parametrize(
    ("request_line", "headers", "expected"),
    [
        ("GET /open/x HTTP/1.0", [], OK),
        ("GET /shut/x HTTP/1.0", [], NO_RULE),
        # Without a Host there is none to allow by, and any to deny by.
        ("GET /named/x HTTP/1.0", [], NO_RULE),
        ("GET /named/x HTTP/1.0", ["Host: localhost"], OK),
        ("GET /hosts/x HTTP/1.0", [], DENIED),
        ("GET /hosts/x HTTP/1.0", ["Host: localhost"], OK),
        ("POST /read/x HTTP/1.0", ["Content-Length: 0"], NO_RULE),
    ],
)
def test_http_1_0_is_judged_like_any_other(
    ways: Ways, request_line: str, headers: Sequence[str], expected: tuple[int, str]
) -> None:
    before = ways.edge.received()
    answer = raw(ways, "\r\n".join([request_line, *headers, "", ""]).encode())
    assert outcome(answer) == expected
    assert ways.edge.received() - before == (expected == OK)


def test_each_request_of_a_connection_that_http_1_0_keeps_alive_is_judged(ways: Ways) -> None:
    with ways.connected("HTTPS") as connection:
        for path, expected in (("/open/1", OK), ("/open/2", OK), ("/shut/3", NO_RULE)):
            connection.sendall(f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
            assert outcome(Http1(connection, "localhost").receive()) == expected


@pytest.mark.parametrize("version", [b"", b" HTTP/3.0", b" HTTP/1.1x", b" HTTP/11", b" http/1.1", b" ICAP/1.0"])
def test_no_version_gets_past_the_rules(ways: Ways, version: bytes) -> None:
    before = ways.edge.received()
    answer = refused_or_answered(ways, b"GET /shut/x" + version + b"\r\n\r\n")
    assert answer is None or answer.status in {400, 403, 505}
    assert ways.edge.received() == before


def refused_or_answered(ways: Ways, data: bytes) -> Response | None:
    """Return the answer; None where HAProxy hangs up, or answers in a version that has no head."""
    try:
        return raw(ways, data)
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.parametrize("size", [1000, 8000, 12_000])
@pytest.mark.parametrize("version", [1, 2])
def test_large_headers_that_nobody_judges_change_nothing(ways: Ways, version: int, size: int) -> None:
    headers = [("Cookie", f"a={'x' * size}")]
    protocol = "http/1.1" if version == 1 else "h2"
    for path, expected in (("/open/x", OK), ("/shut/x", NO_RULE)):
        with ways.connected("HTTPS", protocol=protocol) as connection:
            talk = Http1(connection, "localhost") if version == 1 else Http2(connection, "localhost")
            assert outcome(talk.request("GET", path, headers)) == expected


@pytest.mark.parametrize("size", [17_000, 70_000])
@pytest.mark.parametrize("version", [1, 2])
def test_headers_larger_than_haproxys_buffer_reach_nobody(ways: Ways, version: int, size: int) -> None:
    before = ways.asked()
    headers = [(f"X-{number}", "x" * 1000) for number in range(size // 1000)]
    with ways.connected("HTTPS", protocol="http/1.1" if version == 1 else "h2") as connection:
        talk = Http1(connection, "localhost") if version == 1 else Http2(connection, "localhost")
        # An answer that says so, a stream that is reset, or no answer at all, before the client has said all.
        with suppress(OSError, AssertionError):
            status = talk.request("GET", "/open/x", headers).status
            assert status != 200
    assert ways.asked() == before


UPGRADE: Final = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {KEY.decode()}\r\n\r\n"


def test_a_web_socket_that_is_allowed_is_a_tunnel_from_then_on(ways: Ways) -> None:
    before = ways.tunnel.opened
    with ways.connected("HTTPS") as connection:
        connection.sendall(f"GET /open/socket HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}".encode())
        assert Http1(connection, "localhost").receive().status == 101
        for frame in (b"\x81\x05hello", b"GET /shut/x HTTP/1.1\r\n\r\n"):
            connection.sendall(frame)
            received = b""
            while len(received) < len(frame):
                received += connection.recv(65536)
            assert received == frame
    assert ways.tunnel.opened == before + 1
    assert ways.decision("/open/socket")["reason"] == "ok"


def test_a_web_socket_that_is_denied_is_never_opened(ways: Ways) -> None:
    before = ways.tunnel.opened
    with ways.connected("HTTPS") as connection:
        connection.sendall(f"GET /shut/socket HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}".encode())
        talk = Http1(connection, "localhost")
        assert outcome(talk.receive()) == NO_RULE
        # What was refused is no tunnel: the next request is judged too.
        assert outcome(talk.request("GET", "/shut/x")) == NO_RULE
    assert ways.tunnel.opened == before


def test_a_web_socket_over_http_2_is_judged_by_its_path(ways: Ways) -> None:
    before = ways.tunnel.opened
    with ways.connected("HTTPS", protocol="h2") as connection:
        talk = Http2(connection, "localhost")
        answer = talk.connect("websocket", "/shut/socket", [("sec-websocket-version", "13")])
    assert outcome(answer) == NO_RULE
    assert ways.tunnel.opened == before


def test_a_web_socket_whose_client_has_already_said_all_is_not_opened(ways: Ways) -> None:
    before = ways.tunnel.opened
    with ways.connected("HTTPS", protocol="h2") as connection:
        talk = Http2(connection, "localhost")
        answer = talk.request("CONNECT", "/shut/socket", [(":protocol", "websocket"), ("sec-websocket-version", "13")])
    # 3.4 lets go of the question to the agent when its client has closed its side.
    assert outcome(answer) in {NO_RULE, (503, "not_ready")}
    assert ways.tunnel.opened == before


@pytest.mark.parametrize("target", ["localhost:443", "10.0.0.1:22", "/open/x", "http://localhost/open/x", "*"])
def test_connect_makes_no_tunnel(ways: Ways, target: str) -> None:
    before = ways.edge.received()
    answer = raw(ways, f"CONNECT {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), "CONNECT")
    assert answer.status == 400
    assert ways.edge.received() == before


def test_options_for_the_whole_server_are_denied_unless_a_rule_means_them(ways: Ways) -> None:
    before = ways.edge.received()
    answer = raw(ways, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", "OPTIONS")
    assert outcome(answer) == NO_RULE
    assert raw(ways, b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 400
    assert ways.edge.received() == before
