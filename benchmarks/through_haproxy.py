"""What authorization costs behind a real HAProxy: ways to do it side by side, in turns, for each version."""

from __future__ import annotations

import math
import statistics
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from benchmarks.loads import HttpsLoad
from benchmarks.peers import PEERS, Peer, PeerUnavailableError
from benchmarks.policies import write_requests
from benchmarks.programs import AGENT_CORES, LOAD_CORES, BenchmarkError, Floor, compile_programs
from benchmarks.proxies import ENGINES, HAProxy, write_server_certificate
from tests.haproxy_builds import BuildUnavailableError, haproxy_binary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.certificates import Certificates
    from benchmarks.programs import Program

__all__ = ["CALM_RATE", "CLIENTS", "Way", "binary_of", "https_load", "measure_proxies", "of_floor", "summary"]

CLIENTS: Final = 50
#: A second, of all clients together: few enough that no queue builds up, so that latency is that of single requests.
CALM_RATE: Final = 1000.0
#: Clients that no revocation list names: native ACLs and Lua have none. The last of them is not on the allowlist.
_FIRST: Final = 50
_REQUESTS: Final = 2000
_OPENING: Final = 0.5  # seconds in which connections to agents are opened, at least
_AGENT: Final = "spoa-authz"
_FLOOR: Final = "floor agent"
#: Judges as little, and says as much as ours when it allows: what is above the floor is paid for the answer alone.
_TALKATIVE: Final = "floor, our variables"
#: And waits for HAProxy as ours does at full speed: about what an agent that says as much could come to.
_GATHERING: Final = "the same, gathering"
_OUR_VARIABLES: Final = 8
_PLAIN: Final = "no authorization"
_CPU: Final = 1.05
_LATENCY: Final = 1.1


class Way:
    """One way to authorize: how its HAProxy is started, an agent that it asks or none, and whether anybody judges."""

    def __init__(self, start: Callable[[], HAProxy], agent: Program | None, *, judges: bool) -> None:
        self._start = start
        self._agents: tuple[Program, ...] = () if agent is None else (agent,)
        self._expect = 0 if judges else 200
        self.busy: list[dict[str, Any]] = []
        self.calm: list[dict[str, Any]] = []

    def measure(self, load: HttpsLoad, seconds: float) -> None:
        """Add a round: as fast as answers come, and at a rate.

        Each has a HAProxy of its own, since how its memory lies makes one some percent faster than another, for life.
        """
        calm = replace(load, rate=CALM_RATE)
        with self._start() as proxy:
            programs = (proxy, *self._agents)
            # Connections to agents are opened, and what recurs is met.
            load.run(programs, max(_OPENING, seconds / 2), expect=self._expect)
            self.busy.append(load.run(programs, seconds, warm_up=0.4, expect=self._expect))
            self.calm.append(calm.run(programs, seconds, warm_up=0.2, expect=self._expect))


def binary_of(version: str) -> Path:
    """Return a HAProxy, fetched if need be.

    Raises:
        BenchmarkError: there is none.
    """
    try:
        return haproxy_binary(version)
    except BuildUnavailableError as error:
        raise BenchmarkError(str(error)) from error


def https_load(build: Path, scratch: Path, certificates: Certificates, rules: int) -> HttpsLoad:
    """Return fifty clients and what they ask; one in a hundred requests is denied, and all of one client's."""
    compile_programs(build, ("https",))
    if certificates.count < _FIRST + CLIENTS:
        raise BenchmarkError(f"{_FIRST + CLIENTS} certificates are needed")
    file = scratch / "https.txt"
    write_requests(file, CLIENTS, rules, _REQUESTS, first=_FIRST)
    return HttpsLoad(build, certificates, file, CLIENTS)


def summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Return the medians of some rounds: CPU of all, of HAProxy and of the agent, a request; latency; disturbance."""

    def median(values: list[float]) -> float:
        return statistics.median(values)

    return {
        "cpu_us": median([one["cpu_us"]["all"] for one in rounds]),
        "haproxy_us": median([one["cpu_us"]["haproxy"] for one in rounds]),
        "agent_us": median([one["cpu_us"]["all"] - one["cpu_us"]["haproxy"] for one in rounds]),
        "per_second": median([one["per_second"] for one in rounds]),
        "p50_us": median([one["p50_us"] for one in rounds]),
        "p99_us": median([one["p99_us"] for one in rounds]),
        "disturbed": median([one["disturbed"] for one in rounds]),
    }


def of_floor(rounds: list[dict[str, Any]], floor: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Return the median of the CPU a request in that of the floor in the same round, and between what it is.

    Nineteen times in twenty, if there are six rounds or more: what only few of the rounds are above or below
    (Conover, Practical Nonparametric Statistics, 3.2); of fewer rounds, the least and the most.
    """
    found = sorted(one["cpu_us"]["all"] / other["cpu_us"]["all"] for one, other in zip(rounds, floor, strict=True))
    count = len(found)
    below, beyond = 0, 1  # rounds that may be below the median by chance, and one in how many ways
    while 40 * (beyond + math.comb(count, below + 1)) <= 2**count:
        below += 1
        beyond += math.comb(count, below)
    return statistics.median(found), found[below], found[-1 - below]


