"""One policy after another while requests are judged."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.agents import OPEN, running_agent, until
from tests.integration.faults.conftest import FULL
from tests.integration.faults.load import Load, Outcome, Spop, judged

if TYPE_CHECKING:
    from tests.integration.faults.conftest import Findings

pytestmark = pytest.mark.integration

QUESTIONS: Final = (judged("/open/x", is_allowed=True), judged("/shut/x", is_allowed=False))
RELOADS: Final = int(os.environ.get("SPOA_AUTHZ_FAULTS_RELOADS", "1000")) if FULL else 5
#: What a worker may gain over all reloads but the first few, once what those left is reused.
GAIN: Final = 1.1


@pytest.mark.timeout(7200 if FULL else 120)
def test_reload_after_reload_changes_no_right_answer(tmp_path: Path, findings: Findings) -> None:
    with running_agent(tmp_path, "--deadline", "4000", "--workers", "2") as agent:
        address, slowest, early = agent.address(), 0.0, 0
        with Load.running(lambda: Spop(address), QUESTIONS, askers=4, rate=200) as load, agent.connect() as haproxy:
            for number in range(1, RELOADS + 1):
                began = time.monotonic()
                agent.write_policy(OPEN.replace('"/open/**"', f'["/open/**", "/number-{number}"]'))
                until(lambda path=f"/number-{number}": haproxy.ask(path)["verdict"] == "allow")  # type: ignore[misc] # its default is bound
                assert haproxy.ask(f"/number-{number - 1}")["verdict"] == "deny"
                slowest = max(slowest, time.monotonic() - began)
                early = early or (memory(agent.status()) if number == max(RELOADS // 10, 2) else 0)
        late = memory(agent.status())
        assert agent.metric('reload_total{result="activated"}') == RELOADS + 1
        assert agent.metric("worker_restarts_total") == 0
        assert len(list((agent.state / "bundles").iterdir())) <= 6
    assert load.count(Outcome.REFUSED, Outcome.LOST) == 0, load.report()
    assert late < GAIN * early or not FULL, (early, late)
    note = f"slowest; workers {early >> 10} kB after a tenth, {late >> 10} kB at the end"
    findings.add(f"{RELOADS:,} reloads", load, slowest, 30, note)


def memory(status: dict[str, object]) -> int:
    """Return what the workers have for themselves, octets."""
    workers = status["workers"]
    assert isinstance(workers, list)
    return sum(private(worker["pid"]) for worker in workers)


def private(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))
