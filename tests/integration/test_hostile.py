"""An auditor with a good certificate, on a client of their own: nothing they send gets further than the policy says.

The shipped configuration, a real agent and servers that tell what reached them. Whatever the answer, it comes, and no
server may see a request that the policy doesn't allow, however it is read.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import pytest

from spoa.pki import SERVER_AUTH
from tests.integration.edge import PATIENT, start_edge
from tests.pki import CA
from tests.serving import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.client import Client, Http2
    from tests.echo import Echo
    from tests.integration.edge import Edge, Pki
    from tests.pki import Issued

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

POLICY: Final = """\
apiVersion: authz/v1
issuers: {clients: {ca: trust/clients-ca.pem, revocation: {none: "a test"}}}
identities:
  staff: {issuer: clients, ou: staff}
  guests: {issuer: clients, ou: guests}
rules:
  - {id: no-secret, effect: deny, request: {path: "/open/secret/**"}}
  - {id: no-change, effect: deny, request: {method: write}, unless: {path: "/open/form"}}
  - {id: no-guests, effect: deny, who: guests}
  - {id: open, effect: allow, who: staff, request: {path: "/open/**"}}
  - {id: blue, effect: allow, who: staff, request: {path: "/blue/**", header: {x-tenant: blue}}}
  - {id: hosted, effect: allow, who: staff, request: {path: "/hosted/**", host: api.example.com}}
  - {id: office, effect: allow, who: staff, request: {path: "/office/**"}, when: {source: 10.0.0.0/8}}
"""
#: Seconds in which something must come back, a busy machine allowed for.
PATIENCE: Final = 30.0
CRLF: Final = b"\r\n"


@dataclass
class Target:
    """The edge, and what a client that may do some things can try against it."""

    edge: Edge
    agent: Agent
    staff: Issued

    @property
    def client(self) -> Client:
        """A client with a certificate of the staff."""
        return self.edge.client(self.staff)

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[dict[str, Any]]]:
        """Give a list that has every request that reached a server until the block ends; none may be wrong."""
        seen: list[dict[str, Any]] = []
        before = {name: len(echo.received) for name, echo in self.edge.echoes.items()}
        yield seen
        seen += [one for name, echo in self.edge.echoes.items() for one in echo.received[before[name] :]]
        assert [one for one in seen if not is_allowed(one)] == []

    def must_serve(self) -> None:
        """An honest client is served."""
        assert self.client.get("/open/honest").status == 200


@pytest.fixture(scope="module")
def target(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    policies = folder / "policies"
    (policies / "trust").mkdir(parents=True)
    (policies / "trust" / "clients-ca.pem").write_bytes(pki.clients.pem)
    (policies / "policy.yaml").write_text(POLICY)
    with (
        Agent.running(policies, folder, "--deadline", "4000") as agent,
        start_edge(binary, pki, echoes, folder, agent.address, PATIENT) as edge,
    ):
        edge.proxy.wait_for_agent(seconds=PATIENCE)
        yield Target(edge, agent, pki.client("alice", "staff"))
        assert "Traceback" not in agent.log()


def readings(path: str) -> set[str]:
    """Return how servers of several kinds may read a path: decoded or not, with or without parameters, resolved."""
    found = {path}
    for _ in range(2):
        found |= {unquote(one) for one in found}
        found |= {unquote(one, "latin-1") for one in found}
    found |= {one.replace("\\", "/") for one in found}
    found |= {re.sub(r";[^/]*", "", one) for one in found}
    return {str(PurePosixPath(_resolved(one))).lower() for one in found}


def _resolved(path: str) -> str:
    kept: list[str] = []
    for name in path.partition("?")[0].partition("#")[0].split("/"):
        if name == "..":
            kept = kept[:-1]
        elif name not in {"", "."}:
            kept.append(name)
    return "/" + "/".join(kept)


def is_allowed(request: dict[str, Any]) -> bool:
    """Say by the policy's words, and none of its code, whether a request may have come through to a server."""
    headers: dict[str, list[str]] = {}
    for name, value in request["headers"]:
        headers.setdefault(name.replace("_", "-"), []).append(value)
    target = re.sub(r"^[a-z]+://[^/]*", "", request["target"])
    if request["method"].upper() not in {"GET", "HEAD", "OPTIONS"} and target.partition("?")[0] != "/open/form":
        return False
    for one in readings(target):
        if one.startswith("/open/secret"):
            return False
        is_open = one == "/open" or one.startswith("/open/")
        is_blue = one.startswith("/blue") and headers.get("x-tenant") == ["blue"]
        is_hosted = one.startswith("/hosted") and headers.get("host") == ["api.example.com"]
        if not (is_open or is_blue or is_hosted):
            return False
    return True


