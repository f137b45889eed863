"""Memory over millions of decisions, on more certificates and paths than any cache holds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks.certificates import make_certificates
from benchmarks.memory import anonymous_size
from benchmarks.policies import write_policy, write_requests
from benchmarks.programs import Agent, compile_programs
from tests.integration.faults.conftest import MILLIONS, SOAKED_TREE, Row

if TYPE_CHECKING:
    from benchmarks.certificates import Certificates
    from tests.integration.faults.conftest import Findings

pytestmark = [pytest.mark.integration, pytest.mark.soak]

DISTINCT: Final = 100_000
RULES: Final = 50
#: Certificates come some hundred at a time, each of them so often before the next ones do. An agent that reads one
#: anew for every tenth decision does little else, and takes half as long again for 20 million.
TOGETHER: Final = 500
TIMES: Final = 20
#: Connections, and frames in flight on each: enough to keep the agent busy, and few enough for none to come too late.
SHAPE: Final = (4, 8)
#: Decisions between two looks: a fifth of a pass through all certificates.
ROUND: Final = DISTINCT * TIMES // 5
#: How many looks pass until caches are full and memory has settled.
SETTLED: Final = 5
#: What is promised: by how much memory may differ over all that follows.
FLAT: Final = 1.05
BUILD: Final = Path(__file__).parents[3] / "benchmarks" / "build"
SECONDS_FOR_A_ROUND: Final = 600


def decide(agent: Agent, worker: int, certificates: Certificates, requests: Path) -> dict[str, Any]:
    """Have a round of requests judged; each verdict is compared with what the request's line says."""
    connections, window = map(str, SHAPE)
    command = [
        *(str(BUILD / "load"), agent.address, "--certificates", str(certificates.usual), "--requests", str(requests)),
        *("-c", connections, "-w", window, "--count", str(ROUND), "-t", str(SECONDS_FOR_A_ROUND), "-p", str(worker)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_FOR_A_ROUND + 60)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["errors"] == found["wrong_verdict"], done.stdout
    assert found["acks"] == ROUND, done.stdout
    return found


def write_parts(folder: Path) -> list[Path]:
    """Write the requests of one pass, in files of a round each; every request has a path of its own."""
    write_requests(folder / "requests", DISTINCT, RULES, DISTINCT, fresh_paths=True)
    lines = (folder / "requests").read_text().splitlines()
    parts = [folder / f"requests-{number}" for number in range(DISTINCT * TIMES // ROUND)]
    share = len(lines) // len(parts)
    for number, part in enumerate(parts):
        mine = lines[number * share : (number + 1) * share]
        groups = (mine[at : at + TOGETHER] for at in range(0, share, TOGETHER))
        part.write_text("\n".join(line for group in groups for _ in range(TIMES) for line in group) + "\n")
    return parts


def test_memory_stays_flat_over_millions_of_decisions(tmp_path: Path, findings: Findings) -> None:
    compile_programs(BUILD)
    certificates = make_certificates(BUILD, DISTINCT, 0)
    write_policy(tmp_path / "policies", certificates, RULES, DISTINCT)
    parts = write_parts(tmp_path)
    sizes, answers, wrong, overdue, began = [], 0, 0, 0, time.monotonic()
    with Agent(tmp_path / "policies", tmp_path / "home", tree=SOAKED_TREE) as agent:
        (worker,) = agent.children("spoa.worker")
        for number in range(max(MILLIONS * 1_000_000 // ROUND, SETTLED + 2)):
            found = decide(agent, worker, certificates, parts[number % len(parts)])
            answers += found["acks"]
            wrong += found["wrong_verdict"]
            overdue += found["overdue"]
            sizes.append((anonymous_size(worker), anonymous_size(agent.process.pid)))
            print(  # noqa: T201  # whoever waits for hours wants to see that it goes on
                f"{answers:>11,} decisions  {found['per_second']:>6} a second  {found['cpu_us'][str(worker)]:>5.1f} us"
                f" of CPU each  overdue {found['overdue']}"
                f"  worker {sizes[-1][0] >> 10:>7,} kB  supervisor {sizes[-1][1] >> 10:>7,} kB",
                file=sys.stderr,
                flush=True,
            )
    growth = [max(each[SETTLED:]) / each[SETTLED - 1] for each in zip(*sizes, strict=True)]
    note = f"seconds; worker × {growth[0]:.3f}, supervisor × {growth[1]:.3f} since {SETTLED * ROUND:,}"
    findings.put(Row(f"{answers:,} decisions", answers, wrong, overdue, time.monotonic() - began, float("inf"), note))
    assert max(growth) <= FLAT, sizes
