"""What the running agent costs: decisions a second and CPU a decision, over sockets, beside an agent that does nothing.

Run it as `python benchmarks/agent.py` from the top of a clone; README.md says what is measured and how to read it.
Exit status: 0 when all was measured, 1 when an answer was wrong or lost, or something could not be started.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

_ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # so that a clone is measured without installing it

from benchmarks.certificates import make_certificates  # noqa: E402 -- after the path is set
from benchmarks.policies import add_rule, write_policy, write_requests  # noqa: E402
from benchmarks.programs import Agent, BenchmarkError, Floor, Load, compile_programs  # noqa: E402
from benchmarks.report import Report, machine, medians  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.certificates import Certificates
    from benchmarks.programs import Program

_PARTS: Final = ("shapes", "scaling", "reload")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; `seconds` is for each round."""

    rounds: int = 5
    seconds: float = 3.0
    certificates: int = 10_000
    fresh: int = 30_000
    rules: int = 200
    listed: int = 100_000
    many_rules: int = 10_000
    many_listed: int = 1_000_000
    reloads: int = 8


_QUICK: Final = Plan(rounds=3, seconds=1.0, fresh=10_000, many_rules=2_000, many_listed=200_000, reloads=3)


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to ask, and what it may cost compared with the floor.

    Attributes:
        name: for the table.
        connections, window: frames in flight on each connection.
        requests: name of the file of requests.
        cpu: most CPU a decision, in that of the floor; rate: least decisions a second, in those of the floor.
        per_core: least decisions for each second of CPU.
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
    all_arguments: bool = False
    is_fresh: bool = False


SHAPES: Final = (
    Shape("50x1, one certificate", 50, 1, "one"),
    Shape("50x1, recurring", 50, 1, cpu=1.5, rate=0.75),
    Shape("4x20, recurring", 4, 20, per_core=200_000),
    Shape("1x1, recurring", 1, 1, cpu=1.9),
    Shape("50x1, paths never seen", 50, 1, "paths", cpu=2.2),
    Shape("50x1, 5 % new certificates", 50, 1, "newcomers", cpu=4.0, is_fresh=True),
    Shape("50x1, unique id", 50, 1, all_arguments=True),
)


class Bench:
    """Everything that stays the same between parts: programs, certificates, requests."""

    def __init__(self, plan: Plan, build: Path, scratch: Path, report: Report) -> None:
        self.plan = plan
        self.build = build
        self.scratch = scratch
        self.report = report
        compile_programs(build)
        report.note("making certificates, unless they are there")
        self.certificates: Certificates = make_certificates(build, plan.certificates, plan.fresh)
        self._agents = 0

    def load(self, requests: str, connections: int, window: int, *, rules: int = 0, certificates: int = 0) -> Load:
        """Return a load of recurring requests, or one of the other files."""
        rules, certificates = rules or self.plan.rules, certificates or self.plan.certificates
        file = self.scratch / f"{requests}-{rules}-{certificates}.txt"
        if not file.exists():
            few = 1 if requests == "one" else certificates
            count = min(1000, self.plan.certificates) if requests == "one" else certificates
            fresh_every = 20 if requests == "newcomers" else 0
            write_requests(file, few, rules, count, fresh_paths=requests == "paths", fresh_every=fresh_every)
        return Load(self.build, self.certificates, file, connections, window)

    def agent(self, rules: int, listed: int) -> Agent:
        """Start an agent on a policy and a list of these sizes."""
        self._agents += 1
        home = self.scratch / f"agent-{self._agents}"
        write_policy(home / "policies", self.certificates, rules, listed)
        return Agent(home / "policies", home)

    def meet(self, agent: Agent, load: Load) -> dict[str, Any]:
        """Show an agent every request once, few at a time."""
        return replace(load, connections=2, window=1).meet(agent, _count(load))

    def recur(self, agent: Program, load: Load) -> None:
        """Show an agent every request twice more: only what comes again is worth remembering."""
        replace(load, connections=8, window=2).meet(agent, 2 * _count(load))


def _count(load: Load) -> int:
    return len(load.requests.read_text().splitlines())


def measure_shapes(bench: Bench) -> None:
    """Compare the agent with the floor, shape by shape, in turns."""
    plan = bench.plan
    bench.report.title(
        f"{plan.rules} rules, {plan.certificates} certificates, a list of {plan.listed}, one worker on one core"
    )
    with bench.agent(plan.rules, plan.listed) as agent, Floor(bench.build) as floor:
        programs: tuple[Program, ...] = (floor, agent)
        met = bench.meet(agent, bench.load("recurring", 2, 1))
        bench.report.first_meeting(met)
        fresh_first = 0
        for shape in SHAPES:
            load = replace(
                bench.load(shape.requests, shape.connections, shape.window), all_arguments=shape.all_arguments
            )
            if not shape.is_fresh:
                bench.recur(agent, load)
            found: dict[str, list[dict[str, Any]]] = {"floor": [], "agent": []}
            for _ in range(plan.rounds):
                for program in programs:
                    result = load.run(program, plan.seconds, fresh_first=fresh_first if shape.is_fresh else 0)
                    found["floor" if program is floor else "agent"].append(result)
                if shape.is_fresh:
                    fresh_first = found["agent"][-1]["fresh_used"]
                    if fresh_first > bench.certificates.fresh_count:
                        bench.report.note("the fresh certificates are used up, and some came twice: raise --fresh")
                        break
            bench.report.shape(shape, found)
        bench.report.memory({**agent.memory(), **floor.memory()})