def measure_proxies(bench: Bench) -> None:
    """Measure every way on every version of HAProxy."""
    plan = bench.plan
    load = https_load(bench.build, bench.scratch, bench.certificates, plan.rules)
    with ExitStack() as stack:
        agents: dict[str, Program] = {_FLOOR: stack.enter_context(Floor(bench.build))}
        for name, gathers in ((_TALKATIVE, False), (_GATHERING, True)):
            agents[name] = stack.enter_context(Floor(bench.build, variables=_OUR_VARIABLES, gathers=gathers))
        agents[_AGENT] = stack.enter_context(bench.agent(plan.rules, plan.listed, "--deadline", "1000"))
        for name in PEERS if plan.peers else ():
            try:
                agents[name] = stack.enter_context(Peer(bench.build, name))
            except PeerUnavailableError as error:
                bench.report.note(str(error))
        for version in plan.proxies:
            beside = ", on the load's core" if plan.proxy_apart else ""
            bench.report.heading(
                f"HAProxy {version}{beside}, mTLS, {CLIENTS} keep-alive clients; calm: {CALM_RATE:.0f}/s in all"
            )
            bench.report.proxy(_measure_version(bench, version, load, agents))


def _measure_version(bench: Bench, version: str, load: HttpsLoad, agents: dict[str, Program]) -> dict[str, Any]:
    plan, binary = bench.plan, binary_of(version)
    cores = LOAD_CORES if plan.proxy_apart else AGENT_CORES
    listed = next(bench.scratch.glob(f"agent-{bench.agents}/policies/lists/devices.txt"))
    ways: dict[str, Way] = {}
    for number, name in enumerate((*ENGINES, *agents)):
        folder = bench.scratch / f"haproxy-{version}-{number}"
        folder.mkdir()
        write_server_certificate(folder)
        within = ENGINES[name](folder, listed, plan.rules) if name in ENGINES else ("", "")
        agent = agents.get(name)
        address = agent.address if agent else ""
        start = partial(HAProxy, binary, folder, bench.certificates, within=within, agent=address, cores=cores)
        ways[name] = Way(start, agent, judges=name in {_AGENT, "native ACLs", "Lua"})
    for _ in range(plan.proxy_rounds):
        for name in tuple(ways):
            try:
                ways[name].measure(load, plan.proxy_seconds)
            except BenchmarkError as error:
                if name not in PEERS:
                    raise
                bench.report.note(f"{name} is left out behind HAProxy {version}: {str(error)[:120]} …")
                del ways[name]
    return _compared(version, ways)


def _compared(version: str, ways: dict[str, Way]) -> dict[str, Any]:
    rows: dict[str, dict[str, float]] = {}
    for name, way in ways.items():
        busy, calm = summary(way.busy), summary(way.calm)
        rows[name] = {**busy, "calm_p50_us": calm["p50_us"], "calm_p99_us": calm["p99_us"]}
        if len(way.busy) == len(ways[_FLOOR].busy):
            ratio, least, most = of_floor(way.busy, ways[_FLOOR].busy)
            rows[name] |= {"of_floor": ratio, "of_floor_least": least, "of_floor_most": most}
    plain = rows[_PLAIN]
    for row in rows.values():
        row["added_us"] = row["p50_us"] - plain["p50_us"]
        row["calm_added_us"] = row["calm_p50_us"] - plain["calm_p50_us"]
    ours, floor = rows[_AGENT], rows[_FLOOR]
    cpu = ours["cpu_us"] / floor["cpu_us"]
    targets = {f"CPU of HAProxy and agent <= {_CPU} of that with the floor agent: {cpu:.2f}": cpu <= _CPU}
    for kind, key in (("calm", "calm_added_us"), ("as fast as they come", "added_us")):
        ratio = ours[key] / floor[key] if floor[key] > 0 else float("inf")
        text = f"added median latency, {kind}, <= {_LATENCY} of that with the floor agent: {ratio:.2f}"
        targets[text] = ratio <= _LATENCY
    rounds = {name: {"busy": way.busy, "calm": way.calm} for name, way in ways.items()}
    return {"version": version, "ways": rows, "targets": targets, "rounds": rounds}
