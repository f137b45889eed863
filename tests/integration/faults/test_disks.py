"""Disks that are full: below the decision log, and below the state directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.agents import running_agent, start, until
from tests.integration.faults.load import WIDER, Load, Outcome, Spop, judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.agents import Agent
    from tests.integration.faults.conftest import Findings

pytestmark = pytest.mark.integration

QUESTIONS: Final = (judged("/open/x", is_allowed=True), judged("/shut/x", is_allowed=False))
#: Seconds after there is room again within which what could not be written is.
SECONDS_TO_RETRY: Final = 10


def disk(folder: Path, size: str = "2m") -> list[str]:
    """Return what starts a process that finds a small file system of its own in a folder.

    In a mount namespace, for which a user namespace does where we are not root.
    """
    script = 'mount -t tmpfs -o size="$1",mode=0700 faults "$2" && shift 2 && exec "$@"'
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    folder.mkdir(exist_ok=True)
    return [*alone, "sh", "-c", script, "sh", size, str(folder)]


def seen_by(agent: Agent, path: Path) -> Path:
    """Return where a path of the agent's is for us."""
    return Path(f"/proc/{agent.process.pid}/root{path}")


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave not one byte of room in a file system until the block ends."""
    ballast = folder / "ballast"
    try:
        done = subprocess.run(
            ["dd", "if=/dev/zero", f"of={ballast}", "bs=4096"], capture_output=True, text=True, check=False, timeout=30
        )
        assert "No space left" in done.stderr
        yield
    finally:
        ballast.unlink()


def test_a_decision_log_without_room_loses_lines_and_no_answer(tmp_path: Path, findings: Findings) -> None:
    with running_agent(tmp_path, "--decision-log", "/dev/full", "--log-allows", "always") as agent:
        address = agent.address()
        with Load.running(lambda: Spop(address), QUESTIONS, rate=400) as load:
            load.wait_for(400)
            until(lambda: agent.metric("decision_log_dropped_total") >= 400)
        assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
        assert agent.metric("decision_log_lines_total") == 0
    findings.add("no room for the decision log", load, 0, 0, "lines are lost and counted")


@pytest.mark.faults
def test_a_decision_log_writes_on_when_there_is_room_again(tmp_path: Path, findings: Findings) -> None:
    small = tmp_path / "small"
    log = small / "decisions.log"
    options = ("--decision-log", str(log), "--log-allows", "always")
    with running_agent(tmp_path, *options, within=disk(small)) as agent:
        address, place = agent.address(), seen_by(agent, small)
        with Load.running(lambda: Spop(address), QUESTIONS, rate=400) as load:
            load.wait_for(200)
            with full(place):
                until(lambda: agent.metric("decision_log_dropped_total") >= 400)
            freed = time.monotonic()
            written = agent.metric("decision_log_lines_total")
            until(lambda: agent.metric("decision_log_lines_total") > written + 100)
            recovery = time.monotonic() - freed
        assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
        lines = seen_by(agent, log).read_text().splitlines()
        broken = [line for line in lines if not is_json(line)]
    assert broken == []  # what the full disk cut off is taken back
    findings.add("decision log: disk full, then not", load, recovery, 2)


def is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.faults
def test_a_state_directory_without_room_keeps_the_old_policy_and_takes_the_new_one_later(
    tmp_path: Path, findings: Findings
) -> None:
    small = tmp_path / "small"
    with running_agent(tmp_path, "--state-dir", str(small / "state"), within=disk(small)) as agent:
        agent.state = seen_by(agent, small / "state")
        address, place = agent.address(), seen_by(agent, small)
        before = agent.status()["revision"]
        with Load.running(lambda: Spop(address), QUESTIONS, rate=200) as load:
            load.wait_for(100)
            with full(place):
                agent.write_policy(WIDER)
                until(lambda: agent.metric('reload_total{result="failed"}') >= 4, 120)
                assert agent.status()["revision"] == before
                blocking = block("sha256:" + "00" * 32, agent.state)
                load.wait_for(100)
            assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
            freed = time.monotonic()
            until(lambda: agent.status()["revision"] != before)
            recovery = time.monotonic() - freed
        with agent.connect() as haproxy:
            assert [haproxy.ask(path)["verdict"] for path in ("/shut/x", "/other/x")] == ["deny", "allow"]
        assert blocking.returncode == 2
        assert "No space left" in blocking.stderr
        assert "Traceback" not in blocking.stderr + agent.log.read_text()
        assert agent.status()["blocks"]["count"] == 0
        assert block("sha256:" + "00" * 32, agent.state).returncode == 0
    findings.add("state directory: disk full, then not", load, recovery, SECONDS_TO_RETRY)


@pytest.mark.faults
def test_an_agent_that_finds_no_room_for_its_state_says_so_and_does_not_start(tmp_path: Path) -> None:
    small = tmp_path / "small"
    filling = ["sh", "-c", 'dd if=/dev/zero of="$0"/ballast bs=4096 2>/dev/null; exec "$@"', str(small)]
    agent = start(tmp_path, "--state-dir", str(small / "state"), within=[*disk(small), *filling])
    try:
        assert agent.process.wait(30) == 1
        said = agent.log.read_text()
        assert "No space left on device" in said
        assert "Traceback" not in said
    finally:
        agent.process.kill()
        agent.process.wait()


def block(target: str, state: Path) -> subprocess.CompletedProcess[str]:
    """Run `block` on a state directory."""
    words = [sys.executable, "-m", "spoa", "block", target, "--state-dir", str(state)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
