"""Processes that die or hang under load: the agent, one of its workers, its supervisor, and HAProxy."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.haproxy import CONFIGURATION, wait_until
from tests.integration.edge import PATIENT, policy_files, start_edge
from tests.integration.faults.conftest import FULL
from tests.integration.faults.load import Http, Load, Outcome, Question
from tests.serving import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.echo import Echo
    from tests.integration.edge import Edge, Pki
    from tests.integration.faults.conftest import Findings

pytestmark = pytest.mark.integration

SERVED: Final = Path(__file__).parent / "served.cfg"
#: Makes HAProxy a master that starts another worker for SIGUSR2.
MASTER: Final = Path(__file__).parent / "master.cfg"
SPOE: Final = {"FAULTS_SPOE": str(CONFIGURATION / "spoe-authz.conf")}
QUESTIONS: Final = (Question(b"/open/x", is_allowed=True), Question(b"/shut/x", is_allowed=False))
ASKERS: Final = 16 if FULL else 4
#: The load at which `make faults` kills a worker, questions a second.
RATE: Final = 2000 if FULL else 100
#: Seconds after which a test gives up; what is promised is compared with what it took.
PATIENCE: Final = 60
#: What is promised: seconds until a returning agent is noticed, and until a dead worker is replaced.
SECONDS_TO_NOTICE: Final = 2
SECONDS_TO_REPLACE: Final = 10
#: Seconds within which workers leave whose supervisor is gone.
SECONDS_TO_FOLLOW: Final = 2


class Rig:
    """HAProxy before an agent with two workers; both may be replaced."""

    def __init__(self, binary: Path, pki: Pki, echoes: Mapping[str, Echo], folder: Path, agent: Agent) -> None:
        self.agent = agent
        self._binary, self._pki, self._echoes, self._folder = binary, pki, echoes, folder
        self._stack = ExitStack()
        self._started = 0
        self.edge: Edge

    def start_proxy(self, *further: Path, **variables: str) -> None:
        """Start a HAProxy in the place of the one before, on another port, with the shipped timeouts unless told."""
        self.close()
        folder = self._folder / f"edge-{self._started}"
        folder.mkdir()
        self._started += 1
        files = [CONFIGURATION / "authz.cfg", SERVED, *further]
        self.edge = self._stack.enter_context(
            start_edge(
                self._binary, self._pki, self._echoes, folder, self.agent.address, {**SPOE, **variables}, files=files
            )
        )

    @contextmanager
    def load(self, rate: float = 400) -> Iterator[Load]:
        """Put a load on whichever HAProxy is there, and wait until it is served."""
        certificate = self._pki.client("alice")
        self.edge.proxy.wait_for_agent(seconds=PATIENCE)
        with Load.running(lambda: Http(self.edge.client(certificate)), QUESTIONS, askers=ASKERS, rate=rate) as load:
            load.recovery(time.monotonic(), PATIENCE)
            yield load

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def shared(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    """Give a rig; tests leave its agent running, and its HAProxy too."""
    folder = tmp_path_factory.mktemp("rig")
    policies = folder / "policies"
    for name, content in policy_files("any-client", pki).items():
        (policies / name).parent.mkdir(parents=True, exist_ok=True)
        (policies / name).write_bytes(
            content.replace(b"who: any_certificate", b'who: any_certificate, request: {path: "/open/**"}')
        )
    with Agent.running(policies, folder, "--workers", "2", "--log-allows", "never", "--deadline", "4000") as agent:
        rig = Rig(binary, pki, echoes, folder, agent)
        try:
            rig.start_proxy()
            yield rig
        finally:
            rig.close()


@pytest.fixture
def rig(shared: Rig) -> Iterator[Rig]:
    """Give a rig that works, whatever the scenario before left of it."""
    shared.agent.wait_until_ready()
    if shared.edge.proxy.process.poll() is not None:
        shared.start_proxy()
    yield shared
    shared.edge.proxy.print_news()


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, also where nobody has taken note of it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_nothing_is_allowed_while_the_agent_is_killed_or_frozen(rig: Rig, findings: Findings, fault: str) -> None:
    rig.start_proxy()
    with rig.load() as load:
        if fault == "killed":
            rig.agent.kill()
        else:
            rig.agent.signal(signal.SIGSTOP)
        # What was judged just before may still be on its way through HAProxy.
        load.wait_for(4 * ASKERS)
        began = time.monotonic()
        load.wait_for(100)
        rig.edge.proxy.wait_for_agent("DOWN", PATIENCE)
        load.wait_for(100)
        ended = time.monotonic()
        if fault == "killed":
            rig.agent.start()
            rig.agent.wait_until_ready()
        else:
            rig.agent.signal(signal.SIGCONT)
        recovery = load.recovery(time.monotonic(), PATIENCE)
    assert load.count(Outcome.ALLOWED, Outcome.WRONG_ALLOW, since=began, until=ended) == 0
    findings.add(f"agent {fault}", load, recovery, SECONDS_TO_NOTICE, f"down for {ended - began:.1f} s")


def test_a_killed_worker_costs_only_what_it_had_in_flight(rig: Rig, findings: Findings) -> None:
    rig.start_proxy(**PATIENT)
    with rig.load(RATE) as load:
        load.wait_for(2 * RATE)
        before = load.count(Outcome.REFUSED, Outcome.LOST)
        victim = rig.agent.workers()[0]
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: is_gone(victim), PATIENCE, "the worker is gone")
        rig.agent.wait_for_worker_after(victim, PATIENCE)
        replaced = time.monotonic() - began
        load.wait_for(RATE)
    assert before == 0, load.report()
    refused = [a for a in load.answers() if a.outcome in {Outcome.REFUSED, Outcome.LOST}]
    # Each connection has one request under way, so none may lose more than one; and no connection to HAProxy is lost.
    assert len({answer.asker for answer in refused}) == len(refused) <= ASKERS, load.report()
    assert load.count(Outcome.LOST) == 0, load.report()
    note = f"{load.per_second:.0f} a second, {len(refused)} of at most {ASKERS} in flight denied"
    findings.add("one worker killed", load, replaced, SECONDS_TO_REPLACE, note)


@pytest.mark.faults
def test_without_its_supervisor_an_agent_ends_and_its_successor_takes_over(rig: Rig, findings: Findings) -> None:
    process = rig.agent.process
    assert process is not None
    rig.start_proxy()
    with rig.load() as load:
        workers = rig.agent.workers()
        process.kill()
        process.wait(5)
        leaving = wait_until(lambda: all(map(is_gone, workers)), PATIENCE, "the workers have left")
        load.wait_for(2 * ASKERS)  # what was judged just before may still be on its way
        began = time.monotonic()
        load.wait_for(50)
        ended = time.monotonic()
        rig.agent.start()
        rig.agent.wait_until_ready()
        recovery = load.recovery(time.monotonic(), PATIENCE)
    assert load.count(Outcome.ALLOWED, Outcome.WRONG_ALLOW, since=began, until=ended) == 0
    assert leaving <= SECONDS_TO_FOLLOW
    findings.add("supervisor killed", load, recovery, SECONDS_TO_NOTICE, f"its workers left after {leaving:.1f} s")


def test_a_haproxy_that_reloads_asks_on_and_refuses_nobody(rig: Rig, findings: Findings) -> None:
    rig.start_proxy(MASTER, **PATIENT)
    recovery, told = 0.0, len(rig.agent.log())
    with rig.load() as load:
        for _ in range(5 if FULL else 1):
            old = rig.edge.proxy.worker()
            rig.edge.proxy.process.send_signal(signal.SIGUSR2)
            began = time.monotonic()
            wait_until(lambda old=old: rig.edge.proxy.worker() not in {0, old}, PATIENCE, "another HAProxy serves")  # type: ignore[misc]
            recovery = max(recovery, load.recovery(began, PATIENCE))
            load.wait_for(50)
    # A connection that HAProxy closes to move on is no refusal: a client asks again on a new one.
    assert load.count(Outcome.REFUSED) == 0, load.report()
    rig.close()
    # Nothing is left of any of the HAProxies, and none of it was worth a word above info.
    wait_until(lambda: rig.agent.metric("connections") == 0, PATIENCE, "the agent has no connection left")
    assert {line for line in rig.agent.log()[told:].splitlines() if "[info" not in line} == set()
    findings.add("HAProxy reloaded", load, recovery, SECONDS_TO_NOTICE + 5)


@pytest.mark.faults
def test_a_haproxy_that_is_killed_leaves_nothing_behind_and_the_next_one_is_served(
    rig: Rig, findings: Findings
) -> None:
    with rig.load() as load:
        load.wait_for(50)
        rig.edge.proxy.process.kill()
        rig.edge.proxy.process.wait(5)
        began = time.monotonic()
        wait_until(lambda: rig.agent.metric("connections") == 0, PATIENCE, "the agent has no connection left")
        freed = time.monotonic() - began
        rig.start_proxy()
        recovery = load.recovery(time.monotonic(), PATIENCE)
        assert load.count(Outcome.ALLOWED, Outcome.WRONG_ALLOW, since=began, until=began + freed) == 0
    note = f"its connections forgotten after {freed:.2f} s"
    findings.add("HAProxy killed", load, recovery, SECONDS_TO_NOTICE, note)
