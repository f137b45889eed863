"""The loads: what plays HAProxy towards an agent, and what plays clients towards HAProxy."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from benchmarks.programs import LOAD_CORES, BenchmarkError, Floor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.certificates import Certificates
    from benchmarks.programs import Program

__all__ = ["Disturbance", "HttpsLoad", "Load", "finish", "stolen"]

_PATIENCE: Final = 30.0  # seconds beyond the measured ones


def _waited() -> float:
    """Return for how many seconds since the start of the machine some process waited for a core, as far as it tells."""
    with contextlib.suppress(OSError):
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1e6
    return 0.0


def stolen(stat: Path = Path("/proc/stat")) -> float:
    """Return for how many seconds since the start of the machine its host kept a core from it, in the mean of cores."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(stat.read_text().split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)
    return 0.0


class Disturbance:
    """The `share` of a time in which some process on the machine waited for a core, or the machine itself for one."""

    def __enter__(self) -> Self:
        self.share = 0.0
        self._began, self._waited = time.monotonic(), _waited() + stolen()
        return self

    def __exit__(self, *_: object) -> None:
        self.share = (_waited() + stolen() - self._waited) / (time.monotonic() - self._began)


def _start(command: list[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.sched_setaffinity(process.pid, LOAD_CORES)
    return process


def finish(process: subprocess.Popen[str], roles: Mapping[int, str], name: str, seconds: float) -> dict[str, Any]:
    """Wait for a load, and return what it measured, with `cpu_us` by what the processes do and in all.

    Args:
        process: the load.
        roles: what each watched process does.
        name: of what is measured.
        seconds: for how long it sends.

    Raises:
        BenchmarkError: an answer was wrong, lost or late by far.
    """
    try:
        output, errors = process.communicate(timeout=seconds + _PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise BenchmarkError(f"the load on {name} does not end") from None
    if process.returncode:
        raise BenchmarkError(f"the load on {name} saw errors: {errors}{output}")
    found: dict[str, Any] = json.loads(output)
    by_role: dict[str, float] = {}
    for pid, spent in found["cpu_us"].items():
        role = roles.get(int(pid), "worker")
        by_role[role] = by_role.get(role, 0.0) + spent
    found["cpu_us"] = {**by_role, "all": sum(by_role.values())}
    return found


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
        return _start(self.command(program, seconds, warm_up, fresh_first, slow_ms))

    def finish(self, process: subprocess.Popen[str], program: Program, seconds: float) -> dict[str, Any]:
        """Wait for a load, and return what it measured; see `finish`."""
        return finish(process, program.pids(), program.name, seconds)

    def meet(self, program: Program, count: int, seconds: float = 120) -> dict[str, Any]:
        """Send each of *count* requests once, few at a time, so that what is new to the agent is new no longer."""
        command = [*self.command(program, seconds, 0, 0, 20), "--count", str(count)]
        return self.finish(_start(command), program, seconds)

    def run(self, program: Program, seconds: float, *, warm_up: float = 0.4, fresh_first: int = 0) -> dict[str, Any]:
        """Run the load and return what it measured (see `finish`), and how `disturbed` it was."""
        with Disturbance() as disturbance:
            process = self.start(program, seconds, warm_up=warm_up, fresh_first=fresh_first)
            found = self.finish(process, program, seconds)
        return {**found, "disturbed": disturbance.share}


@dataclass(frozen=True, slots=True)
class HttpsLoad:
    """Clients of HAProxy, each with a certificate of its own: as fast as answers come, or so many requests a second.

    Attributes:
        expect: the status of every answer, where HAProxy judges nothing; else the file of requests tells.
    """

    build: Path
    certificates: Certificates
    requests: Path
    connections: int
    rate: float = 0.0

    def run(
        self, programs: Sequence[Program], seconds: float, *, warm_up: float = 0.4, expect: int = 0
    ) -> dict[str, Any]:
        """Send requests to the first of the programs and return what was measured (see `finish`).

        Args:
            programs: HAProxy, and the agent that it asks; the CPU time of all is counted.
            seconds: that are measured.
            warm_up: seconds before.
            expect: the status of every answer, where nobody judges; 0: what the file of requests tells.
        """
        command = [
            *(str(self.build / "https"), str(programs[0].port), "--certificates", str(self.certificates.usual)),
            *("--key", str(self.certificates.key), "--requests", str(self.requests), "-c", str(self.connections)),
            *("-t", str(seconds), "-u", str(warm_up)),
        ]
        command += ["--rate", str(self.rate)] if self.rate else []
        command += ["--expect", str(expect)] if expect else []
        roles = {pid: role for program in programs for pid, role in program.pids().items()}
        for pid in roles:
            command += ["-p", str(pid)]
        with Disturbance() as disturbance:
            found = finish(_start(command), roles, programs[-1].name, seconds)
        return {**found, "disturbed": disturbance.share}
