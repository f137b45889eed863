"""Servers behind HAProxy that answer with what they received."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

__all__ = ["Echo"]


class Echo:
    """A server on loopback whose answer is the request as JSON; `/health` answers and is not counted.

    Attributes:
        name: goes into the answer as `server`.
        address: `127.0.0.1:PORT`, as a `server` line takes it.
        received: every request so far, as answered: `server`, `method`, `target`, `headers`, `peer`.
    """

    def __init__(self, name: str, context: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.context = context
        self.received: list[dict[str, Any]] = []
        echo = self

        class Handler(_Handler):
            owner = echo

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"

    @classmethod
    @contextmanager
    def running(cls, name: str, context: ssl.SSLContext | None = None) -> Iterator[Echo]:
        """Serve, over TLS where a context is given, until the block ends."""
        echo = cls(name, context)
        thread = threading.Thread(target=echo._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield echo
        finally:
            echo._server.shutdown()
            echo._server.server_close()
            thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # With the default of 5, a burst has SYNs dropped and sent again a second later.
    request_queue_size = 128
    # Connections that HAProxy keeps open end with the process, not before: nothing waits for them.
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a connection that a test cuts off is no news."""


class _Handler(BaseHTTPRequestHandler):
    owner: Echo
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Do the TLS handshake in the connection's own thread."""
        if self.owner.context is not None:
            self.request = self.owner.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        """Close the TLS connection, which the server does not know of."""
        super().finish()
        if self.owner.context is not None:
            self.request.close()

    def answer(self) -> None:
        """Answer a request of any method."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        received = {
            "server": self.owner.name,
            "method": self.command,
            # Not `self.path`, in which the library merges leading slashes.
            "target": self.requestline.split(" ")[1],
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "peer": self.request.getpeercert() if self.owner.context is not None else None,
        }
        if received["target"] != "/health":
            self.owner.received.append(received)
        body = json.dumps(received).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the name is the base class's
        """Keep the test's output for what HAProxy says."""


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
    setattr(_Handler, f"do_{_method}", _Handler.answer)
