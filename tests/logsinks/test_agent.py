"""The decision log of a running agent: whole and in one chain through workers, rotations, deaths and a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from spoa.cli.audit import command
from spoa.logsinks.file import rotated_files
from tests.agents import running_agent, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agents import Agent


def lines(*paths: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def ask(agent: Agent, connections: int) -> None:
    """Ask one allowed and one denied thing over each of so many connections."""
    for _ in range(connections):
        with agent.connect() as haproxy:
            assert haproxy.ask("/open/x")["verdict"] == "allow"
            assert haproxy.ask("/shut")["verdict"] == "deny"


def pids(agent: Agent) -> list[int]:
    return [worker["pid"] for worker in agent.status()["workers"] if worker["serving"]]


def test_the_log_is_whole_and_in_one_chain_whatever_happens(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "decisions.jsonl"
    log.parent.mkdir()
    options = ("--decision-log", str(log), "--decision-log-chain", "--decision-log-max-size", "4K", "--workers", "2")

    def written() -> int:
        try:
            return sum(path.read_bytes().count(b"\n") for path in log.parent.glob("*") if path.suffix != ".chain")
        except FileNotFoundError:  # renamed by the agent since it was listed
            return -1

    def moved() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return bool(log.rename(log.with_name("by-hand.jsonl")))
        return False

    with running_agent(tmp_path, *options, "--decision-log-keep", "1000") as agent:
        ask(agent, 10)
        until(lambda: written() == 20)
        # Somebody else rotates too, and says nothing; while the agent does, there may be no file by that name.
        until(moved)
        ask(agent, 5)
        until(lambda: written() == 30)
        # A worker dies, and its successor goes on.
        victim = pids(agent)[0]
        os.kill(victim, signal.SIGKILL)
        workers = until(lambda: (found := pids(agent)) and len(found) == 2 and victim not in found and found)
        ask(agent, 5)
        until(lambda: written() == 40)
        # A disk fills up: verdicts stay what they are, and what is lost is counted.
        hard = resource.RLIM_INFINITY
        for pid in workers:  # also one that would not be told of because it has just missed a round
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        ask(agent, 5)
        until(lambda: agent.metric("decision_log_dropped_total") == 10)
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        ask(agent, 5)
        until(lambda: written() == 50)
        head = agent.status()["decision_log_head"]
    logs = [path for path in log.parent.glob("*") if path.suffix != ".chain"]
    assert len(rotated_files(log)) > 2
    assert sum(line["verdict"] == "deny" for line in lines(*logs)) == 25
    result = CliRunner().invoke(command, ["verify", "--head", head, *map(str, logs)])
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "50 lines, 50 of them chained: as written")


def test_decisions_go_to_several_places_of_which_one_may_be_away(tmp_path: Path) -> None:
    log, away = tmp_path / "decisions.jsonl", f"syslog+unix://{tmp_path}/nobody.sock"
    with running_agent(tmp_path, "--decision-log", away, "--decision-log", str(log)) as agent:
        ask(agent, 3)
        until(lambda: log.exists() and log.read_bytes().count(b"\n") == 6)
        assert agent.metric(f'decision_log_target_lines_total{{target="{log}"}}') == 6
        assert agent.metric(f'decision_log_target_lines_total{{target="{away}"}}') == 0
        status = agent.status()
        assert status["decision_log"] == str(log)
        assert [one["target"] for one in status["decision_logs"]] == [away, str(log)]
        until(lambda: "syslog can't be reached" in agent.log.read_text())
        assert f"target={away}" in agent.log.read_text()
