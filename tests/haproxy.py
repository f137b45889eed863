"""A real HAProxy for a test: on configuration files as they are shipped, in a folder of its own, on ports of its own.

    with HAProxy.started(binary, [HAPROXY / "haproxy.cfg"], folder, {"AUTHZ_SERVER_CERT": ...}, ["MTLS"]) as proxy:
        connect(proxy.ports["MTLS"])

Each port named becomes `AUTHZ_BIND_<NAME>=fd@N`: a socket bound here and handed over, so that no two tests can meet on
a port. HAProxy's log goes to `proxy.log()`.
"""

from __future__ import annotations

import csv
import io
import os
import re
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["CONFIGURATION", "HAProxy", "wait_until"]

CONFIGURATION: Final = Path(__file__).parent.parent / "haproxy"

SECONDS_TO_START: Final = 15
SECONDS_TO_STOP: Final = 5
SECONDS_BETWEEN_LOOKS: Final = 0.02


def wait_until(condition: Callable[[], object], seconds: float, what: str, report: Callable[[], str] = str) -> float:
    """Wait for a state of another process, which has no event to wait for; return the seconds it took.

    Raises:
        AssertionError: it did not come about in time; the message ends with `report()`.
    """
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise AssertionError(f"waited {seconds} s in vain: {what}\n{report()}")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return time.monotonic() - begin


def is_listening(port: int) -> bool:
    """Say whether a connection to a port of this machine is accepted."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass
class HAProxy:
    """A running HAProxy.

    Attributes:
        ports: the name of each bind → its TCP port.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    ports: Mapping[str, int]
    _reported: int = field(default=0, init=False)

    @classmethod
    @contextmanager
    def started(
        cls,
        binary: Path,
        files: Sequence[Path],
        folder: Path,
        environment: Mapping[str, str],
        binds: Sequence[str],
    ) -> Iterator[HAProxy]:
        """Start HAProxy, wait until every port accepts, and stop it at the end; its log is printed then.

        Args:
            binary: from `haproxy_builds`.
            files: configuration files, in order; a last one adds the socket for `ask`.
            folder: for that file, the socket and the log.
            environment: variables that the files expand.
            binds: names, each of which becomes a port.

        Raises:
            AssertionError: it did not start; the message holds its log and configuration.
        """
        # A socket that an earlier HAProxy left in the same folder would pass for the new one's.
        (folder / "admin.sock").unlink(missing_ok=True)
        rig = folder / "rig.cfg"
        rig.write_text(f"global\n    stats socket {folder}/admin.sock mode 600 level admin\n")
        with ExitStack() as stack:
            sockets = {name: stack.enter_context(socket.socket()) for name in binds}
            for listener in sockets.values():
                listener.bind(("127.0.0.1", 0))
            variables = {
                "AUTHZ_UNPRIVILEGED": "1",
                "AUTHZ_LOG": "stdout",
                "AUTHZ_STATS_SOCKET": f"{folder}/shipped.sock",
                **{f"AUTHZ_BIND_{name}": f"fd@{listener.fileno()}" for name, listener in sockets.items()},
            }
            words = [str(binary), "-db", *(word for file in [*files, rig] for word in ("-f", str(file)))]
            process = subprocess.Popen(
                words,
                env={**os.environ, **variables, **environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context((folder / "haproxy.log").open("wb")),
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno() for listener in sockets.values()],
            )
            proxy = cls(process, folder, {name: listener.getsockname()[1] for name, listener in sockets.items()})
        try:
            wait_until(proxy._is_up, SECONDS_TO_START, "HAProxy accepts connections", proxy.report)
            yield proxy
        finally:
            proxy.stop()
            proxy.print_news()

    def _is_up(self) -> bool:
        assert self.process.poll() is None, f"HAProxy ended with {self.process.returncode}\n{self.report()}"
        try:
            is_answering = bool(self.ask("show info"))
        except OSError:  # the socket's file is not there yet, or nobody listens on it yet
            return False
        return is_answering and all(is_listening(port) for port in self.ports.values())

    def stop(self) -> None:
        """End the process, hard if it does not comply."""
        self.process.terminate()
        try:
            self.process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(SECONDS_TO_STOP)

    def log(self) -> str:
        """Return what HAProxy has logged and printed until now."""
        return (self.folder / "haproxy.log").read_text(errors="replace")

    def report(self) -> str:
        """Return the command and the log, for a test that failed."""
        return f"$ {' '.join(map(str, self.process.args))}\n{self.log()}"  # type: ignore[arg-type]  # a list, as we gave it

    def print_news(self) -> None:
        """Print what the log has got since the last time; pytest shows it where a test failed."""
        log = self.log()
        print(log[self._reported :])  # noqa: T201  # for whoever reads the failure
        self._reported = len(log)

    def wait_for_log(self, pattern: str, seconds: float = 5) -> str:
        """Wait for a line that contains a regular expression, and return the newest such line."""
        expression = re.compile(pattern)

        def found() -> list[str]:
            return [line for line in self.log().splitlines() if expression.search(line)]

        wait_until(found, seconds, f"a log line with {pattern!r}", self.report)
        return found()[-1]

    def ask(self, command: str) -> str:
        """Send a command to the runtime API and return its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(f"{self.folder}/admin.sock")
            connection.sendall(command.encode() + b"\n")
            with suppress(ConnectionResetError):
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return ""

    def worker(self) -> int:
        """Return the process id of whoever answers the runtime API; 0 while nobody does."""
        try:
            found = re.search(r"^Pid: (\d+)$", self.ask("show info"), re.MULTILINE)
        except OSError:
            return 0
        return int(found.group(1)) if found else 0

    def server_status(self, backend: str, server: str) -> str:
        """Return what HAProxy thinks of a server: `UP`, `DOWN`, `UP 1/2`, …"""
        table = csv.DictReader(io.StringIO(self.ask("show stat").removeprefix("# ")))
        return next(row["status"] for row in table if (row["pxname"], row["svname"]) == (backend, server))

    def wait_for_agent(self, status: str = "UP", seconds: float = 5) -> float:
        """Wait until the health check has seen the agent come or go; return the seconds it took."""

        def seen() -> bool:
            return self.server_status("authz-agents", "agent1") == status

        return wait_until(seen, seconds, f"agent1 is {status}", self.report)