def _compare(bench: Bench, name: str, sizes: tuple[tuple[int, int], tuple[int, int]], limit: float) -> None:
    """Compare an agent with few rules or a short list with one that has many, in turns."""
    plan = bench.plan
    certificates = min(500, plan.certificates)
    with ExitStack() as stack:
        runs: list[tuple[Agent, Load, list[dict[str, Any]]]] = []
        for rules, listed in sizes:
            began = time.monotonic()
            agent = bench.agent(rules, listed)
            stack.callback(agent.close)
            bench.report.note(f"{rules} rules, a list of {listed}: ready after {time.monotonic() - began:.1f} s")
            load = bench.load("paths", 50, 1, rules=rules, certificates=certificates)
            bench.meet(agent, load)
            bench.recur(agent, load)
            runs.append((agent, load, []))
        for _ in range(plan.rounds):
            for agent, load, found in runs:
                found.append(load.run(agent, plan.seconds))
        bench.report.comparison(name, [medians(found) for _, _, found in runs], limit)
        bench.report.memory(
            {f"{sizes[n]} {role}": size for n, (a, _, _) in enumerate(runs) for role, size in a.memory().items()}
        )


def measure_scaling(bench: Bench) -> None:
    """See what more rules and longer lists cost, where every path is new."""
    plan = bench.plan
    bench.report.title("more of everything: 50x1, paths never seen, 500 certificates")
    _compare(bench, f"rules 10 -> {plan.many_rules}", ((10, 1000), (plan.many_rules, 1000)), 1.5)
    _compare(bench, f"list 1000 -> {plan.many_listed}", ((200, 1000), (200, plan.many_listed)), 1.1)


def measure_reload(bench: Bench) -> None:
    """Change the policy under load, again and again: nothing may be lost, and nobody may wait."""
    plan = bench.plan
    rules, listed = 5 * plan.rules, plan.listed
    bench.report.title(f"{plan.reloads} reloads under load: {rules} rules, a list of {listed}")
    with bench.agent(rules, listed) as agent, Floor(bench.build) as floor:
        load = bench.load("recurring", 4, 1, rules=rules)
        bench.meet(agent, load)
        bench.recur(agent, load)
        quiet = {"floor": load.run(floor, plan.seconds), "agent": load.run(agent, plan.seconds)}
        seconds = 2.5 * plan.reloads
        revision: str = agent.get("/status")["revision"]
        process = load.start(agent, seconds)
        took: list[float] = []
        try:
            time.sleep(0.5)
            for number in range(plan.reloads):
                began = time.monotonic()
                add_rule(agent.policies, f"added-{number}")
                revision = agent.wait_for_revision(revision, 30)
                took.append(time.monotonic() - began)
                time.sleep(max(0.0, 2.0 - took[-1]))
        finally:
            busy = load.finish(process, agent, seconds)
        bench.report.reload(quiet, busy, took)


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = _QUICK if arguments.quick else Plan()
    names = ("rounds", "seconds", "certificates", "fresh", "rules", "listed", "reloads")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return replace(plan, **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, below three minutes")
    parser.add_argument("--parts", default=",".join(_PARTS), help="what to measure: %(default)s")
    parser.add_argument("--rounds", type=int, help="rounds of each shape, whose median counts")
    parser.add_argument("--seconds", type=float, help="length of a round")
    parser.add_argument("--certificates", type=int, help="how many recur")
    parser.add_argument("--fresh", type=int, help="how many are sent once")
    parser.add_argument("--rules", type=int, help="of the policy")
    parser.add_argument("--listed", type=int, help="lines of the allowlist")
    parser.add_argument("--reloads", type=int, help="changes under load")
    parser.add_argument("--build", type=Path, default=_ROOT / "benchmarks" / "build", help="programs and certificates")
    parser.add_argument("--results", type=Path, default=_ROOT / "benchmarks" / "results", help="where the JSON goes")
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    parts = arguments.parts.split(",")
    if not set(parts) <= set(_PARTS):
        print(f"--parts are some of {', '.join(_PARTS)}", file=sys.stderr)
        return 2
    plan = _plan(arguments)
    report = Report(machine(), plan)
    measures = {"shapes": measure_shapes, "scaling": measure_scaling, "reload": measure_reload}
    try:
        with tempfile.TemporaryDirectory(prefix="spoa-bench-") as scratch:
            bench = Bench(plan, arguments.build, Path(scratch), report)
            for part in parts:
                measures[part](bench)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    report.write(arguments.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
