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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = [
    "AGENT_CORES",
    "LOAD_CORES",
    "Agent",
    "BenchmarkError",
    "Floor",
    "Program",
    "compile_programs",
    "wait_until_listening",
]

_HERE: Final = Path(__file__).resolve().parent
_CORES: Final = sorted(os.sched_getaffinity(0))
#: What is measured has a core of its own; the load has another, where there is one.
AGENT_CORES: Final = {_CORES[-1]}
LOAD_CORES: Final = {_CORES[0]}

_READY_PATIENCE: Final = 120.0
_END_PATIENCE: Final = 12.0
_LOOK: Final = 0.02
#: What a program is linked with; all that isn't named is compiled alone.
_LIBRARIES: Final = {"https": ("-Wno-unused-function", "-lssl", "-lcrypto")}


class BenchmarkError(Exception):
    """Nothing could be measured, or what was measured is not to be trusted."""


def compile_programs(build: Path, names: tuple[str, ...] = ("load", "floor")) -> None:
    """Compile C programs into *build*, when they are older than their sources.

    Raises:
        BenchmarkError: there is no C compiler, or it fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkError("no C compiler found; install one (Debian: apt-get install gcc libc6-dev)")
    build.mkdir(parents=True, exist_ok=True)
    sources = [*_HERE.glob("*.c"), *_HERE.glob("*.h")]
    newest = max(source.stat().st_mtime for source in sources)
    for name in names:
        program = build / name
        if program.exists() and program.stat().st_mtime > newest:
            continue
        command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(_HERE / f"{name}.c")]
        command += _LIBRARIES.get(name, ())
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            hint = "\n(Debian: apt-get install libssl-dev)" if "openssl/" in done.stderr else ""
            raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stderr}{hint}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process accepts connections on a port of this machine."""
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
            environment = {**os.environ, "BENCH_PORT": str(self.port)}  # for configuration files that can read it
            self.process = subprocess.Popen(command, cwd=cwd, stdout=errors, stderr=errors, env=environment)
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
    """The C agent that answers without judging: with the verdict alone, or with more of the nine variables.

    Args:
        build: where it was compiled.
        variables: how many it sets.
        gathers: it interrupts nobody, ever; our agent doesn't where it is busy.
    """

    def __init__(self, build: Path, *, variables: int = 1, gathers: bool = False) -> None:
        super().__init__("floor", [str(build / "floor"), "PORT", str(variables)])
        try:
            if gathers:
                os.sched_setscheduler(self.process.pid, os.SCHED_BATCH, os.sched_param(0))
            wait_until_listening(self.port, self.process)
        except BaseException:
            self.close()
            raise


class Agent(Program):
    """Our agent as an operator would start it: metrics on, denies logged.

    Args:
        policies: the policy directory.
        home: where its state, decision log and messages go.
        workers: how many.
        cores: where it may run, with all that it starts.
        tree: the directory whose `spoa` is run.
        options: of `serve`, beside the usual.
    """

    def __init__(
        self,
        policies: Path,
        home: Path,
        *,
        workers: int = 1,
        cores: Collection[int] = AGENT_CORES,
        tree: Path = _HERE.parent,
        options: tuple[str, ...] = (),
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.policies = policies
        self._admin = _free_port()
        self.messages = home / "messages.log"
        self.log = home / "decisions.log"
        self.state = home / "state"
        command = [
            *(sys.executable, "-m", "spoa", "serve", "--policies", str(policies), "--listen", "127.0.0.1:PORT"),
            *("--admin", f"127.0.0.1:{self._admin}", "--workers", str(workers), "--state-dir", str(self.state)),
            *("--decision-log", str(self.log), "--log-allows", "never", *options),
        ]
        super().__init__("supervisor", command, cwd=tree, output=self.messages, cores=cores)
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


def _proportional_size(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise BenchmarkError(f"process {pid} does not say how large it is")
