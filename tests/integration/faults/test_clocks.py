"""A clock that is set forward or back by a day while requests are judged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

from spoa.spop import DataType
from tests.agents import running_agent, until
from tests.faked_clock import Clock
from tests.integration.faults.load import Load, Outcome, Spop, judged
from tests.pki import CA, DAY, HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents import Agent
    from tests.integration.faults.conftest import Findings
    from tests.integration.faults.load import Question

pytestmark = pytest.mark.integration

POLICY: Final = """\
apiVersion: authz/v1
issuers:
  corp: {ca: trust/ca.pem, revocation: {none: "a test"}}
rules:
  - {id: any, effect: allow, who: any_certificate}
"""
SECONDS: Final = 2


def shown(der: bytes, *, is_allowed: bool) -> Question:
    """Make a question that comes with a certificate."""
    return judged(
        "/x", is_allowed=is_allowed, cert=(DataType.BINARY, der), used=(DataType.BOOL, True), verify=(DataType.INT64, 0)
    )


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Give a clock that shows what the machine's does, until it is set."""
    return Clock(tmp_path / "clock")


class Scene:
    """An agent, and certificates that end and begin around now."""

    def __init__(self, agent: Agent, ca: CA) -> None:
        now = int(time.time())
        self.agent = agent
        self.valid = ca.issue("valid", not_before=now - 30 * DAY, not_after=now + 30 * DAY).der
        self.ends_today = ca.issue("ends", not_before=now - 30 * DAY, not_after=now + 12 * HOUR).der
        self.ended = ca.issue("ended", not_before=now - 30 * DAY, not_after=now - 12 * HOUR).der


@pytest.fixture
def scene(tmp_path: Path, clock: Clock) -> Iterator[Scene]:
    """Give an agent whose state directory knows from an earlier run what time it is."""
    ca = CA("corp")
    (tmp_path / "policies" / "trust").mkdir(parents=True)
    (tmp_path / "policies" / "trust" / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "newest-time").write_text(f"{int(time.time())}\n")
    with running_agent(tmp_path, "--deadline", "4000", policy=POLICY, **clock.environment) as agent:
        yield Scene(agent, ca)


def reason(agent: Agent, der: bytes) -> str:
    with agent.connect() as haproxy:
        others = {"cert": (DataType.BINARY, der), "used": (DataType.BOOL, True), "verify": (DataType.INT64, 0)}
        return str(haproxy.ask("/x", **others)["reason"])


def test_a_clock_a_day_ahead_denies_what_it_takes_for_expired_and_nothing_else(
    scene: Scene, clock: Clock, findings: Findings
) -> None:
    agent, address = scene.agent, scene.agent.address()
    right_now = [shown(scene.valid, is_allowed=True), shown(scene.ended, is_allowed=False)]
    with Load.running(lambda: Spop(address), right_now, rate=200) as load:
        load.wait_for(20)
        assert reason(agent, scene.ends_today) == "ok"
        clock.set(DAY)
        until(lambda: reason(agent, scene.ends_today) == "certificate_expired")
        load.wait_for(40)
        assert reason(agent, scene.ended) == "certificate_expired"
        clock.set(0)
        back = time.monotonic()
        until(lambda: reason(agent, scene.ends_today) == "ok")
        recovery = time.monotonic() - back
    assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    assert agent.metric("clock_usable") == 1
    findings.add("clock a day ahead, then right", load, recovery, SECONDS)


def test_a_clock_a_day_behind_allows_no_certificate_at_all(scene: Scene, clock: Clock, findings: Findings) -> None:
    agent, address = scene.agent, scene.agent.address()
    questions = [shown(scene.valid, is_allowed=True), shown(scene.ended, is_allowed=False)]
    with Load.running(lambda: Spop(address), questions, rate=200) as load:
        load.wait_for(20)
        began = time.monotonic()
        clock.set(-DAY)
        until(lambda: reason(agent, scene.valid) != "ok")
        noticed = time.monotonic() - began
        load.wait_for(40)
        assert reason(agent, scene.valid) == reason(agent, scene.ended) == "certificate_not_yet_valid"
        assert agent.metric("clock_usable") == 0
        until(lambda: "the clock can't be right" in agent.log.read_text())
        clock.set(0)
        back = time.monotonic()
        recovery = load.recovery(back, 60)
        assert reason(agent, scene.valid) == "ok"
        assert reason(agent, scene.ended) == "certificate_expired"
    assert load.count(Outcome.LOST) == 0, load.report()
    findings.add("clock a day behind, then right", load, recovery, SECONDS, f"noticed after {noticed:.2f} s")


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_a_clock_that_stays_ahead_is_believed_and_the_right_time_denies_until_somebody_decides(
    scene: Scene, clock: Clock, findings: Findings
) -> None:
    agent, address, kept = scene.agent, scene.agent.address(), scene.agent.state / "newest-time"
    questions = [shown(scene.valid, is_allowed=True), shown(scene.ended, is_allowed=False)]
    before = kept.read_text()
    with Load.running(lambda: Spop(address), questions, rate=20) as load:
        load.wait_for(20)
        began = time.monotonic()
        clock.set(DAY)
        until(lambda: kept.read_text() != before, 200)
        believed = time.monotonic() - began
        assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
        clock.set(0)
        until(lambda: reason(agent, scene.valid) == "certificate_not_yet_valid")
        load.wait_for(20)
        assert "the clock can't be right" in agent.log.read_text()
    assert int(kept.read_text()) > time.time() + DAY / 2
    findings.add("clock a day ahead for minutes", load, 0, 0, f"believed after {believed:.0f} s; then all denied")
