"""Jobs that are done in processes of their own, each forked off one that has imported what such jobs need.

What waits for orders imports once and stays as it was, so a job begins at once however soon it follows another, and all
that it takes is given back when it ends. An order is one line of JSON on the standard input of what waits, a report one
line on its standard output. The end of the input ends it when the job that it may have is done, and so does the end of
whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spoa.sdprotocol import VARIABLES

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Workshop", "child_environment", "serve_jobs"]

_MAX_REPORT: Final = 64 << 20
#: By how much a child is nicer than whoever started it.
_NICER: Final = 3


def child_environment() -> dict[str, str]:
    """Return the environment in which a child process finds this very package, wherever the agent was started.

    What the service manager says there is for the agent's first process only.
    """
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    root = str(Path(__file__).resolve().parent.parent)
    if not root.endswith("-packages"):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return environment


def serve_jobs(work: Callable[[dict[str, Any]], Mapping[str, Any]]) -> int:
    """Do the jobs that come in, one after the other, each in a process forked for it; return the exit status.

    The first process that ends without a report ends it all, with its own status, or 128 more than the number of the
    signal that ended it: whoever waits for the report learns of it.

    Args:
        work: from a job to its report.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the supervisor's to act on
    reports = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing that is printed is taken for a report
    gc.freeze()  # no collection in a process that was forked unshares what is imported
    while order := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            _do(work, order, reports)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 0:
            return status if status > 0 else 128 - status
    return 0


def _do(work: Callable[[dict[str, Any]], Mapping[str, Any]], order: str, reports: int) -> None:
    """Do one job as the process forked for it, and end."""
    status = 1
    try:
        line = json.dumps(work(json.loads(order))).encode() + b"\n"
        with os.fdopen(reports, "wb") as file:
            file.write(line)
        status = 0
    except BaseException:  # noqa: BLE001 -- whatever it is, it must not go on as what it was forked off
        traceback.print_exc()
    finally:
        os._exit(status)


class Workshop:
    """Has jobs done one after the other, by a module that calls `serve_jobs`; started when it is first needed.

    Args:
        arguments: what Python is started with.
        what: names the process in reports, with its article.
    """

    def __init__(self, arguments: Sequence[str], what: str) -> None:
        self._arguments = arguments
        self._what = what
        self._process: Process | None = None
        self._is_closed = False
        self._lock = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process that waits for orders, or None."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def prepare(self) -> None:
        """Have it wait for the next job, which is then done sooner by the time that its imports take."""
        async with self._lock:
            if not self._is_closed:
                await self._started()

    async def run(self, job: Mapping[str, Any], patience: float) -> dict[str, Any]:
        """Run a job, after those that were given before, and return its report.

        What went wrong with the process itself is reported as `error`; the next job finds a new one.

        Args:
            job: it, as JSON can say it.
            patience: seconds after which it is given up, and whatever does it killed.
        """
        async with self._lock:
            if self._is_closed:
                return {"error": f"{self._what} has ended, and so has the agent"}
            process = await self._started()
            try:
                async with asyncio.timeout(patience):
                    report = await self._reported(process, job)
            except TimeoutError:
                await self._end()
                return {"error": f"{self._what} took longer than {patience:g} s"}
            except _NoReportError as error:
                await self._end()
                return {"error": str(error)}
            except BaseException:
                await self._end()
                raise
            return report

    async def close(self) -> None:
        """End what waits for orders, and what is being done; nothing is done any more."""
        self._is_closed = True
        if self._process is not None:
            _kill(self._process)
        async with self._lock:
            await self._end()

    async def _reported(self, process: Process, job: Mapping[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(ConnectionError):  # it has ended, which the absence of a report tells
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
        try:
            line = await process.stdout.readline()
            report = json.loads(line) if line else None
        except ValueError as error:
            raise _NoReportError(f"the report of {self._what} is none") from error
        if not line:
            raise _NoReportError(f"{self._what} ended with status {await process.wait()} and no report")
        if not isinstance(report, dict):
            raise _NoReportError(f"the report of {self._what} is none")
        return report

    async def _started(self) -> Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(),
            limit=_MAX_REPORT,
            # A group by which what was forked is ended, too. Not a session: where the kernel shares out the cores by
            # sessions, its priority would count among its like only.
            process_group=0,
        )
        # The workers answer requests meanwhile, also while it imports what it needs.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            await process.communicate()
            threading.Thread(target=_reap, args=(process.pid,), name="reaper", daemon=True).start()


class _NoReportError(Exception):
    """No report came, and why."""


def _kill(process: Process) -> None:
    """End a process together with what was forked off it, whatever they do."""
    # Whoever still holds its output belongs to its group, whose number is nobody else's as long as it has a member.
    if process.returncode is None or (process.stdout is not None and not process.stdout.at_eof()):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _reap(group: int) -> None:
    """Take note of the end of what was forked, where orphans are left to this process, as in a container."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)
