"""A client for tests: raw HTTP/1.1 with keep-alive, HTTP/2, client certificates, and TLS sessions to resume.

client = Client(port, ca.pem, alice)
client.get("/admin").status
with client.http1() as connection: connection.request("GET", "/")
with client.http2() as connection: connection.request("GET", "/")
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import h2.config
import h2.connection
import h2.events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spoa.pki import Issued

__all__ = ["Client", "Http1", "Http2", "Response", "plain_http1"]

SECONDS_TO_ANSWER: Final = 15

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Response:
    """An answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """The reason code of a deny: the body, which must say no more, and the same as the header."""
        code = self.headers.get("x-authz-reason", "")
        assert self.body.decode() == f"{code}\n", self
        return code

    @property
    def echoed(self) -> dict[str, Any]:
        """What the server behind says that it received."""
        assert self.status == 200, self
        echoed: dict[str, Any] = json.loads(self.body)
        return echoed

    def sent_header(self, name: str) -> list[str]:
        """Return the values of a header as the server behind received them."""
        return [value for key, value in self.echoed["headers"] if key == name.lower()]


class Http1:
    """One HTTP/1.1 connection, kept alive; request targets and headers go out as they stand."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self.connection = connection
        self.host = host

    def request(self, method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Response:
        """Send a request and wait for its answer; a `Host` among the headers takes the place of ours."""
        self.send(method, target, headers, body)
        return self.receive(method)

    def send(self, method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> None:
        """Send a request."""
        lines: Headers = list(headers)
        if not any(name.lower() == "host" for name, _ in lines):
            lines.insert(0, ("Host", self.host))
        if body:
            lines.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines)
        self.connection.sendall(head.encode("latin-1") + b"\r\n" + body)

    def receive(self, method: str = "GET") -> Response:
        """Wait for an answer."""
        answer = http.client.HTTPResponse(self.connection, method=method)
        answer.begin()
        body = answer.read()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)


class Http2:
    """One HTTP/2 connection; several requests may be under way."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self.connection = connection
        self.host = host
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(validate_outbound_headers=False, header_encoding="utf-8")
        )
        self._h2.initiate_connection()
        self._flush()

    def request(self, method: str, target: str, headers: Sequence[tuple[str, str]] = ()) -> Response:
        """Send a request and wait for its answer."""
        return self.requests([(method, target, headers)])[0]

    def requests(self, wanted: Sequence[tuple[str, str, Sequence[tuple[str, str]]]]) -> list[Response]:
        """Send requests at once, a stream each, and wait for all answers, which come back in the same order.

        A stream that is reset without an answer comes back with status 0.
        """
        return self._answers([self._send(method, target, headers) for method, target, headers in wanted])

    def connect(self, protocol: str, target: str, headers: Sequence[tuple[str, str]] = ()) -> Response:
        """Ask for a tunnel of another protocol (RFC 8441), and wait for an answer that is none."""
        extended = [(":protocol", protocol), *headers]
        return self._answers([self._send("CONNECT", target, extended, ends=False)])[0]

    def _answers(self, streams: list[int]) -> list[Response]:
        self._flush()
        heads: dict[int, dict[str, str]] = {stream: {} for stream in streams}
        bodies = dict.fromkeys(streams, b"")
        waiting = set(streams)
        while waiting:
            received = self.connection.recv(65536)
            assert received, f"the connection ended with {len(waiting)} requests unanswered"
            for event in self._h2.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    heads[event.stream_id] = {_text(name): _text(value) for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    waiting.discard(event.stream_id)
            self._flush()
        return [Response(int(heads[stream].get(":status", 0)), heads[stream], bodies[stream]) for stream in streams]

    def _send(self, method: str, target: str, headers: Sequence[tuple[str, str]], *, ends: bool = True) -> int:
        pseudo = {":method": method, ":scheme": "https", ":authority": self.host, ":path": target}
        pseudo.update({name: value for name, value in headers if name.startswith(":")})
        stream = self._h2.get_next_available_stream_id()
        rest = [(name.lower(), value) for name, value in headers if not name.startswith(":")]
        self._h2.send_headers(stream, [*pseudo.items(), *rest], end_stream=ends)
        return stream

    def _flush(self) -> None:
        self.connection.sendall(self._h2.data_to_send())


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


class Client:
    """A client of one port; what it knows of the server is its CA, and what it shows is a certificate or none."""

    def __init__(self, port: int, ca: bytes, certificate: Issued | None = None, *, host: str = "localhost") -> None:
        self.port = port
        self.host = host
        self.context = ssl.create_default_context(cadata=ca.decode())
        self._lock = threading.Lock()
        if certificate is not None:
            with tempfile.NamedTemporaryFile(suffix=".pem") as file:
                file.write(certificate.bundle_pem)
                file.flush()
                self.context.load_cert_chain(file.name)

    def get(self, target: str, headers: Sequence[tuple[str, str]] = (), *, method: str = "GET") -> Response:
        """Make one request on a connection of its own."""
        with self.http1() as connection:
            return connection.request(method, target, headers)

    @contextmanager
    def http1(self, session: ssl.SSLSession | None = None) -> Iterator[Http1]:
        """Connect with HTTP/1.1, resuming a TLS session if one is given."""
        with self.tls(["http/1.1"], session) as connection:
            yield Http1(connection, self.host)

    @contextmanager
    def http2(self) -> Iterator[Http2]:
        """Connect with HTTP/2, which the server must have chosen."""
        with self.tls(["h2"]) as connection:
            assert connection.selected_alpn_protocol() == "h2"
            yield Http2(connection, self.host)

    @contextmanager
    def tls(self, protocols: Sequence[str] = (), session: ssl.SSLSession | None = None) -> Iterator[ssl.SSLSocket]:
        """Connect and do the handshake."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS_TO_ANSWER) as plain:
            with self._lock:  # what is offered is the context's, which threads share
                if protocols:
                    self.context.set_alpn_protocols(list(protocols))
                connection = self.context.wrap_socket(
                    plain, server_hostname=self.host, session=session, do_handshake_on_connect=False
                )
            with connection:
                connection.do_handshake()
                yield connection


@contextmanager
def plain_http1(port: int, host: str = "localhost") -> Iterator[Http1]:
    """Connect without TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS_TO_ANSWER) as connection:
        yield Http1(connection, host)
