"""A candidate is judged under beside the active policy, changes no answer, and becomes the active one when promoted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing
from click.testing import CliRunner, Result

from spoa.candidate import Candidate
from spoa.cli.promote import command
from spoa.control import WorkerError
from spoa.exceptions import StateError
from tests.agents import OPEN, SHUT, running_agent, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents import Agent


class Proposals:
    def __init__(self) -> None:
        self.taken: list[Path] = []
        self.came = asyncio.Event()

    async def __call__(self, bundle: Path) -> None:
        self.taken.append(bundle)
        self.came.set()


def write(directory: Path, text: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / ".new").write_text(text)
    (directory / ".new").rename(directory / "policy.yaml")


def test_it_is_built_when_it_changes_and_a_bad_one_leaves_the_one_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        proposals = Proposals()
        write(tmp_path / "next", OPEN)
        candidate = Candidate(tmp_path / "next", tmp_path / "state", proposals)
        early = asyncio.create_task(candidate.is_good())
        await asyncio.sleep(0)
        assert not early.done()  # whoever promotes it at once waits until it was looked at
        assert candidate.samples() == {}
        with structlog.testing.capture_logs() as logs:
            watching = asyncio.create_task(candidate.watch())
            async with asyncio.timeout(30):
                await proposals.came.wait()
                assert await early
                proposals.came.clear()
                write(tmp_path / "next", SHUT)
                await proposals.came.wait()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            assert len(proposals.taken) == 2
            write(tmp_path / "next", "rulez: []\n")
            await candidate.update("change")
        shown = candidate.describe({})
        assert (shown["result"], bool(shown["problems"]), await candidate.is_good()) == ("rejected", True, False)
        assert shown["revision"] == proposals.taken[-1].name.rpartition("-")[2]
        assert candidate.samples() == {("candidate_info", (shown["revision"],)): 1}
        assert logs[-1]["event"] == "candidate problem"
        await candidate.close()

    asyncio.run(scenario())


def test_workers_that_can_not_open_it_are_told_of(tmp_path: Path) -> None:
    async def refuse(_: Path) -> None:
        raise WorkerError("propose", "no")

    async def scenario() -> None:
        write(tmp_path / "next", OPEN)
        candidate = Candidate(tmp_path / "next", tmp_path / "state", refuse)
        with structlog.testing.capture_logs():
            await candidate.update("start")
        assert candidate.describe({})["problems"] == ["propose: no"]
        await candidate.close()

    asyncio.run(scenario())


def test_the_largest_differences_stand_first(tmp_path: Path) -> None:
    counts: dict[tuple[str, tuple[str, ...]], float] = {
        ("candidate_decisions_total", ("same", "", "")): 10,
        ("candidate_decisions_total", ("newly_denied", "a", "")): 2,
        ("candidate_decisions_total", ("newly_allowed", "", "b")): 3,
        ("connections", ()): 1,
    }
    shown = Candidate(tmp_path, tmp_path / "state", Proposals()).describe(counts)
    assert [one["change"] for one in shown["differences"]] == ["newly_allowed", "newly_denied"]
    assert (shown["decisions"]["same"], shown["decisions"]["other_route"], shown["result"]) == (10, 0, "")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    write(tmp_path / "next", SHUT)
    (tmp_path / "token").write_text("secret")
    options = ("--candidate", str(tmp_path / "next"), "--admin-token-file", str(tmp_path / "token"), "--workers", "2")
    log = ("--decision-log", str(tmp_path / "decisions"), "--log-allows", "never")
    with running_agent(tmp_path, *options, *log) as running:
        until(lambda: running.status()["candidate"]["revision"])
        yield running


def promoted(agent: Agent, folder: Path, *words: str) -> Result:
    given = ["--admin", agent.admin, "--token-file", str(folder / "token"), *words]
    return CliRunner().invoke(command, given)


def test_live_traffic_is_judged_under_it_without_being_answered_by_it_until_it_is_promoted(
    tmp_path: Path, agent: Agent
) -> None:
    with agent.connect() as haproxy:
        assert [haproxy.ask("/open/x")["verdict"] for _ in range(5)] == ["allow"] * 5
        assert haproxy.ask("/other/x")["verdict"] == "deny"
        assert haproxy.ask("/none")["verdict"] == "deny"
        shown = agent.status()["candidate"]
        assert {change: count for change, count in shown["decisions"].items() if count} == {
            "same": 1,
            "newly_allowed": 1,
            "newly_denied": 5,
        }
        assert shown["differences"][0] == {"change": "newly_denied", "rule": "open", "candidate_rule": "", "count": 5}
        result = promoted(agent, tmp_path)
        assert (result.exit_code, result.output.partition(":")[0]) == (0, "activated"), result.output
        assert haproxy.ask("/open/x")["verdict"] == "deny"
        assert haproxy.ask("/other/x")["verdict"] == "allow"
    assert (agent.policies / "policy.yaml").read_text() == SHUT
    assert (tmp_path / "policies.before/policy.yaml").read_text() == OPEN

    def logged() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (tmp_path / "decisions").read_text().splitlines()]
        return [line for line in lines if line["verdict"] == "allow"]

    allowed = until(lambda: logged() if len(logged()) == 5 else None)
    assert allowed[0]["candidate"]["change"] == "newly_denied"
    assert allowed[0]["candidate"]["reason"] == "no_rule_allows"


def test_a_worker_that_comes_later_judges_under_it_too(agent: Agent) -> None:
    first = agent.status()["workers"]
    os.kill(first[0]["pid"], signal.SIGKILL)
    until(lambda: agent.status()["ready"] and agent.status()["workers"] != first)
    before = agent.metric("candidate_decisions_total")
    for _ in range(8):
        with agent.connect() as haproxy:
            haproxy.ask()
    until(lambda: agent.metric("candidate_decisions_total") == before + 8)


def test_what_can_not_be_promoted_says_why(tmp_path: Path, agent: Agent) -> None:
    write(tmp_path / "next", "rulez: []\n")
    until(lambda: agent.status()["candidate"]["result"] == "rejected")
    result = promoted(agent, tmp_path, "--json")
    assert result.exit_code == 1
    assert "has problems" in json.loads(result.output)["problems"][0]
    assert (agent.policies / "policy.yaml").read_text() == OPEN


def test_a_place_that_can_not_be_replaced_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        write(tmp_path / "next", OPEN)
        candidate = Candidate(tmp_path / "next", tmp_path / "state", Proposals())
        with pytest.raises(StateError):
            await candidate.promote(tmp_path / "nowhere" / "policies")
        await candidate.close()

    asyncio.run(scenario())
