"""nginx, from a Debian package, run in place under the package's own loader and libraries."""

from __future__ import annotations

import functools
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.debian_packages import unpacked
from tests.haproxy import is_listening, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["nginx_command", "running_nginx"]

SUITE: Final = "bookworm"
SECONDS: Final = 20


@functools.cache
def nginx_command() -> Sequence[str]:
    """Return the words that begin a command line of nginx, fetching it once if need be."""
    home = unpacked(f"nginx-{SUITE}", lambda apt: apt.with_libraries(["nginx"], SUITE), [SUITE])
    loader = next(path for path in sorted(home.rglob("ld-linux*.so.*")) if path.is_file())
    places = sorted({str(path.parent) for path in home.rglob("lib*.so.*") if "share" not in path.parts})
    return [str(loader), "--library-path", ":".join(places), str(home / "usr" / "sbin" / "nginx")]


@contextmanager
def running_nginx(folder: Path, http: str, ports: int) -> Iterator[list[int]]:
    """Run nginx on a configuration of its `http` section, in which `{0}`, `{1}`, … are free ports; yield these."""
    with _free_ports(ports) as found:
        pass
    listening = http.format(*found)
    lines = ["daemon off;", "worker_processes 1;", f"error_log {folder}/error.log;", f"pid {folder}/pid;"]
    lines += ["events { worker_connections 64; }", "http {", "access_log off;"]
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines += [f"{path}_temp_path {folder}/{path};" for path in paths]
    configuration = folder / "nginx.conf"
    configuration.write_text("\n".join([*lines, listening, "}"]) + "\n")
    command = [*nginx_command(), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)]
    with (folder / "nginx.out").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        wait_until(
            lambda: process.poll() is not None or all(map(is_listening, found)),
            SECONDS,
            "nginx listens",
            lambda: (folder / "nginx.out").read_text() + (folder / "error.log").read_text(),
        )
        assert process.poll() is None, (folder / "nginx.out").read_text()
        yield found
    finally:
        process.terminate()
        process.wait(SECONDS)


@contextmanager
def _free_ports(count: int) -> Iterator[list[int]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        yield [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
