"""Child processes that do one job each: started ahead, so that their imports are done when the job comes.

A job is one line of JSON on the child's standard input, its report one line of JSON on its standard output. The end of
its input ends the child, and so does the end of whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from spoa.sdprotocol import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Job", "child_environment", "do_job"]

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


def do_job(
    work: Callable[[dict[str, Any]], Mapping[str, Any]], jobs: IO[str] | None = None, answers: IO[str] | None = None
) -> Mapping[str, Any] | None:
    """Do the one job that comes in, as the child, and return its report; None where no job comes.

    Args:
        work: from the job to its report.
        jobs: where it comes from; the standard input.
        answers: where the report goes; the standard output.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's to act on
    line = (jobs or sys.stdin).readline()
    if not line:
        return None
    report = work(json.loads(line))
    print(json.dumps(report), file=answers or sys.stdout, flush=True)
    return report


@dataclass(slots=True)
class Job:
    """A child process that has started and waits for its job."""

    process: asyncio.subprocess.Process
    what: str

    @classmethod
    async def start(cls, arguments: Sequence[str], what: str) -> Self:
        """Start Python with these arguments; `what` names the process in reports, with its article."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(),
            limit=_MAX_REPORT,
        )
        # The workers answer requests meanwhile, also while it imports what it needs.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        return cls(process, what)

    @property
    def is_alive(self) -> bool:
        """It can still be given its job."""
        return self.process.returncode is None

    async def run(self, job: dict[str, Any], patience: float) -> dict[str, Any]:
        """Run the job and return the report; what went wrong with the process itself is reported as `error`."""
        try:
            output, _ = await asyncio.wait_for(self.process.communicate(json.dumps(job).encode() + b"\n"), patience)
        except TimeoutError:
            await self.end()
            return {"error": f"{self.what} took longer than {patience:g} s"}
        except asyncio.CancelledError:
            await self.end()
            raise
        try:
            report = json.loads(output)
        except ValueError:
            return {"error": f"{self.what} ended with status {self.process.returncode} and no report"}
        return report if isinstance(report, dict) else {"error": f"the report of {self.what} is none"}

    async def end(self) -> None:
        """End the process, whatever it does."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.communicate()
