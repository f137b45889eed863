"""What all parts of the benchmark share: how much is measured, and programs, certificates, policies and requests."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from benchmarks.certificates import make_certificates
from benchmarks.loads import Load
from benchmarks.policies import write_policy, write_requests
from benchmarks.programs import Agent, BenchmarkError, compile_programs

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.certificates import Certificates
    from benchmarks.programs import Program
    from benchmarks.report import Report

__all__ = ["QUICK", "Bench", "Plan", "count_of"]

_EVIDENCE_PATIENCE: Final = 60.0
_LOOK: Final = 0.02
_SETTLING: Final = 20  # seconds
_SETTLED: Final = 0.95


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: of each shape; seconds: for each round.
        certificates: that recur; fresh: that are sent once.
        rules, listed, revoked: of the policy, its list, and its issuer's revocation list; 0 revoked: there is none.
        many_rules, many_listed: what the policy is compared with.
        reloads: under load, of each size.
        distinct: requests after which memory is looked at again.
        proxies: versions of HAProxy; proxy_rounds and proxy_seconds: for each way to authorize.
        proxy_apart: HAProxy has the load's core, not the agent's.
        workers: how many are compared.
        peers: agents from the package registry take part.
    """

    rounds: int = 5
    seconds: float = 3.0
    certificates: int = 10_000
    fresh: int = 30_000
    rules: int = 200
    listed: int = 100_000
    revoked: int = 100_000
    many_rules: int = 10_000
    many_listed: int = 1_000_000
    reloads: int = 4
    distinct: int = 10_000_000
    proxies: tuple[str, ...] = ("2.6", "3.2", "3.4")
    proxy_rounds: int = 5
    proxy_seconds: float = 2.0
    proxy_apart: bool = False
    workers: tuple[int, ...] = (1, 2, 4)
    peers: bool = True


QUICK: Final = Plan(
    rounds=2,
    seconds=0.5,
    certificates=1_000,
    fresh=3_000,
    listed=20_000,
    revoked=20_000,
    many_rules=1_000,
    many_listed=100_000,
    reloads=1,
    distinct=200_000,
    proxies=("2.8",),
    proxy_rounds=1,
    proxy_seconds=0.6,
    workers=(1, 2),
)


class Bench:
    """Everything that stays the same between parts: programs, certificates, requests.

    Attributes:
        tree: the directory whose `spoa` the agent runs.
        agents: how many were started; the files of the last are in `agent-N` below `scratch`.
    """

    def __init__(self, plan: Plan, build: Path, scratch: Path, report: Report, tree: Path) -> None:
        self.plan = plan
        self.build = build
        self.scratch = scratch
        self.report = report
        self.tree = tree
        compile_programs(build)
        report.note("making certificates, unless they are there")
        self.certificates: Certificates = make_certificates(build, plan.certificates, plan.fresh)
        self.agents = 0

    def load(self, requests: str, connections: int, window: int, *, rules: int = 0, certificates: int = 0) -> Load:
        """Return a load of recurring requests, or one of the other files."""
        rules, certificates = rules or self.plan.rules, certificates or self.plan.certificates
        file = self.scratch / f"{requests}-{rules}-{certificates}.txt"
        if not file.exists():
            few = 1 if requests == "one" else certificates
            count = min(1000, self.plan.certificates) if requests == "one" else certificates
            write_requests(
                file,
                few,
                rules,
                count,
                fresh_paths=requests == "paths",
                fresh_every=20 if requests == "newcomers" else 0,
                is_revoking=bool(self.plan.revoked),
            )
        return Load(self.build, self.certificates, file, connections, window)

    def agent(self, rules: int, listed: int, *options: str, workers: int = 1) -> Agent:
        """Start an agent on a policy and a list of these sizes, and wait until it has its revocation list."""
        self.agents += 1
        home = self.scratch / f"agent-{self.agents}"
        write_policy(home / "policies", self.certificates, rules, listed, self.plan.revoked)
        agent = Agent(home / "policies", home, workers=workers, tree=self.tree, options=options)
        try:
            self._wait_for_evidence(agent)
        except BenchmarkError:
            agent.close()
            raise
        return agent

    def _wait_for_evidence(self, agent: Agent) -> None:
        until = time.monotonic() + _EVIDENCE_PATIENCE
        state = ""
        while self.plan.revoked and time.monotonic() < until:
            state = agent.get("/status")["issuers"]["bench"]["revocation"]["state"]
            if state == "good":
                return
            time.sleep(_LOOK)
        if self.plan.revoked:
            raise BenchmarkError(f"the revocation list is {state}; see {agent.messages}")

    def meet(self, agent: Agent, load: Load) -> dict[str, Any]:
        """Show an agent every request once, few at a time."""
        return replace(load, connections=2, window=1).meet(agent, count_of(load))

    def recur(self, agent: Program, load: Load) -> None:
        """Show an agent every request twice more: only what comes again is worth remembering."""
        replace(load, connections=8, window=2).meet(agent, 2 * count_of(load))

    def settle(self, agent: Program, load: Load) -> None:
        """Ask until answers get no cheaper: of several workers each has to see everything, and cold ones are slow."""
        before = float("inf")
        for _ in range(_SETTLING):
            cpu: float = load.run(agent, 1.0)["cpu_us"]["all"]
            if cpu > _SETTLED * before:
                return
            before = cpu
        self.report.note("answers still get cheaper from second to second")


def count_of(load: Load) -> int:
    """Return how many requests there are before they recur."""
    return len(load.requests.read_text().splitlines())
