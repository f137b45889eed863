"""The real agent as a process, for tests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.haproxy import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Agent"]

#: A bound for machines that do much else; nothing is promised by it.
SECONDS_TO_START: Final = 90
SECONDS_TO_STOP: Final = 10


class _AdminConnection(http.client.HTTPConnection):
    """HTTP over the agent's unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Agent:
    """`spoa-authz serve` on a policy directory.

    Attributes:
        policies: the policy directory; edits take effect by themselves.
        address: where HAProxy finds it; the same after `kill` and `start`.
    """

    def __init__(self, policies: Path, folder: Path, *options: str) -> None:
        self.policies = policies
        self.folder = folder
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"

    @classmethod
    @contextmanager
    def running(cls, policies: Path, folder: Path, *options: str) -> Iterator[Agent]:
        """Start the agent, wait until it is ready, and end it with the block; its log is printed then."""
        agent = cls(policies, folder, *options)
        try:
            agent.start()
            agent.wait_until_ready()
            yield agent
        finally:
            agent.stop()
            print(agent.log())  # noqa: T201  # pytest shows it where the test failed

    def start(self) -> None:
        """Start the process; it stays in the group of the tests, so that whatever ends those ends it."""
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "spoa", "serve", "--policies", str(self.policies)),
                    *("--listen", self.address, "--admin", f"unix:{self.folder}/agent.sock"),
                    *("--state-dir", str(self.folder / "state"), "--decision-log", str(self.folder / "decisions.log")),
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def wait_until_ready(self) -> float:
        """Wait until a policy is active and all workers serve; return the seconds it took."""
        return wait_until(self._is_ready, SECONDS_TO_START, "the agent is ready", self.log)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the agent ended with {self.process.returncode}\n{self.log()}"
        try:
            return self.ask("/readyz")[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the agent and its workers."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        assert self.process is not None
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [self.process.pid, *map(int, Path(children).read_text().split())]

    def kill(self) -> None:
        """Kill the agent and its workers at once."""
        assert self.process is not None
        self.signal(signal.SIGKILL)
        self.process.wait(SECONDS_TO_STOP)

    def stop(self) -> None:
        """End the process as systemd does."""
        if self.process is None or self.process.poll() is not None:
            return
        self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.kill()

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Ask the admin address; return status and body."""
        connection = _AdminConnection(self.folder / "agent.sock")
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """Return `/status`."""
        return dict(json.loads(self.ask("/status")[1]))

    def revision(self) -> str:
        """Return the revision of the active policy."""
        return str(self.status()["revision"])

    def metric(self, name: str) -> float:
        """Return the value of a metric that has no labels."""
        lines = self.ask("/metrics")[1].decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"spoa_authz_{name} "))

    def workers(self) -> list[int]:
        """Return the process ids of the workers that serve."""
        return [worker["pid"] for worker in self.status()["workers"] if worker["serving"]]

    def wait_for_worker_after(self, dead: int, seconds: float = 20) -> float:
        """Wait until all workers serve and this one is none of them; return the seconds it took."""

        def replaced() -> bool:
            status = self.status()
            return status["ready"] and dead not in [worker["pid"] for worker in status["workers"]]

        return wait_until(replaced, seconds, f"worker {dead} is replaced", self.log)

    def wait_for_change(self, revision: str, seconds: float = 60) -> float:
        """Wait until another revision than this one is active; return the seconds it took."""
        return wait_until(lambda: self.revision() != revision, seconds, f"a revision after {revision}", self.log)

    def adopt(self, files: Mapping[str, bytes]) -> None:
        """Put other files into the policy directory, and wait until the agent goes by them.

        In an order in which each step leaves a policy that is valid: what it refers to comes first and goes last.
        """
        before = {str(path.relative_to(self.policies)): path.read_bytes() for path in _files(self.policies)}
        if before == files:
            return
        revision = self.revision()
        for name in sorted(files, key=lambda name: name == "policy.yaml"):
            path = self.policies / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.new").write_bytes(files[name])
            path.with_name(f".{path.name}.new").replace(path)
        self.wait_for_change(revision)
        for name in before.keys() - files.keys():
            (self.policies / name).unlink()

    def run(self, verb: str, *words: str) -> str:
        """Run another verb of the command with this agent's state directory, and return what it prints."""
        command = [sys.executable, "-m", "spoa", verb, *words, "--state-dir", str(self.folder / "state")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_START, check=False)
        assert done.returncode == 0, f"{verb} ended with {done.returncode}\n{done.stderr}"
        return done.stdout

    def decisions(self) -> list[dict[str, Any]]:
        """Return what the decision log holds."""
        path = self.folder / "decisions.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self) -> str:
        """Return what the agent has logged."""
        return (self.folder / "agent.log").read_text(errors="replace")


def _files(directory: Path) -> Iterable[Path]:
    return (path for path in directory.rglob("*") if path.is_file())
