"""HAProxy with `normalize-uri`, and nginx: where each would send a path."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import unquote_to_bytes

from tests.haproxy import HAProxy
from tests.nginx import running_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["by_haproxy", "by_nginx"]

_BATCH: Final = 50
_SECONDS: Final = 60

#: How an operator may have HAProxy normalise; each is a frontend. The path that the agent is sent stands first.
NORMALISERS: Final[Mapping[str, Sequence[str]]] = {
    "NOTHING": (),
    "DOTS": ("path-strip-dot", "path-strip-dotdot"),
    "SLASHES": ("path-merge-slashes", "path-strip-dot", "path-strip-dotdot full"),
    "DECODED": ("percent-decode-unreserved", "path-strip-dot", "path-strip-dotdot full", "path-merge-slashes"),
    "STRICT": (
        *("fragment-strip", "percent-to-uppercase strict", "percent-decode-unreserved strict"),
        *("path-merge-slashes", "path-strip-dot", "path-strip-dotdot full"),
    ),
}
_DEFAULTS: Final = """
global
    expose-experimental-directives
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
"""
_FRONTEND: Final = """
frontend {name}
    bind "${{AUTHZ_BIND_{name}}}"
    option accept-invalid-http-request
    http-request set-var(txn.raw) path,hex
{rules}
    http-request return status 200 content-type text/plain lf-string "%[var(txn.raw)] %[path,hex]"
"""
_NGINX: Final = """
keepalive_requests 1000000;
server {{
    listen 127.0.0.1:{0};
    location / {{ return 200 "$uri"; }}
    location /admin {{ return 200 "$uri"; }}
}}
server {{
    listen 127.0.0.1:{1};
    merge_slashes off;
    location / {{ return 200 "$uri"; }}
}}
"""


def answers(port: int, paths: Sequence[bytes]) -> list[bytes | None]:
    """Return the body of the answer to `GET path` for each path; None for one that the server refuses."""
    found: list[bytes | None] = []
    while len(found) < len(paths):
        before = len(found)
        found += _some_answers(port, paths[before : before + _BATCH])
        if len(found) == before:
            found.append(None)  # closed without a word
    return found


def _some_answers(port: int, paths: Sequence[bytes]) -> Iterator[bytes | None]:
    """Ask on one connection, up to the first path that is refused: a server closes behind that."""
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        connection.sendall(b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n" for path in paths))
        with connection.makefile("rb") as stream, contextlib.suppress(ConnectionError):
            for _ in paths:
                status = stream.readline()
                if not status:
                    return
                body = _body(stream)
                if status.split()[1] != b"200":
                    yield None
                    return
                yield body


def _body(stream: BinaryIO) -> bytes:
    size = 0
    while (line := stream.readline()) not in {b"\r\n", b""}:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    return stream.read(size)


def by_haproxy(binary: Path, folder: Path, paths: Sequence[bytes]) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    """Yield, for each way to normalise, the path that the agent is sent → where a server behind finds itself asked."""
    file = folder / "readers.cfg"
    sections = [
        _FRONTEND.format(name=name, rules="\n".join(f"    http-request normalize-uri {rule}" for rule in rules))
        for name, rules in NORMALISERS.items()
    ]
    file.write_text(_DEFAULTS + "".join(sections))
    with HAProxy.started(binary, [file], folder, {}, list(NORMALISERS)) as proxy:
        for name in NORMALISERS:
            rows = (row.split(b" ") for row in answers(proxy.ports[name], paths) if row is not None)
            yield name, {bytes.fromhex(raw.decode()): _served(made) for raw, made in rows}


def _served(made: bytes) -> bytes:
    return unquote_to_bytes(bytes.fromhex(made.decode()))


def by_nginx(folder: Path, paths: Sequence[bytes]) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    """Yield, with and without merged slashes, the path → where nginx would look for it."""
    with running_nginx(folder, _NGINX, 2) as ports:
        for name, port in zip(("nginx", "nginx without merge_slashes"), ports, strict=True):
            found = zip(paths, answers(port, paths), strict=True)
            yield name, {path: served for path, served in found if served is not None}
