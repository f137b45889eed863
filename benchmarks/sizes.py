"""What workers, the decision log and time cost: CPU with several workers and with all logged, and memory."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from benchmarks.memory import anonymous_size, mapped_sizes, proportional_size
from benchmarks.shapes import FEW_CERTIFICATES, Side, compare

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.programs import Agent

__all__ = ["measure_logging", "measure_memory", "measure_workers"]

_NOISE: Final = 1.05  # "no more than" can't be told better than that
_LOGGING: Final = 1.25
_MB: Final = 1 << 20
_AT_START: Final = 60.0
_AFTER_MANY: Final = 150.0
_AN_ENTRY: Final = 100.0
_LONG: Final = 580.0  # seconds: the load takes no more


def measure_workers(bench: Bench) -> None:
    """See whether several workers pay more for a decision than one does; all of them share the measured core."""
    plan = bench.plan
    certificates = min(FEW_CERTIFICATES, plan.certificates)
    bench.report.title(f"workers: 50x1, recurring, {certificates} certificates")
    load = bench.load("recurring", 50, 1, certificates=certificates)

    def side(count: int) -> Side:
        return Side(lambda: bench.agent(plan.rules, plan.listed, workers=count), load, has_several=count > 1)

    sides = {f"{count} worker{'s' * (count > 1)}": side(count) for count in plan.workers}
    compare(bench, "workers", sides, _NOISE)


def measure_logging(bench: Bench) -> None:
    """Compare an agent that logs every decision with one that logs denies only."""
    plan = bench.plan
    bench.report.title("decision log: 50x1, recurring")
    load = bench.load("recurring", 50, 1)
    found: dict[str, list[dict[str, Any]]] = {"denies": [], "all": []}
    with (
        bench.agent(plan.rules, plan.listed) as denies,
        bench.agent(plan.rules, plan.listed, "--log-allows", "always") as everything,
    ):
        agents = {"denies": denies, "all": everything}
        for agent in agents.values():
            bench.meet(agent, load)
            bench.recur(agent, load)
        for _ in range(plan.rounds):
            for name, agent in agents.items():
                found[name].append(load.run(agent, plan.seconds))
                os.truncate(agent.log, 0)  # or the disk fills
        bench.report.comparison("decision log", found, _LOGGING)
        dropped = _dropped(everything)
        bench.report.limit("decisions that the log lost", dropped, 0, "")


def _dropped(agent: Agent) -> float:
    lines = [line for line in agent.get("/metrics").splitlines() if line.startswith("spoa_authz_decision_log_dropped")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def measure_memory(bench: Bench) -> None:
    """Look at a worker's memory at its start and after many requests, and at that of a long list."""
    plan = bench.plan
    bench.report.title(f"memory: {plan.distinct} requests, none like another, {plan.certificates} certificates")
    with bench.agent(plan.rules, plan.listed) as agent:
        bench.report.limit("a worker at its start", _largest(agent), _AT_START, "MB")
        bench.meet(agent, bench.load("recurring", 2, 1))
        load = replace(bench.load("paths", 4, 20), all_arguments=True)
        began = time.monotonic()
        met = load.meet(agent, plan.distinct, _LONG)
        bench.report.note(f"{met['acks']} distinct requests in {time.monotonic() - began:.0f} s")
        bench.report.limit(f"a worker after {met['acks']} distinct requests", _largest(agent), _AFTER_MANY, "MB")
    sizes = {listed: _size_of_two(bench, listed) for listed in (min(1000, plan.listed), plan.many_listed)}
    (few, small), (many, large) = sizes.items()
    bench.report.limit(f"an entry of a list of {many}, two workers", (large - small) / (many - few), _AN_ENTRY, "bytes")


def _largest(agent: Agent) -> float:
    """Return the proportional size of the largest worker, in MB."""
    return max(proportional_size(pid) for pid in agent.children("spoa.worker")) / _MB


def _size_of_two(bench: Bench, listed: int) -> float:
    """Return what an agent with two workers holds that uses a list: its own pages, and its shared files once."""
    plan = bench.plan
    certificates = min(FEW_CERTIFICATES, plan.certificates)  # all of whom are on the shortest list, too
    with bench.agent(plan.rules, listed, workers=2) as agent:
        bench.meet(agent, bench.load("recurring", 2, 1, certificates=certificates))
        files = {file: size for pid in agent.pids() for file, size in mapped_sizes(pid, agent.state).items()}
        return sum(files.values()) + sum(map(anonymous_size, agent.pids()))
