"""A child process does its one job, or the report says why not."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import spoa.jobs
from spoa.jobs import Job, child_environment, do_job
from spoa.sdprotocol import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(code: str, patience: float = 30) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        job = await Job.start(("-c", code), "the child")
        assert job.is_alive
        report = await job.run({"text": "said"}, patience)
        assert not job.is_alive
        await job.end()
        return report

    return asyncio.run(run())


def test_the_report_is_what_the_child_answers() -> None:
    assert run("print(input())") == {"text": "said"}


def test_a_child_leaves_the_core_to_the_workers_before_it_gets_its_job() -> None:
    report = run("import json, os; input(); print(json.dumps({'at': os.getpriority(os.PRIO_PROCESS, 0)}))")
    assert report == {"at": min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)}


def test_a_child_that_dies_talks_nonsense_or_hangs_is_reported() -> None:
    assert run("input(); raise SystemExit(9)") == {"error": "the child ended with status 9 and no report"}
    assert run("input(); print([1])") == {"error": "the report of the child is none"}
    assert run("import time; time.sleep(60)", 0.2) == {"error": "the child took longer than 0.2 s"}


def test_a_job_that_is_given_up_ends_its_child() -> None:
    async def scenario() -> int | None:
        job = await Job.start(("-c", "import time; time.sleep(60)"), "the child")
        running = asyncio.create_task(job.run({}, 60))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        return job.process.returncode

    assert asyncio.run(scenario()) is not None


def test_a_child_finds_this_package_wherever_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/else")
    assert child_environment()["PYTHONPATH"].split(os.pathsep) == [str(Path(spoa.__file__).parent.parent), "/else"]
    monkeypatch.setattr(spoa.jobs, "__file__", str(Path(sys.prefix, "lib/site-packages/spoa/jobs.py")))
    assert child_environment()["PYTHONPATH"] == "/else"


def test_a_child_is_not_told_what_the_service_manager_tells_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    assert not set(VARIABLES) & set(child_environment())


@pytest.mark.usefixtures("undisturbed")
def test_as_the_child_the_one_job_is_done_and_its_report_written_as_a_line() -> None:
    answers = io.StringIO()

    def work(job: dict[str, Any]) -> Mapping[str, Any]:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return {"said": job["text"]}

    assert do_job(work, io.StringIO('{"text": "x"}\n{"text": "y"}\n'), answers) == {"said": "x"}
    assert answers.getvalue() == '{"said": "x"}\n'


@pytest.mark.usefixtures("undisturbed")
def test_where_no_job_comes_a_child_has_nothing_to_report() -> None:
    answers = io.StringIO()
    assert do_job(dict, io.StringIO(""), answers) is None
    assert answers.getvalue() == ""
