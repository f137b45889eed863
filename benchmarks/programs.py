"""The programs that take part: compiled, started on their core, watched, and ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from benchmarks.certificates import Certificates

__all__ = ["AGENT_CORES", "LOAD_CORES", "Agent", "BenchmarkError", "Floor", "Load", "Program", "compile_programs"]

_HERE: Final = Path(__file__).resolve().parent
_CORES: Final = sorted(os.sched_getaffinity(0))
#: What is measured has a core of its own; the load has another, where there is one.
AGENT_CORES: Final = {_CORES[-1]}
LOAD_CORES: Final = {_CORES[0]}

_READY_PATIENCE: Final = 120.0
_END_PATIENCE: Final = 12.0
_LOOK: Final = 0.02
_LOAD_PATIENCE: Final = 30.0  # seconds beyond the measured ones


class BenchmarkError(Exception):
    """Nothing could be measured, or what was measured is not to be trusted."""


def compile_programs(build: Path) -> None:
    """Compile `load` and `floor` into *build*, when they are older than their sources.

    Raises:
        BenchmarkError: there is no C compiler, or it fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkError("no C compiler found; install one (Debian: apt-get install gcc libc6-dev)")
    build.mkdir(parents=True, exist_ok=True)
    sources = [*_HERE.glob("*.c"), *_HERE.glob("*.h")]
    newest = max(source.stat().st_mtime for source in sources)
    for name in ("load", "floor"):
        program = build / name
        if program.exists() and program.stat().st_mtime > newest:
            continue
        command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(_HERE / f"{name}.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stderr}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _READY_PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(_LOOK)
    raise BenchmarkError(f"{process.args!r} does not listen")


class Program:
    """A process on the measured core, ended with `close`."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        cwd: Path | None = None,
        output: Path | None = None,
        cores: Collection[int] = AGENT_CORES,
    ) -> None:
        self.name = name
        self.port = _free_port()
        command = [part.replace("PORT", str(self.port)) for part in command]
        with (output or Path(os.devnull)).open("wb") as errors:
            self.process = subprocess.Popen(command, cwd=cwd, stdout=errors, stderr=errors)
        os.sched_setaffinity(self.process.pid, cores)

    @property
    def address(self) -> str:
        """Where HAProxy would connect."""
        return f"127.0.0.1:{self.port}"

    def pids(self) -> dict[int, str]:
        """Return the processes that belong to it, by what they do."""
        return {self.process.pid: self.name}

    def memory(self) -> dict[str, int]:
        """Return the proportional set size of each process, kB; what processes share is divided among them."""
        return {f"{role} {pid}": _proportional_size(pid) for pid, role in self.pids().items()}

    def close(self) -> None:
        """End it, kindly first."""
        children = [pid for pid in self.pids() if pid != self.process.pid]
        self.process.terminate()
        try:
            self.process.wait(_END_PATIENCE)
        except subprocess.TimeoutExpired:
            for pid in (self.process.pid, *children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            self.process.wait(_END_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Floor(Program):
    """The C agent that answers without judging."""

    def __init__(self, build: Path) -> None:
        super().__init__("floor", [str(build / "floor"), "PORT"])
        _wait_until_listening(self.port, self.process)


class Agent(Program):
    """Our agent as an operator would start it: metrics on, denies logged.

    Args:
        policies: the policy directory.
        home: where its state, decision log and messages go.
        workers: how many.
        cores: where it may run, with all that it starts.
    """

    def __init__(self, policies: Path, home: Path, *, workers: int = 1, cores: Collection[int] = AGENT_CORES) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.policies = policies
        self._admin = _free_port()
        self.messages = home / "messages.log"
        command = [
            *(sys.executable, "-m", "spoa", "serve", "--policies", str(policies), "--listen", "127.0.0.1:PORT"),
            *("--admin", f"127.0.0.1:{self._admin}", "--workers", str(workers), "--state-dir", str(home / "state")),
            *("--decision-log", str(home / "decisions.log"), "--log-allows", "never"),
        ]
        super().__init__("supervisor", command, cwd=_HERE.parent, output=self.messages, cores=cores)
        try:
            self._wait_until_ready()
        except BenchmarkError:
            self.close()
            raise

    def pids(self) -> dict[int, str]:
        """Return the supervisor and its workers."""
        return {self.process.pid: "supervisor", **dict.fromkeys(self.children("spoa.worker"), "worker")}

    def children(self, module: str) -> Iterator[int]:
        """Yield the processes of the agent that run a module."""
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                with contextlib.suppress(OSError):
                    if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                        yield child

    def get(self, path: str) -> Any:
        """Return what the admin address answers, read as JSON.

        Raises:
            BenchmarkError: it answers something else than 200.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise BenchmarkError(f"{path} answers {answer.status}")
        return json.loads(body) if body.startswith(b"{") else body.decode()

    def wait_for_revision(self, before: str, patience: float) -> str:
        """Return the revision that is in use, once it is another one than *before*.

        Raises:
            BenchmarkError: it stays the same for *patience* seconds.
        """
        until = time.monotonic() + patience
        while time.monotonic() < until:
            revision: str = self.get("/status")["revision"]
            if revision != before:
                return revision
            time.sleep(_LOOK)
        raise BenchmarkError(f"the revision stays {before}; see {self.messages}")

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _READY_PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException, BenchmarkError):
                self.get("/readyz")
                return
            time.sleep(_LOOK)
        raise BenchmarkError(f"the agent does not become ready:\n{self.messages.read_text()[-2000:]}")


