"""What revocation lists cost that are replaced under load: time, memory, and what requests notice of it.

Run it as `python benchmarks/revocation.py` from the top of a clone; README.md says what is measured and how to read it.
Exit status: 0 when all was measured, 1 when an answer was wrong or lost, or something could not be started.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

_ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # so that a clone is measured without installing it

from benchmarks.asking import Asker  # noqa: E402 -- after the path is set
from benchmarks.lists import ODD_SERIALS, Population, entries_of, listed_serials  # noqa: E402
from benchmarks.loads import Load  # noqa: E402
from benchmarks.memory import anonymous_size, mapping_of, peak_size  # noqa: E402
from benchmarks.programs import AGENT_CORES, LOAD_CORES, Agent, BenchmarkError, compile_programs  # noqa: E402
from benchmarks.report import machine  # noqa: E402
from benchmarks.revocation_report import Report  # noqa: E402
from spoa.evidence_store import Source, open_index  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_GOOD: Final = 64
_WORKERS: Final = 2
_CONNECTIONS: Final = 8
_RATE: Final = 300.0
_LOOK: Final = 0.005
_PATIENCE: Final = 120.0
_CALM: Final = 0.7  # seconds of load before a list is replaced, of which 0.2 are warming up, and as many after that
_LOOKUPS: Final = 2000
_LAYOUTS: Final = {"one core": AGENT_CORES, "all cores": AGENT_CORES | LOAD_CORES}

_POLICY: Final = """\
apiVersion: authz/v1
metadata: {name: bench}
issuers:
  bench: {ca: trust/ca.pem, revocation: {crl: {files: [crl/bench.crl]}}}
rules:
  - {id: everyone, effect: allow, who: any_certificate, request: {path: "/**"}}
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        sizes: entries of a list.
        rounds: lists of each size and layout that follow one another.
        builds: lists that are built and searched without an agent.
        layouts: where the agent runs: on one core with its builder, or on all.
    """

    sizes: tuple[int, ...] = (100_000, 1_000_000, 5_000_000)
    rounds: int = 5
    builds: int = 3
    layouts: tuple[str, ...] = tuple(_LAYOUTS)


_QUICK: Final = Plan(sizes=(100_000, 1_000_000), rounds=2, builds=1, layouts=("one core",))


def _build(population: Population, crl: bytes, scratch: Path, evidence: Path) -> dict[str, Any]:
    """Have the agent's builder make an index of a list, alone; return what that took, and the name of the index."""
    shutil.rmtree(evidence, ignore_errors=True)  # or it would find the index made
    evidence.mkdir()
    file = scratch / "alone.crl"
    file.write_bytes(crl)
    ca = Path(population.certificates.ca).read_text().splitlines()
    signer = "".join(line for line in ca if not line.startswith("-----"))
    source = dataclasses.asdict(Source(files=(str(file),), signers=(signer,)))
    job = {"evidence": str(evidence), "downloads": str(scratch), "sources": {"bench": source}}
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "spoa.crl_builder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    ) as process:
        os.sched_setaffinity(process.pid, AGENT_CORES)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.close()
        report = json.loads(process.stdout.read())
        _, process.returncode, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if report.get("problems") or "manifest" not in report:
        raise BenchmarkError(f"the builder reports {report}")
    (held,) = report["manifest"]["bench"]
    return {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        "entries": held["entries"],
        "bytes": (evidence / held["digest"]).stat().st_size,
        "digest": held["digest"],
    }


def _cost(index: Any, serials: list[int], *, is_listed: bool) -> float:
    """Return the microseconds of CPU that a look-up takes, which must find all or none."""
    began = time.process_time()
    found = [index.lookup(serial) for serial in serials]
    seconds = time.process_time() - began
    if any((one is not None) != is_listed for one in found):
        raise BenchmarkError(
            f"a serial number is {'not ' if is_listed else ''}found, and is {'' if is_listed else 'not '}listed"
        )
    return seconds / len(serials) * 1e6


