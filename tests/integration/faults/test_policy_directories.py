"""A policy directory that is deleted, can't be read, or is seen half replaced: what was in force stays."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.agents import OPEN, SHUT, running_agent, until
from tests.integration.faults.load import Load, Outcome, Spop, judged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents import Agent
    from tests.integration.faults.conftest import Findings

pytestmark = pytest.mark.integration

QUESTIONS: Final = (judged("/open/x", is_allowed=True), judged("/shut/x", is_allowed=False))
#: Seconds from a finished edit to its effect; one is promised, the rest is for a machine that does other things too.
SECONDS_TO_FOLLOW: Final = 10

#: Root reads what nobody may; without these capabilities it is a user like others.
LIKE_OTHERS: Final = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """Give an agent that can read no more than a user may."""
    within = LIKE_OTHERS if os.geteuid() == 0 else ()
    with running_agent(tmp_path_factory.mktemp("agent"), "--deadline", "4000", within=within) as running:
        yield running


@pytest.fixture
def agent(shared: Agent) -> Agent:
    """Give it with a policy of two documents in force."""
    shutil.rmtree(shared.policies)
    shared.policies.mkdir()
    (shared.policies / "lists.yaml").write_text("apiVersion: authz/v1\nmetadata: {name: faults}\n")
    shared.write_policy(OPEN)
    with shared.connect() as haproxy:
        until(
            lambda: (
                haproxy.ask("/open/x")["verdict"] == "allow" and shared.status()["last_reload"]["result"] != "rejected"
            )
        )
    return shared


def rejections(agent: Agent) -> float:
    return agent.metric('reload_total{result="rejected"}')


def wait_for_rejection(agent: Agent, before: float) -> str:
    """Wait until the agent has refused what is there, and return why."""
    until(lambda: rejections(agent) > before)
    reload = agent.status()["last_reload"]
    assert reload["result"] == "rejected"
    return str(reload["problems"])


def recovery(agent: Agent, policy: str) -> float:
    """Write another policy, and return the seconds until all is judged by it."""
    began = time.monotonic()
    agent.write_policy(policy)
    with agent.connect() as haproxy:
        until(lambda: haproxy.ask("/other/x")["verdict"] == "allow")
        assert haproxy.ask("/open/x")["verdict"] == "deny"
    return time.monotonic() - began


@pytest.mark.parametrize("fault", ["deleted", "unreadable", "a file unreadable", "half a file", "half of its files"])
def test_the_policy_in_force_stays_until_a_whole_one_can_be_read(
    agent: Agent, findings: Findings, tmp_path: Path, fault: str
) -> None:
    address, policies, saved = agent.address(), agent.policies, tmp_path / "saved"
    shutil.copytree(policies, saved)
    revision, before = agent.status()["revision"], rejections(agent)
    with Load.running(lambda: Spop(address), QUESTIONS, rate=200) as load:
        load.wait_for(20)
        told = inflict(fault, agent, before)
        load.wait_for(40)
        assert agent.status()["revision"] == revision
        if fault in {"unreadable", "a file unreadable"}:
            policies.chmod(0o700)
            (policies / "lists.yaml").chmod(0o600)
        shutil.copytree(saved, policies, dirs_exist_ok=True)
    assert told, fault
    assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    findings.add(f"policy directory: {fault}", load, recovery(agent, SHUT), SECONDS_TO_FOLLOW)


def inflict(fault: str, agent: Agent, before: float) -> str:
    """Do it to the policy directory, and return what the agent says about it."""
    policies = agent.policies
    if fault == "deleted":
        shutil.rmtree(policies)
    elif fault == "unreadable":
        policies.chmod(0)
    elif fault == "a file unreadable":
        (policies / "lists.yaml").chmod(0)
    elif fault == "half a file":
        # In the middle of a word, as an editor or a copy leaves it that is interrupted.
        (policies / "policy.yaml").write_text(OPEN[: OPEN.index("allow") + 3])
    else:
        # The new document is there, and the list that it names is not yet.
        (policies / "lists.yaml").write_text("apiVersion: authz/v1\nlists: {devices: {file: devices.txt}}\n")
    return wait_for_rejection(agent, before)


def test_a_policy_directory_that_is_swapped_by_renaming_is_followed(
    agent: Agent, findings: Findings, tmp_path: Path
) -> None:
    address, next_one = agent.address(), tmp_path / "next"
    questions = (judged("/both/x", is_allowed=True), judged("/shut/x", is_allowed=False))
    both = OPEN.replace('path: "/open/**"', 'path: ["/open/**", "/both/**"]')
    agent.write_policy(both)
    with agent.connect() as haproxy:
        until(lambda: haproxy.ask("/both/x")["verdict"] == "allow")
    next_one.mkdir()
    (next_one / "policy.yaml").write_text(both.replace("/open/**", "/other/**"))
    with Load.running(lambda: Spop(address), questions, rate=200) as load, agent.connect() as haproxy:
        load.wait_for(20)
        began = time.monotonic()
        agent.policies.rename(tmp_path / "previous")
        next_one.rename(agent.policies)
        until(lambda: haproxy.ask("/other/x")["verdict"] == "allow")
        seconds = time.monotonic() - began
        load.wait_for(20)
    assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    findings.add("policy directory: renamed under the agent", load, seconds, SECONDS_TO_FOLLOW)
