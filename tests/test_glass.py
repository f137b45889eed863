"""An open switch is told of when it opens, while it stays open, and when it closes; in the log, status and metrics."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog.testing

import spoa.glass
from spoa.glass import Glass
from spoa.openings import FILE, Opening, Openings
from spoa.policy.model import Switch
from spoa.spop import DataType
from tests.agents import running_agent, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

INCIDENT = Switch("incident", 3600, "INC-[0-9]+")
POLICY = """\
apiVersion: authz/v1
defaults: {no_certificate: anonymous}
break_glass: {incident: {max_duration: 1h, ticket: "INC-[0-9]+"}}
rules:
  - {id: in-need, effect: allow, who: anonymous, request: {path: "/open/**"}, active_during: incident}
"""


async def swap(_: str) -> None:
    """Take anything."""


def write(folder: Path, *openings: Opening) -> None:
    (folder / FILE).write_bytes(Openings(openings).to_text())


def test_it_is_loud_while_a_switch_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.glass, "_REMINDER", 0.0)

    async def scenario() -> list[dict[str, Any]]:
        now = int(time.time())
        glass = Glass(tmp_path, swap)
        glass.switches = (INCIDENT,)
        with structlog.testing.capture_logs() as logs:
            write(tmp_path, Opening("incident", "INC-7", now, now + 60, "ann"), Opening("other", "x", now, now + 60))
            await glass.update()
            assert glass.samples(now) == {("break_glass_open", ("incident",)): 1, ("break_glass_opened_total", ()): 1}
            shown = glass.describe(now)
            assert (shown["open"], len(shown["entries"]), shown["problem"]) == (["incident"], 2, "")
            assert shown["switches"] == {"incident": {"max_duration": 3600, "ticket": "INC-[0-9]+"}}
            assert [bool(entry["refused"]) for entry in shown["entries"]] == [False, True]
            glass._look()
            write(tmp_path)
            await glass.update()
        return [dict(line) for line in logs]

    logs = asyncio.run(scenario())
    assert [line["event"].split(":")[1].strip() for line in logs] == [
        "a switch is open",
        "switches are open",
        "switches are open",
        "a switch is closed",
    ]
    assert (logs[0]["ticket"], logs[0]["by"]) == ("INC-7", "ann")


def test_a_switch_that_closes_by_itself_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.glass, "_LOOK", 0.01)

    async def scenario() -> None:
        now = int(time.time())
        glass = Glass(tmp_path, swap)
        glass.switches = (INCIDENT,)
        write(tmp_path, Opening("incident", "INC-7", now, now + 3))  # of which a slow machine leaves something
        with structlog.testing.capture_logs() as logs:
            await glass.update()
            assert logs[-1]["event"].endswith(": a switch is open")
            reminding = asyncio.create_task(glass.remind())
            async with asyncio.timeout(30):
                while logs[-1]["event"] != "break glass: a switch is closed":  # noqa: ASYNC110 -- a list tells nobody
                    await asyncio.sleep(0.01)
            reminding.cancel()
            await asyncio.gather(reminding, return_exceptions=True)

    asyncio.run(scenario())


def test_in_a_running_agent_a_switch_opens_all_workers_within_a_second_and_survives_a_restart(tmp_path: Path) -> None:
    now = int(time.time())
    (tmp_path / "state").mkdir(mode=0o700)
    log = tmp_path / "decisions"
    for number in range(2):
        options = ("--workers", "2", "--decision-log", str(log), "--log-allows", "always")
        with running_agent(tmp_path, *options, policy=POLICY) as agent:
            if not number:
                with agent.connect() as haproxy:
                    assert haproxy.ask()["verdict"] == "deny"
                write(agent.state, Opening("incident", "INC-7", now, now + 3600))
            until(lambda: agent.status()["break_glass"]["open"] == ["incident"], 2)
            for _ in range(8):
                with agent.connect() as haproxy:
                    assert haproxy.ask(id=(DataType.STRING, b"x"))["verdict"] == "allow"
            assert agent.metric('break_glass_open{switch="incident"}') == 1
            assert agent.metric('break_glass_decisions_total{verdict="allow"}') == 8
            assert "BREAK GLASS" in agent.log.read_text()
    last = log.read_text().splitlines()[-1]
    assert '"break_glass":["incident"]' in last


def test_it_closes_by_itself_in_the_workers(tmp_path: Path) -> None:
    with running_agent(tmp_path, policy=POLICY) as agent, agent.connect() as haproxy:
        now = int(time.time())
        write(agent.state, Opening("incident", "INC-7", now, now + 3))
        until(lambda: haproxy.ask()["verdict"] == "allow", 2)
        until(lambda: haproxy.ask()["verdict"] == "deny", 5)
        assert time.time() < now + 3 + 1.5


def test_openings_that_come_and_go_are_told_with_ticket_and_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        told: list[object] = []
        glass = Glass(tmp_path, swap, lambda *what: told.append(what))
        await glass.update()
        now = int(time.time())
        write(
            tmp_path, Opening("incident", "INC-7", now, now + 60, "ann"), Opening("other", "INC-8", now, now + 60, "")
        )
        await glass.update()
        opened = {"incident, ticket INC-7, by ann", "other, ticket INC-8, by nobody says"}
        assert told == [(FILE, opened, set())]

    asyncio.run(scenario())
