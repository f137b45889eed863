"""The agent beside the floor, shape by shape; and beside itself with more rules, longer lists, and under reloads."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from benchmarks.policies import add_line, add_rule
from benchmarks.programs import Floor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.bench import Bench, Plan
    from benchmarks.loads import Load
    from benchmarks.programs import Agent

__all__ = ["FEW_CERTIFICATES", "SHAPES", "Shape", "compare", "measure_reload", "measure_scaling", "measure_shapes"]

FEW_CERTIFICATES: Final = 500
_SECONDS_TO_LOAD: Final = 5.0


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to ask, and what it may cost compared with the floor.

    Attributes:
        name: for the table.
        connections, window: frames in flight on each connection.
        requests: name of the file of requests.
        cpu: most CPU a decision, in that of the floor; rate: least decisions a second, in those of the floor.
        per_core: least decisions for each second of CPU.
        p99: highest 99th percentile, in that of the floor; p99_ms: the same in milliseconds.
        all_arguments: those of the shipped configuration, with an id that never recurs.
        is_fresh: sends certificates once.
    """

    name: str
    connections: int
    window: int
    requests: str = "recurring"
    cpu: float = 0.0
    rate: float = 0.0
    per_core: float = 0.0
    p99: float = 0.0
    p99_ms: float = 0.0
    all_arguments: bool = False
    is_fresh: bool = False


SHAPES: Final = (
    Shape("50x1, one certificate", 50, 1, "one"),
    Shape("50x1, recurring", 50, 1, cpu=1.5, rate=0.75),
    Shape("4x20, recurring", 4, 20, per_core=200_000),
    Shape("1x1, recurring", 1, 1, cpu=1.9, p99=2.0),
    Shape("50x1, paths never seen", 50, 1, "paths", cpu=2.2),
    Shape("50x1, 5 % new certificates", 50, 1, "newcomers", cpu=4.0, p99_ms=5.0, is_fresh=True),
    Shape("50x1, unique id", 50, 1, all_arguments=True),
)


def measure_shapes(bench: Bench) -> None:
    """Compare the agent with the floor, shape by shape, in turns."""
    plan = bench.plan
    bench.report.title(
        f"{plan.rules} rules, {plan.certificates} certificates, a list of {plan.listed}, {plan.revoked} revoked, "
        "one worker on one core"
    )
    with bench.agent(plan.rules, plan.listed) as agent, Floor(bench.build) as floor:
        met = bench.meet(agent, bench.load("recurring", 2, 1))
        bench.report.first_meeting(met)
        fresh_first = 0
        for shape in SHAPES:
            fresh_first = _measure_shape(bench, shape, agent, floor, fresh_first)
        bench.report.memory({**agent.memory(), **floor.memory()})