def answers_of(connection: socket.socket, stream: bytes) -> list[int]:
    """Send bytes, and return the statuses of all that comes back until HAProxy closes; it must, in time."""
    connection.settimeout(PATIENCE)
    with contextlib.suppress(OSError):  # HAProxy may have answered and closed before the end
        connection.sendall(stream)
    found = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while data := connection.recv(65536):
            found += data
    assert b"Traceback" not in found
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", found)]


def request(line: str, *headers: str, host: str = "localhost", body: str = "") -> bytes:
    """Write a request after which HAProxy closes."""
    lines = [line, *([f"Host: {host}"] if host else []), "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode("latin-1")


SMUGGLED: Final = "GET /open/secret/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def framed(header: str, body: str = "0\r\n\r\n") -> bytes:
    """Write a form whose end depends on how a header is read, and what is a request of its own behind one end."""
    return f"POST /open/form HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n{body}{SMUGGLED}".encode("latin-1")


def chunked(body: str) -> bytes:
    """Write a form in such chunks."""
    return framed("Transfer-Encoding: chunked", body)


#: What is sent → the statuses that may come back; nothing wrong may reach a server in any case.
RAW: Final[dict[str, tuple[bytes, list[list[int]]]]] = {
    # -- paths
    "a parent": (request("GET /open/../admin HTTP/1.1"), [[400]]),
    "an escaped parent": (request("GET /open/%2e%2e/admin HTTP/1.1"), [[400]]),
    "a parent escaped twice": (request("GET /open/%252e%252e/admin HTTP/1.1"), [[400]]),
    "a parent with a parameter": (request("GET /open/..;/admin HTTP/1.1"), [[400]]),
    "the secret in capitals": (request("GET /open/SECRET/x HTTP/1.1"), [[403]]),
    "the secret in wide letters": (request("GET /open/%EF%BD%93ecret/x HTTP/1.1"), [[403]]),
    "the secret with an accent that folds away": (request("GET /open/%C5%BFecret/x HTTP/1.1"), [[403]]),
    "the secret in circled letters": (request("GET /open/%E2%93%A2ecret HTTP/1.1"), [[403]]),
    "the secret in script letters": (request("GET /open/%F0%9D%93%88ecret HTTP/1.1"), [[403]]),
    "the secret behind a parameter alone": (request("GET /open/;/secret HTTP/1.1"), [[400]]),
    "the secret with a parameter": (request("GET /open/secret;a=1/x HTTP/1.1"), [[400]]),
    "the secret with a letter escaped": (request("GET /open/%73ecret/x HTTP/1.1"), [[400]]),
    "the secret behind two slashes": (request("GET /open//secret/x HTTP/1.1"), [[400]]),
    "the secret behind a backslash": (request("GET /open\\secret/x HTTP/1.1"), [[400]]),
    "the secret behind an escaped slash": (request("GET /open%2fsecret/x HTTP/1.1"), [[400]]),
    "the secret before NUL": (request("GET /open/secret%00.html HTTP/1.1"), [[400]]),
    "the secret in overlong UTF-8": (request("GET /open%c0%afsecret HTTP/1.1"), [[400]]),
    "the secret as an absolute target": (request("GET https://localhost/open/secret/x HTTP/1.1"), [[403]]),
    "an absolute target of another scheme": (request("GET file:///open/secret/x HTTP/1.1", host=""), [[400], [403]]),
    "another host as an absolute target": (request("GET http://evil.example/open/x HTTP/1.1"), [[403], [400]]),
    "a user in the target": (request("GET http://a@localhost/open/secret/x HTTP/1.1"), [[403], [400]]),
    "a fragment": (request("GET /open/x#/../../admin HTTP/1.1"), [[400]]),
    "line breaks in the path": (request("GET /open/x%0d%0aX-Tenant:%20blue HTTP/1.1"), [[400]]),
    "a query full of parents": (request("GET /open/x?/../../admin HTTP/1.1"), [[200]]),
    "a path of 9,000 letters": (request(f"GET /open/{'a' * 9000} HTTP/1.1"), [[400]]),
    "a path of 4,000 segments": (request(f"GET /open{'/a' * 4000} HTTP/1.1"), [[200]]),
    # -- methods
    "the form in capitals": (request("POST /open/FORM HTTP/1.1", "Content-Length: 0"), [[403]]),
    "the form with a slash behind it": (request("POST /open/form/ HTTP/1.1", "Content-Length: 0"), [[403]]),
    "DELETE in small letters": (request("delete /open/x HTTP/1.1"), [[403]]),
    "a method of 300 letters": (request(f"{'A' * 300} /open/x HTTP/1.1"), [[403], [400]]),
    "another method in a header": (
        request("POST /open/x HTTP/1.1", "X-HTTP-Method-Override: GET", "Content-Length: 0"),
        [[403]],
    ),
    "TRACE": (request("TRACE /open/x HTTP/1.1"), [[403], [501]]),
    "CONNECT": (request("CONNECT internal:443 HTTP/1.1", host="internal:443"), [[400], [403]]),
    "OPTIONS of all": (request("OPTIONS * HTTP/1.1"), [[403]]),
    # -- headers
    "the tenant twice": (request("GET /blue/x HTTP/1.1", "X-Tenant: blue", "X-Tenant: red"), [[403]]),
    "the tenant twice, and the same": (request("GET /blue/x HTTP/1.1", "X-Tenant: blue", "X-Tenant: blue"), [[403]]),
    "the tenant with an underscore": (request("GET /blue/x HTTP/1.1", "X_Tenant: blue"), [[403]]),
    "the tenant in a list": (request("GET /blue/x HTTP/1.1", "X-Tenant: blue,red"), [[403]]),
    "the tenant folded": (request("GET /blue/x HTTP/1.1", "X-Tenant: red", " blue"), [[403], [400]]),
    "the tenant in a trailer": (
        request(
            "GET /blue/x HTTP/1.1",
            "Transfer-Encoding: chunked",
            "Trailer: X-Tenant",
            body="0\r\nX-Tenant: blue\r\n\r\n",
        ),
        [[403]],
    ),
    "a blank before the colon": (request("GET /blue/x HTTP/1.1", "X-Tenant : blue"), [[400]]),
    "the source in a header": (
        request("GET /office/x HTTP/1.1", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1"),
        [[403]],
    ),
    "a host with an escaped dot": (request("GET /hosted/x HTTP/1.1", host="api%2eexample.com"), [[403], [400]]),
    "two hosts": (request("GET /hosted/x HTTP/1.1", "Host: api.example.com"), [[403], [400]]),
    "a host that TLS did not name": (request("GET /hosted/x HTTP/1.1", host="api.example.com"), [[403]]),
    "a host with a user": (request("GET /open/x HTTP/1.1", host="x@localhost"), [[403], [400]]),
    "a host with a path": (request("GET /open/x HTTP/1.1", host="localhost/../x"), [[403], [400]]),
    "no host": (request("GET /open/x HTTP/1.1", host=""), [[400], [403], [200]]),
    "300 headers": (request("GET /open/x HTTP/1.1", *(f"X-{number}: 1" for number in range(300))), [[400]]),
    # -- where a request ends
    "a length and chunks": (
        request(
            "POST /open/form HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked", body="0\r\n\r\n" + SMUGGLED
        ),
        [[200], [400]],
    ),
    "chunks that are called otherwise": (
        request(
            "POST /open/form HTTP/1.1", "Content-Length: 4", "Transfer-Encoding: xchunked", body="0\r\n\r\n" + SMUGGLED
        ),
        [[400], [501], [422], [200]],
    ),
    "two lengths": (
        request("POST /open/form HTTP/1.1", "Content-Length: 0", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
        [[400]],
    ),
    "a length of minus one": (request("POST /open/form HTTP/1.1", "Content-Length: -1", body=SMUGGLED), [[400]]),
    "a length with a plus": (request("POST /open/form HTTP/1.1", "Content-Length: +0", body=SMUGGLED), [[400]]),
    "a chunk of 2**64": (
        request("POST /open/form HTTP/1.1", "Transfer-Encoding: chunked", body="10000000000000000\r\n" + SMUGGLED),
        [[400], [502], [503], []],
    ),
    "a chunk with 0x": (chunked("0x5\r\nhello\r\n0\r\n\r\n"), [[400], [200, 400]]),
    "a chunk with a line break in its extension": (chunked('5;a="\r\n"\r\nhello\r\n0\r\n\r\n'), [[400], [200, 400]]),
    "a list of lengths": (framed("Content-Length: 0, 0"), [[400], [200, 400]]),
    "chunks in quotes": (framed('Transfer-Encoding: "chunked"'), [[400], [200, 400]]),
    "chunks behind a vertical tab": (framed("Transfer-Encoding:\x0bchunked"), [[400], [200, 400]]),
    "chunks with an underscore": (framed("Transfer_Encoding: chunked"), [[400], [200, 400]]),
    "NUL in a header": (request("GET /blue/x HTTP/1.1", "X-Tenant: blue\0"), [[400], [403]]),  # 2.6 hands it on
    "a carriage return in a header": (request("GET /blue/x HTTP/1.1", "X-Tenant: blue\rX-Other: 1"), [[400]]),
    "line feeds alone": (b"GET /open/secret/x HTTP/1.1\nHost: localhost\nConnection: close\n\n", [[403], [400]]),
    "carriage returns alone": (b"GET /open/x HTTP/1.1\rHost: localhost\rConnection: close\r\r\r\n\r\n", [[400]]),
    "a second request behind a denied one": (
        b"GET /open/secret/x HTTP/1.1\r\nHost: localhost\r\n\r\n" + request("GET /open/x HTTP/1.1"),
        [[403, 200], [403]],
    ),
    "a denied request behind a good one": (
        b"GET /open/x HTTP/1.1\r\nHost: localhost\r\n\r\n" + request("GET /open/secret/x HTTP/1.1"),
        [[200, 403]],
    ),
    "thirty requests at once, every other one denied": (
        b"".join(
            f"GET /open/{'secret/' if number % 2 else ''}x HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            for number in range(29)
        )
        + request("GET /open/secret/x HTTP/1.1"),
        [[200, 403] * 15],
    ),
    # -- other protocols
    "an upgrade to cleartext HTTP/2": (
        request(
            "GET /open/x HTTP/1.1", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "Connection: Upgrade, HTTP2-Settings"
        ),
        [[200]],
    ),
    "an upgrade to a web socket that is denied": (
        request("GET /open/secret/ws HTTP/1.1", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        [[403]],
    ),
    "HTTP/0.9": (b"GET /open/x\r\n\r\n", [[400], []]),
    "HTTP/1.0": (b"GET /open/secret/x HTTP/1.0\r\n\r\n", [[403], [400]]),
    "HTTP/9.9": (request("GET /open/secret/x HTTP/9.9"), [[403], [400], [505]]),
    "the PROXY protocol within TLS": (
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + request("GET /office/x HTTP/1.1"),
        [[400]],
    ),
    "an early hint of a body": (
        request("POST /open/x HTTP/1.1", "Expect: 100-continue", "Content-Length: 5", body="12345"),
        [[403]],
    ),
}


@pytest.mark.parametrize(("stream", "expected"), RAW.values(), ids=RAW.keys())
def test_no_request_gets_further_than_the_policy_says(target: Target, stream: bytes, expected: list[list[int]]) -> None:
    with target.watched() as seen, target.client.tls(["http/1.1"]) as connection:
        statuses = answers_of(connection, stream)
    assert statuses in expected
    assert len(seen) <= statuses.count(200)


#: HTTP/2: pseudo-headers and headers → the statuses that may come back; 0 is a stream that was reset.
STREAMS: Final[dict[str, tuple[str, str, list[tuple[str, str]], set[int]]]] = {
    "the secret": ("GET", "/open/secret/x", [], {403}),
    "a parent": ("GET", "/open/../admin", [], {400}),
    "a fragment": ("GET", "/open/x#/../admin", [], {400, 0}),
    "a path without a slash": ("GET", "open/secret/x", [], {400, 0}),
    "no path": ("GET", "", [], {400, 0}),
    "a star": ("GET", "*", [], {400, 403, 0}),
    "an absolute path": ("GET", "http://localhost/open/secret/x", [], {403, 400, 0}),
    "blanks in the path": ("GET", "/open/x HTTP/1.1\r\nX-Tenant: blue", [], {400, 0}),
    "line breaks in the path": ("GET", "/open/x\r\n\r\nGET /open/secret/x HTTP/1.1\r\n\r\n", [], {400, 0}),
    "line breaks in a header": ("GET", "/blue/x", [("x-a", "1\r\nx-tenant: blue")], {403, 400, 0}),
    "line breaks in a header's name": ("GET", "/blue/x", [("x-a: 1\r\nx-tenant", "blue")], {403, 400, 0}),
    "DELETE in small letters": ("delete", "/open/x", [], {403, 400, 0}),
    "a method with blanks": ("GET /open/secret/x HTTP/1.1\r\n\r\nGET", "/open/x", [], {400, 0}),
    "CONNECT with a path": ("CONNECT", "/open/x", [], {400, 403, 0}),
    "the tenant twice": ("GET", "/blue/x", [("x-tenant", "blue"), ("x-tenant", "red")], {403}),
    "the tenant with blanks": ("GET", "/blue/x", [("x-tenant", " blue ")], {403, 400, 0, 200}),
    "a host beside the authority": ("GET", "/hosted/x", [("host", "api.example.com")], {403, 400, 0}),
    "another authority": ("GET", "/hosted/x", [(":authority", "api.example.com")], {403}),
    "an upgrade": ("GET", "/open/secret/x", [("connection", "upgrade"), ("upgrade", "h2c")], {403, 400, 0}),
    "chunks": ("POST", "/open/form", [("transfer-encoding", "chunked"), ("content-length", "0")], {400, 0, 200}),
    "another scheme": ("GET", "/open/secret/x", [(":scheme", "file")], {403, 400, 0}),
}


@pytest.mark.parametrize(("method", "path", "headers", "expected"), STREAMS.values(), ids=STREAMS.keys())
def test_no_stream_gets_further_than_the_policy_says(
    target: Target, method: str, path: str, headers: list[tuple[str, str]], expected: set[int]
) -> None:
    with target.watched() as seen, target.client.http2() as connection:
        status = _status(connection, method, path, headers)
    assert status in expected
    assert len(seen) <= (status == 200)


def _status(connection: Http2, method: str, path: str, headers: list[tuple[str, str]]) -> int:
    """Return the status of an answer; 0 where HAProxy resets the stream or ends the connection."""
    try:
        return connection.request(method, path, headers).status
    except (AssertionError, ConnectionError, ssl.SSLError):
        return 0


def test_streams_that_are_opened_and_reset_at_once_keep_nobody_waiting(target: Target) -> None:
    """Two hundred, each of which has the agent asked."""
    with target.watched(), target.client.http2() as connection:
        for _ in range(4):
            for number in range(50):
                stream = connection._send("GET", f"/open/secret/{number}", [])
                connection._h2.reset_stream(stream)
            connection._flush()
        target.must_serve()


def test_a_request_that_never_ends_keeps_nobody_waiting(target: Target) -> None:
    with target.watched() as seen, contextlib.ExitStack() as slow:
        for _ in range(50):
            connection = slow.enter_context(target.client.tls(["http/1.1"]))
            connection.sendall(b"GET /open/secret/x HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        target.must_serve()
    assert [one["target"] for one in seen] == ["/open/honest"]


def test_clients_that_leave_without_waiting_for_their_answer_do_no_harm(target: Target) -> None:
    with target.watched():
        for number in range(100):
            with target.client.tls(["http/1.1"]) as connection:
                connection.sendall(request(f"GET /open/secret/{number} HTTP/1.1"))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        target.must_serve()


def shown(target: Target, *certificates: Issued, key: Issued | None = None) -> Client:
    """Return a client that shows these certificates, the first as its own, and has the key of one of them."""
    bundle = b"".join(one.pem for one in certificates) + (key or certificates[0]).key_pem
    return target.edge.client(_Bundle(bundle))  # type: ignore[arg-type]  # all that a client asks of it


@dataclass
class _Bundle:
    """What a client loads."""

    bundle_pem: bytes


#: Who somebody without a place in the policy may say they are → how they try.
IMPOSTORS: Final[dict[str, Callable[[Target], Client]]] = {
    "another CA of the same name": lambda t: shown(t, CA("Acme Clients CA").issue("alice", ["staff"])),
    "signed by a client's certificate": lambda t: shown(t, _below(t)[0], t.staff, key=_below(t)[0]),
    "a good certificate behind one's own": lambda t: shown(t, t.edge.pki.stranger.issue("alice", ["staff"]), t.staff),
    "expired": lambda t: t.edge.client(t.edge.pki.client("alice", "staff", not_after=int(time.time()) - 5)),
    "not valid yet": lambda t: t.edge.client(t.edge.pki.client("alice", "staff", not_before=int(time.time()) + 3600)),
    "for servers only": lambda t: t.edge.client(t.edge.pki.client("alice", "staff", eku=(SERVER_AUTH,))),
    "a CA": lambda t: t.edge.client(t.edge.pki.client("alice", "staff", is_ca=True)),
    "RSA of 1,024 bits": lambda t: t.edge.client(t.edge.pki.client("alice", "staff", key="rsa:1024")),
    "the unit in wide letters": lambda t: t.edge.client(t.edge.pki.client("mallory", "\uff53taff")),
    "the unit with a blank": lambda t: t.edge.client(t.edge.pki.client("mallory", "staff ")),
    "the unit in capitals": lambda t: t.edge.client(t.edge.pki.client("mallory", "STAFF")),
    "the unit before NUL": lambda t: t.edge.client(t.edge.pki.client("mallory", "staff\0x")),
    "the unit and a line break": lambda t: t.edge.client(t.edge.pki.client("mallory", "staff\r\nX-Tenant: blue")),
    "the unit in the common name": lambda t: t.edge.client(t.edge.pki.client("OU=staff,CN=alice")),
    "a guest who is staff too": lambda t: t.edge.client(t.edge.pki.client("mallory", "staff", "guests")),
    "a guest in wide letters who is staff too": lambda t: t.edge.client(
        t.edge.pki.client("mallory", "staff", "\uff27uests ")
    ),
    "a certificate of 60 kB": lambda t: t.edge.client(
        t.edge.pki.client("mallory", "staff", dns=tuple(f"{number:0>60}.example" for number in range(900)))
    ),
}


def _below(target: Target) -> tuple[Issued, Issued]:
    """Issue a certificate by the key of a client's, whose name stands in it as that of its issuer."""
    below = CA("alice", parent=None)
    return below.issue("alice", ["staff"]), target.staff


@pytest.mark.parametrize("make", IMPOSTORS.values(), ids=IMPOSTORS.keys())
def test_who_is_no_staff_gets_nothing_whatever_the_certificate_says(
    target: Target, make: Callable[[Target], Client]
) -> None:
    """In the handshake or by the agent: no server hears of it, and no later request of others suffers."""
    with target.watched() as seen:
        try:
            status = make(target).get("/open/x").status
        except (OSError, ssl.SSLError, ConnectionError):
            status = 0
        assert status in {0, 403, 503}
    assert seen == []
    target.must_serve()
