"""Each job is done in a process of its own that is forked for it, or the report says why not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import spoa.jobs
from spoa.jobs import Workshop, child_environment
from spoa.sdprotocol import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: What a child does: whatever its job says, as Python.
CHILD = """\
import os, signal, sys, time
from spoa.jobs import serve_jobs

imported = time.monotonic_ns()
done = 0

def work(job):
    global done
    done += 1
    return eval(job["do"])

sys.exit(serve_jobs(work))
"""


def in_workshop(scenario: Callable[[Workshop], Awaitable[None]], code: str = CHILD) -> None:
    async def run() -> None:
        workshop = Workshop(("-c", code), "the child")
        try:
            await scenario(workshop)
        finally:
            await workshop.close()
        assert workshop.pid is None

    asyncio.run(run())


async def done(workshop: Workshop, expression: str, patience: float = 30) -> dict[str, Any]:
    return await workshop.run({"do": expression}, patience)


def test_each_job_is_done_in_a_process_of_its_own_and_none_imports_anew() -> None:
    async def scenario(workshop: Workshop) -> None:
        await workshop.prepare()
        expression = "{'pid': os.getpid(), 'parent': os.getppid(), 'imported': imported, 'done': done}"
        reports = [await done(workshop, expression) for _ in range(3)]
        assert len({report["pid"] for report in reports}) == 3
        assert {report["parent"] for report in reports} == {workshop.pid}
        assert len({report["imported"] for report in reports}) == 1
        assert {report["done"] for report in reports} == {1}, "what a job changes ends with it"

    in_workshop(scenario)


def test_jobs_that_are_given_at_once_are_done_one_after_the_other() -> None:
    async def scenario(workshop: Workshop) -> None:
        expression = "{'from': time.monotonic(), 'to': (time.sleep(0.01), time.monotonic())[1]}"
        reports = await asyncio.gather(*(done(workshop, expression) for _ in range(4)))
        assert all(one["to"] <= other["from"] for one, other in pairwise(reports))

    in_workshop(scenario)


def test_a_child_leaves_the_core_to_the_workers_and_ctrl_c_to_the_supervisor() -> None:
    """By its priority, which counts within a session only where the kernel shares out the cores by sessions."""

    async def scenario(workshop: Workshop) -> None:
        report = await done(
            workshop,
            "{'at': os.getpriority(0, 0), 'session': os.getsid(0), 'group': os.getpgid(0),"
            " 'deaf': signal.getsignal(signal.SIGINT) == signal.SIG_IGN}",
        )
        assert report == {
            "at": min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3),
            "session": os.getsid(0),
            "group": workshop.pid,
            "deaf": True,
        }

    in_workshop(scenario)


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("1 / 0", "the child ended with status 1 and no report"),
        ("os._exit(9)", "the child ended with status 9 and no report"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the child ended with status 139 and no report"),
        ("os.kill(os.getppid(), signal.SIGKILL) or os._exit(0)", "the child ended with status -9 and no report"),
        ("None", "the report of the child is none"),
        ("[1]", "the report of the child is none"),
        ("{'long': 'x' * 200_000}", "the report of the child is none"),
        ("time.sleep(60)", "the child took longer than 1 s"),
        ("os.kill(os.getppid(), signal.SIGKILL) or time.sleep(60)", "the child took longer than 1 s"),
    ],
)
def test_a_job_whose_process_dies_talks_nonsense_or_hangs_is_reported_and_the_next_is_done(
    expression: str, error: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spoa.jobs, "_MAX_REPORT", 1 << 16)

    async def scenario(workshop: Workshop) -> None:
        assert await done(workshop, "{}") == {}, "its imports are done"
        began = time.monotonic()
        assert await done(workshop, expression, 1 if "sleep" in expression else 30) == {"error": error}
        assert time.monotonic() - began < 30
        assert await done(workshop, "{'fine': True}") == {"fine": True}

    in_workshop(scenario)
    assert ("ZeroDivisionError" in capfd.readouterr().err) == (expression == "1 / 0")


def test_what_a_job_prints_is_no_report_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario(workshop: Workshop) -> None:
        assert await done(workshop, "print('{}', flush=True) or {'number': 1}") == {"number": 1}
        assert await done(workshop, "os.write(1, b'{}') and {'number': 2}") == {"number": 2}

    in_workshop(scenario)
    assert capfd.readouterr().err == "{}\n{}"


def test_an_error_that_a_job_reports_itself_ends_nothing() -> None:
    async def scenario(workshop: Workshop) -> None:
        assert await done(workshop, "{'error': 'the disk is full'}") == {"error": "the disk is full"}
        before = workshop.pid
        assert before is not None
        await done(workshop, "{}")
        assert workshop.pid == before

    in_workshop(scenario)


def test_one_that_can_not_be_started_or_died_while_it_waited_is_reported_or_replaced() -> None:
    async def nothing(workshop: Workshop) -> None:
        assert await workshop.run({}, 30) == {"error": "the child ended with status 0 and no report"}

    in_workshop(nothing, "pass")

    async def scenario(workshop: Workshop) -> None:
        await workshop.prepare()
        before = workshop._process
        assert before is not None
        before.kill()
        await before.wait()
        assert workshop.pid is None
        assert await done(workshop, "{}") == {}

    in_workshop(scenario)


def test_nothing_is_started_for_an_agent_that_ends() -> None:
    async def scenario(workshop: Workshop) -> None:
        await workshop.close()
        await workshop.prepare()
        assert workshop.pid is None
        assert await done(workshop, "{}") == {"error": "the child has ended, and so has the agent"}
        assert workshop.pid is None

    in_workshop(scenario)


#: An agent as the first process of a container is: what loses its parent becomes its child.
FIRST_PROCESS = """\
import asyncio, ctypes, pathlib, sys, threading
from spoa.jobs import Workshop

assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER

async def run():
    workshop = Workshop(("-c", sys.argv[1]), "the child")
    await workshop.run({"do": "{}"}, 60)
    await workshop.run({"do": "os.kill(os.getppid(), signal.SIGKILL) or time.sleep(60)"}, 0.5)
    await workshop.close()

asyncio.run(run())
for thread in threading.enumerate():
    if thread.name == "reaper":
        thread.join(30)
print(pathlib.Path("/proc/thread-self/children").read_text().split())
"""


def test_what_was_given_up_leaves_no_zombie_where_the_agent_is_the_first_process() -> None:
    command = [sys.executable, "-c", FIRST_PROCESS, CHILD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True, env=child_environment())
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_a_job_that_is_given_up_ends_what_does_it(how: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    async def scenario(workshop: Workshop) -> None:
        running = asyncio.create_task(done(workshop, f"open({str(fifo)!r}, 'w') and time.sleep(60)"))
        with await asyncio.to_thread(fifo.open) as open_while_the_job_is_done:
            if how == "cancelled":
                running.cancel()
            else:
                await workshop.close()
            await asyncio.wait([running])
            assert await asyncio.to_thread(open_while_the_job_is_done.read) == ""
        assert running.cancelled() == (how == "cancelled")

    in_workshop(scenario)


def test_a_child_finds_this_package_wherever_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/else")
    assert child_environment()["PYTHONPATH"].split(os.pathsep) == [str(Path(spoa.__file__).parent.parent), "/else"]
    monkeypatch.setattr(spoa.jobs, "__file__", str(Path(sys.prefix, "lib/site-packages/spoa/jobs.py")))
    assert child_environment()["PYTHONPATH"] == "/else"


def test_a_child_is_not_told_what_the_service_manager_tells_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    assert not set(VARIABLES) & set(child_environment())
