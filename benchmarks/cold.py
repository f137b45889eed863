"""What a decision costs where others have used the processor's caches meanwhile, beside the floor.

Run it as `python benchmarks/cold.py TREE ...` from the top of a clone: the first is what the others are compared with.
A worker that waits for HAProxy on a core that is not its own finds its caches used when it wakes up; so does one whose
core has slept. What it costs then is told by how much code and memory it touches, not by how many instructions it runs.

Copies take turns on one core with who asks, and are asked the same. Before each turn as much memory is written as fits
into no cache of a core. Then so many connections ask at once, each a request that recurs, and the kernel's count of the
worker's own thread before and after makes the difference.
Exit status: 0 when all was measured, 1 when an answer was wrong or lost, or something could not be started.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

_ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # so that a clone is measured without installing it

from benchmarks.asking import Asker  # noqa: E402 -- after the path is set
from benchmarks.bench import Bench, Plan  # noqa: E402
from benchmarks.certificates import read_pack  # noqa: E402
from benchmarks.programs import AGENT_CORES, Agent, BenchmarkError, Floor  # noqa: E402
from benchmarks.report import Report, machine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.programs import Program

#: Written before each turn: more than the caches of a core hold, and less than those that cores share.
_OTHERS: Final = 3 << 20
_FLOOR: Final = "floor, our variables"
_FLOOR_VARIABLES: Final = 8
_ALLOW: Final = "allow"
#: Certificate, source, method and path.
_Request: TypeAlias = tuple[bytes, str, str, str]
_PLAN: Final = Plan(certificates=200, fresh=1000, listed=1000, revoked=1000, peers=False)


class Asked:
    """An agent that is asked, and what its worker spent each time.

    Args:
        agent: judges, or is the floor.
        askers: ask at once.
    """

    def __init__(self, agent: Program, askers: list[Asker]) -> None:
        self._agent = agent
        self._askers = askers
        worker = next(pid for pid, role in agent.pids().items() if role in {"worker", "floor"})
        self._schedstat = Path(f"/proc/{worker}/task/{worker}/schedstat")
        self.spent: list[float] = []

    def ask(self, requests: list[_Request], others: ctypes.Array[ctypes.c_char]) -> None:
        """Have each connection ask one of the requests, when others have used the caches.

        Raises:
            BenchmarkError: not all are allowed.
        """
        frames = [asker.notify(*request) for asker, request in zip(self._askers, requests, strict=True)]
        ctypes.memset(others, 0, len(others))
        before = self._ran()
        for asker, frame in zip(self._askers, frames, strict=True):
            asker.send(frame)
        verdicts = {asker.answer()[0] for asker in self._askers}
        os.sched_yield()  # the worker goes to sleep
        self.spent.append((self._ran() - before) / len(frames))
        if verdicts != {_ALLOW}:
            raise BenchmarkError(f"{self._agent.name} says {verdicts}")

    def _ran(self) -> float:
        return int(self._schedstat.read_text().split()[0]) / 1000


def _agent(bench: Bench, tree: Path) -> Agent:
    bench.tree = tree
    return bench.agent(bench.plan.rules, bench.plan.listed)


def _requests(bench: Bench, agents: Iterable[Agent]) -> Iterator[_Request]:
    """Have agents meet what recurs, and return what of it is allowed, in turn, for ever."""
    load = bench.load("recurring", 1, 1)
    for agent in agents:
        bench.meet(agent, load)
        bench.recur(agent, load)
    certificates = list(read_pack(bench.certificates.usual))
    lines = (line.split() for line in load.requests.read_text().splitlines())
    return itertools.cycle(
        [
            (certificates[int(number)], source, method, path)
            for number, method, path, source, verdict in lines
            if verdict == _ALLOW
        ]
    )


def names_of(trees: Iterable[Path]) -> list[str]:
    """Return what copies are called: the same one may be compared with itself."""
    return [f"{number} {tree}" for number, tree in enumerate(trees, 1)]


def measure(bench: Bench, trees: list[Path], connections: int, times: int) -> dict[str, list[float]]:
    """Return what a request took in the worker, microseconds, each time, by copy; that of the floor comes first."""
    with ExitStack() as stack:
        programs: dict[str, Program] = {
            _FLOOR: stack.enter_context(Floor(bench.build, variables=_FLOOR_VARIABLES)),
        }
        agents = {
            name: stack.enter_context(_agent(bench, tree)) for name, tree in zip(names_of(trees), trees, strict=True)
        }
        programs |= agents
        requests = _requests(bench, agents.values())
        os.sched_setaffinity(0, AGENT_CORES)
        asked = {
            name: Asked(program, [stack.enter_context(Asker(program.address)) for _ in range(connections)])
            for name, program in programs.items()
        }
        others = ctypes.create_string_buffer(_OTHERS)
        order = list(asked.values())
        for number in range(times):
            first = number % len(order)  # nobody always comes behind the same one
            asks = list(itertools.islice(requests, connections))
            for one in order[first:] + order[:first]:
                one.ask(asks, others)
    return {name: one.spent for name, one in asked.items()}


def lines_of(spent: dict[str, list[float]], compared: str) -> Iterator[str]:
    """Yield a line for each of what was measured: its median, and that in the one that all are compared with."""
    usual = statistics.median(spent[compared])
    for name, times in spent.items():
        median = statistics.median(times)
        yield f"{median:8.2f} us a request, {median / usual:5.3f}  {name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("trees", type=Path, nargs="+", metavar="TREE", help="where a `spoa` lies")
    parser.add_argument("--connections", default="1,12,50", help="that ask at once: %(default)s")
    parser.add_argument("--times", type=int, default=600, help="that each is asked: %(default)s")
    parser.add_argument("--build", type=Path, default=_ROOT / "benchmarks" / "build", help="programs and certificates")
    arguments = parser.parse_args()
    trees = [tree.resolve() for tree in arguments.trees]
    cores = os.sched_getaffinity(0)
    report = Report(machine(), _PLAN)
    try:
        for connections in map(int, arguments.connections.split(",")):
            with tempfile.TemporaryDirectory(prefix="spoa-bench-") as scratch:
                bench = Bench(_PLAN, arguments.build, Path(scratch), report, trees[0])
                spent = measure(bench, trees, connections, arguments.times)
            os.sched_setaffinity(0, cores)
            report.heading(f"{connections} at once, caches used by others")
            for line in lines_of(spent, names_of(trees)[0]):
                print(line)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