def _search(evidence: Path, digest: str, entries: bytes) -> dict[str, Any]:
    """Look serial numbers up that are listed, that aren't, and that no CA should have issued."""
    began = time.perf_counter()
    index = open_index(evidence, digest).index
    opened = time.perf_counter() - began
    listed = listed_serials(entries, _LOOKUPS)
    random.shuffle(listed)
    unlisted = [random.getrandbits(127) | 1 for _ in range(_LOOKUPS)]
    odd = {str(one.serial): index.lookup(one.serial) is not None for one in ODD_SERIALS}
    if not all(odd.values()) or index.lookup(255) is not None:
        raise BenchmarkError(f"serial numbers that are negative or zero are not told apart: {odd}")
    rounds = range(7)
    return {
        "open_ms": 1000 * opened,
        "hit_us": [_cost(index, listed, is_listed=True) for _ in rounds],
        "miss_us": [_cost(index, unlisted, is_listed=False) for _ in rounds],
        "odd": odd,
    }


class Probe:
    """A loop beside the workers' (see `lag.py`)."""

    def __init__(self, evidence: Path, cores: Collection[int]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("lag.py")), str(evidence)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self._process.pid, cores)
        self.report()

    def report(self) -> dict[str, Any]:
        """Return what was seen since the last time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError("the probe of the loop's lag has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)


class Stage:
    """An agent that runs on a short list, and all who watch it while longer ones take its place."""

    def __init__(
        self, population: Population, build: Path, home: Path, cores: Collection[int], stack: ExitStack
    ) -> None:
        self._population = population
        self._entries = b""
        self._number = 0
        policies = home / "policies"
        for name in ("trust", "crl"):
            (policies / name).mkdir(parents=True)
        (policies / "policy.yaml").write_text(_POLICY)
        (policies / "trust" / "ca.pem").write_bytes(population.certificates.ca.read_bytes())
        self._file = policies / "crl" / "bench.crl"
        self._write(entries_of(2))
        self._revoke()
        self.agent = stack.enter_context(Agent(policies, home, workers=_WORKERS, cores=cores))
        self._evidence = home / "state" / "evidence"
        requests = home / "requests.txt"
        requests.write_text(
            "".join(
                f"{number} GET /orders/{number} 10.0.0.1 {'allow' if number < population.good else 'deny'}\n"
                for number in range(population.good + 1)
            )
        )
        self._load = Load(build, population.certificates, requests, _CONNECTIONS, 16, rate=_RATE)
        self._askers = [stack.enter_context(Asker(self.agent.address)) for _ in range(_CONNECTIONS)]
        self._probe = stack.enter_context(closing(Probe(self._evidence, cores)))
        self._anonymous: dict[int, int] = {}
        self.replace(entries_of(2))  # so that what workers take once doesn't count as taken by a longer list

    def _write(self, entries: bytes) -> None:
        """Write the next list beside the one in force."""
        self._number += 1
        gone = [one for _, one in self._population.leaving[: self._number - 1]]
        others = (self._population.listed, *ODD_SERIALS, *gone)
        self._beside.write_bytes(self._population.crl(entries, others, self._number))

    def _revoke(self) -> None:
        self._beside.replace(self._file)

    @property
    def _beside(self) -> Path:
        return self._file.with_name(".bench.crl.new")

    def _anonymous_sizes(self) -> dict[int, int]:
        return {pid: anonymous_size(pid) for pid, role in self.agent.pids().items() if role == "worker"}

    def quiet(self) -> dict[str, Any]:
        """Return what requests and loops notice while nothing happens."""
        self._probe.report()
        found = self._load.run(self.agent, 4.0)
        self._anonymous = self._anonymous_sizes()
        return {"load": found, "lag": self._probe.report()}

    def replace(self, entries: bytes) -> dict[str, Any]:
        """Replace the list under load by one that revokes one client more; return what that took and who noticed."""
        der, _ = self._population.leaving[self._number - 1]
        if {asker.ask(der) for asker in self._askers} != {("allow", "ok")}:
            raise BenchmarkError("a client is denied that is not revoked yet")
        self._write(entries)
        self._probe.report()
        process = self._load.start(self.agent, _PATIENCE + 2 * _CALM, warm_up=0.2)
        try:
            time.sleep(_CALM)
            took = self._wait_for_denies(der)
            time.sleep(_CALM)
        finally:
            process.terminate()
        found = self._load.finish(process, self.agent, _PATIENCE)
        return {**took, "load": found, "lag": self._probe.report(), "memory": self._memory()}

    def _wait_for_denies(self, der: bytes) -> dict[str, float]:
        """Put the list in place and ask until everyone denies."""
        began = time.monotonic()
        self._revoke()
        first = peak = 0.0
        while (elapsed := time.monotonic() - began) < _PATIENCE:
            answers = [asker.ask(der) for asker in self._askers]
            if unforeseen := set(answers) - {("allow", "ok"), ("deny", "certificate_revoked")}:
                raise BenchmarkError(f"a client that is being revoked is answered {unforeseen}")
            denied = sum(verdict == "deny" for verdict, _ in answers)
            if denied and not first:
                first = time.monotonic() - began
            if denied == len(answers):
                return {"first_deny": first, "all_deny": time.monotonic() - began, "builder_peak_mb": peak / 2**20}
            peak = max(peak, *map(peak_size, self._builders()), 0)
            time.sleep(_LOOK)
        raise BenchmarkError(
            f"a list is not in force after {elapsed:.0f} s; see {self.agent.messages.read_text()[-2000:]}"
        )

    def _builders(self) -> Iterator[int]:
        yield from self.agent.children("spoa.crl_builder")

    def _memory(self) -> dict[str, Any]:
        """Return what the index takes on disk and in workers, bytes."""
        lists = self.agent.get("/status")["issuers"]["bench"]["revocation"]["sources"]["crl"]["lists"]
        (digest,) = (one["digest"] for one in lists)
        before, after = self._anonymous, self._anonymous_sizes()
        mapped = [mapping_of(pid, digest) for pid in after]
        if len({one.file for one in mapped}) != 1 or mapped[0].file is None:
            raise BenchmarkError(f"workers don't share one index: {mapped}")
        return {
            "disk": (self._evidence / digest).stat().st_size,
            "resident": [one.resident for one in mapped],
            "proportional": [one.proportional for one in mapped],
            "grown": [size - before.get(pid, 0) for pid, size in after.items()],
        }


def _measure(plan: Plan, build: Path, scratch: Path, report: Report) -> None:
    compile_programs(build)
    population = Population(scratch / "pki", _GOOD, plan.rounds + 1)
    for size in plan.sizes:
        began = time.monotonic()
        entries = entries_of(size)
        crl = population.crl(entries, (population.listed, *ODD_SERIALS), 1)
        report.size(size, len(crl), time.monotonic() - began)
        evidence = scratch / "built"
        builds = [_build(population, crl, scratch, evidence) for _ in range(plan.builds)]
        report.builds(builds, _search(evidence, builds[0]["digest"], entries))
        del crl
        for layout in plan.layouts:
            with ExitStack() as stack:
                home = scratch / f"{size}-{layout.replace(' ', '-')}"
                stage = Stage(population, build, home, _LAYOUTS[layout], stack)
                quiet = stage.quiet()
                rounds = [stage.replace(entries) for _ in range(plan.rounds)]
                report.replaced(layout, len(_LAYOUTS[layout]), quiet, rounds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two sizes and few rounds, in two minutes")
    parser.add_argument("--sizes", help="entries of a list, even numbers with commas between")
    parser.add_argument("--rounds", type=int, help="lists of each size that follow one another; the median counts")
    parser.add_argument("--builds", type=int, help="lists of each size that are built without an agent")
    parser.add_argument("--layouts", help=f"where the agent runs, with commas between: {', '.join(_LAYOUTS)}")
    parser.add_argument("--build", type=Path, default=_ROOT / "benchmarks" / "build", help="programs")
    parser.add_argument("--results", type=Path, default=_ROOT / "benchmarks" / "results", help="where the JSON goes")
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = _QUICK if arguments.quick else Plan()
    given: dict[str, Any] = {
        "sizes": arguments.sizes and tuple(map(int, arguments.sizes.split(","))),
        "rounds": arguments.rounds,
        "builds": arguments.builds,
        "layouts": arguments.layouts and tuple(arguments.layouts.split(",")),
    }
    return dataclasses.replace(plan, **{name: value for name, value in given.items() if value})


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    plan = _plan(arguments)
    if not set(plan.layouts) <= _LAYOUTS.keys() or any(size < 2 or size % 2 for size in plan.sizes):
        parser.error("layouts are those above, sizes even numbers")
    report = Report(machine(), plan)
    os.sched_setaffinity(0, LOAD_CORES)
    try:
        with tempfile.TemporaryDirectory(prefix="spoa-bench-") as scratch:
            _measure(plan, arguments.build, Path(scratch), report)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report.write(arguments.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