def _measure_shape(bench: Bench, shape: Shape, agent: Agent, floor: Floor, fresh_first: int) -> int:
    """Measure one shape; return the first certificate that is still fresh after it."""
    load = replace(bench.load(shape.requests, shape.connections, shape.window), all_arguments=shape.all_arguments)
    if not shape.is_fresh:
        bench.recur(agent, load)
    found: dict[str, list[dict[str, Any]]] = {"floor": [], "agent": []}
    for _ in range(bench.plan.rounds):
        for name, program in (("floor", floor), ("agent", agent)):
            first = fresh_first if shape.is_fresh else 0
            found[name].append(load.run(program, bench.plan.seconds, fresh_first=first))
        if shape.is_fresh:
            fresh_first = found["agent"][-1]["fresh_used"]
            if fresh_first > bench.certificates.fresh_count:
                bench.report.note("the fresh certificates are used up, and some came twice: raise --fresh")
                break
    bench.report.shape(shape, found)
    return fresh_first


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: an agent, what it is asked, and whether it has several workers to be warmed."""

    start: Callable[[], Agent]
    load: Load
    has_several: bool = False


def compare(bench: Bench, name: str, sides: dict[str, Side], limit: float) -> list[Agent]:
    """Compare the first of some agents with each other one, in turns; *limit* is the most CPU, in that of the first."""
    with ExitStack() as stack:
        runs: list[tuple[Agent, Load, list[dict[str, Any]]]] = []
        for side_name, side in sides.items():
            began = time.monotonic()
            agent = side.start()
            stack.callback(agent.close)
            bench.report.note(f"{name}, {side_name}: ready after {time.monotonic() - began:.1f} s")
            bench.meet(agent, side.load)
            bench.recur(agent, side.load)
            if side.has_several:
                bench.settle(agent, side.load)
            runs.append((agent, side.load, []))
        for _ in range(bench.plan.rounds):
            for agent, load, found in runs:
                found.append(load.run(agent, bench.plan.seconds))
        bench.report.comparison(name, {side: found for side, (_, _, found) in zip(sides, runs, strict=True)}, limit)
        bench.report.memory(
            {
                f"{side} {role}": size
                for side, (agent, _, _) in zip(sides, runs, strict=True)
                for role, size in agent.memory().items()
            }
        )
        return [agent for agent, _, _ in runs]


def measure_scaling(bench: Bench) -> None:
    """See what more rules and longer lists cost, where every path is new."""
    plan = bench.plan
    certificates = min(FEW_CERTIFICATES, plan.certificates)
    bench.report.title(f"more of everything: 50x1, paths never seen, {certificates} certificates")

    def side(rules: int, listed: int) -> Side:
        load = bench.load("paths", 50, 1, rules=rules, certificates=certificates)
        return Side(lambda: bench.agent(rules, listed), load)

    few = min(1000, plan.listed)
    rules = {"10 rules": side(10, few), f"{plan.many_rules} rules": side(plan.many_rules, few)}
    compare(bench, "rules", rules, 1.5)
    lists = {f"list of {few}": side(plan.rules, few), f"list of {plan.many_listed}": side(plan.rules, plan.many_listed)}
    compare(bench, "list", lists, 1.1)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is changed under load.

    Attributes:
        rules, listed: how large the policy is.
        make: makes another revision of it.
        limit: most seconds until it is in effect, or 0.
    """

    name: str
    rules: int
    listed: int
    make: Callable[[Path, str], None]
    limit: float = 0.0


def _changes(plan: Plan) -> tuple[Change, ...]:
    return (
        Change("a rule more", plan.rules, plan.listed, add_rule),
        Change("many rules", plan.many_rules, plan.listed, add_rule),
        Change("a line more, long list", plan.rules, plan.many_listed, add_line, _SECONDS_TO_LOAD),
    )


def measure_reload(bench: Bench) -> None:
    """Change policies of each size under load, again and again: nothing may be lost, and nobody may wait."""
    for change in _changes(bench.plan):
        _measure_change(bench, change)


def _measure_change(bench: Bench, change: Change) -> None:
    plan = bench.plan
    bench.report.title(f"{plan.reloads} reloads under load, {change.name}: {change.rules} rules, list {change.listed}")
    with bench.agent(change.rules, change.listed) as agent, Floor(bench.build) as floor:
        load = bench.load("recurring", 4, 1, rules=change.rules)
        bench.meet(agent, load)
        bench.recur(agent, load)
        quiet = {"floor": load.run(floor, plan.seconds), "agent": load.run(agent, plan.seconds)}
        revision: str = agent.get("/status")["revision"]
        seconds = 600.0  # more than it takes: the load is told to end
        process = load.start(agent, seconds)
        took: list[float] = []
        try:
            time.sleep(0.5)
            for number in range(plan.reloads):
                began = time.monotonic()
                change.make(agent.policies, f"added-{number}")
                revision = agent.wait_for_revision(revision, 60)
                took.append(time.monotonic() - began)
                time.sleep(1.0)  # what follows a swap is seen, too
        finally:
            process.terminate()
            busy = load.finish(process, agent, 10)
        bench.report.reload(change, quiet, busy, took)