def _waited() -> float:
    """Return for how many seconds since the start of the machine some process waited for a core, as far as it tells."""
    with contextlib.suppress(OSError):
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1e6
    return 0.0


def _proportional_size(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise BenchmarkError(f"process {pid} does not say how large it is")


@dataclass(frozen=True, slots=True)
class Load:
    """What HAProxy would send: how many connections, frames in flight on each, and which requests.

    With a rate, so many a second; otherwise as fast as answers come.
    """

    build: Path
    certificates: Certificates
    requests: Path
    connections: int
    window: int
    all_arguments: bool = False
    rate: float = 0.0

    def command(self, program: Program, seconds: float, warm_up: float, fresh_first: int, slow_ms: float) -> list[str]:
        """Return the command line against *program*."""
        command = [
            *(str(self.build / "load"), program.address, "--certificates", str(self.certificates.usual)),
            *("--requests", str(self.requests), "-c", str(self.connections), "-w", str(self.window)),
            *("-t", str(seconds), "-u", str(warm_up), "--slow", str(slow_ms)),
        ]
        if self.certificates.fresh_count:
            command += ["--fresh", str(self.certificates.fresh), "--fresh-first", str(fresh_first)]
        command += ["--all-arguments"] if self.all_arguments else []
        command += ["--rate", str(self.rate)] if self.rate else []
        command += ["--any-verdict"] if isinstance(program, Floor) else []
        for pid in program.pids():
            command += ["-p", str(pid)]
        return command

    def start(
        self, program: Program, seconds: float, *, warm_up: float = 0.4, fresh_first: int = 0, slow_ms: float = 20
    ) -> subprocess.Popen[str]:
        """Start the load on its core."""
        command = self.command(program, seconds, warm_up, fresh_first, slow_ms)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        os.sched_setaffinity(process.pid, LOAD_CORES)
        return process

    def finish(self, process: subprocess.Popen[str], program: Program, seconds: float) -> dict[str, Any]:
        """Wait for a load, and return what it measured, with `cpu_us` by what the processes do and in all.

        Raises:
            BenchmarkError: an answer was wrong, lost or late by far.
        """
        roles = program.pids()
        try:
            output, errors = process.communicate(timeout=seconds + _LOAD_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise BenchmarkError(f"the load on {program.name} does not end") from None
        if process.returncode:
            raise BenchmarkError(f"the load on {program.name} saw errors: {errors}{output}")
        found: dict[str, Any] = json.loads(output)
        by_role: dict[str, float] = {}
        for pid, spent in found["cpu_us"].items():
            role = roles.get(int(pid), "worker")
            by_role[role] = by_role.get(role, 0.0) + spent
        found["cpu_us"] = {**by_role, "all": sum(by_role.values())}
        return found

    def meet(self, program: Program, count: int) -> dict[str, Any]:
        """Send each of *count* requests once, few at a time, so that what is new to the agent is new no longer."""
        command = [*self.command(program, 120, 0, 0, 20), "--count", str(count)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        os.sched_setaffinity(process.pid, LOAD_CORES)
        return self.finish(process, program, 120)

    def run(self, program: Program, seconds: float, *, warm_up: float = 0.4, fresh_first: int = 0) -> dict[str, Any]:
        """Run the load and return what it measured (see `finish`), and how `disturbed` it was.

        That is the share of the time in which some process on the machine, whoever's, waited for a core.
        """
        began, waited = time.monotonic(), _waited()
        process = self.start(program, seconds, warm_up=warm_up, fresh_first=fresh_first)
        found = self.finish(process, program, seconds)
        return {**found, "disturbed": (_waited() - waited) / (time.monotonic() - began)}
