"""Where a decision's microseconds go: the kernel's by system call, the loop's, and ours by step, of the running agent.

Run it as `python benchmarks/microseconds.py` from the top of a clone, over a tree that is compiled (`make compiled`);
elsewhere the interpreter is all that shows. It needs Linux's `perf` (Debian: apt-get install linux-perf) and the right
to use it.
Each figure is the worker's CPU for a decision, measured without perf, times the share of the samples that were there.
Exit status: 0 when all was measured, 1 when an answer was wrong or lost, or something could not be started.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

_ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # so that a clone is measured without installing it

from benchmarks.bench import Bench, Plan  # noqa: E402 -- after the path is set
from benchmarks.programs import BenchmarkError  # noqa: E402
from benchmarks.report import Report, machine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.programs import Agent

_SHAPES: Final = {
    "recurring, 50x1": ("recurring", 50, 1),
    "paths never seen, 50x1": ("paths", 50, 1),
    "recurring, 1x1": ("recurring", 1, 1),
    "recurring, 4x20": ("recurring", 4, 20),
}
_HERTZ: Final = 5000


class Step(NamedTuple):
    """A part of a decision and what it buys: its samples have a frame of this name, in an object of this name."""

    name: str
    buys: str
    frames: str = ""
    objects: str = ""

    def has(self, sample: Iterable[tuple[str, str]]) -> bool:
        """Tell whether a sample belongs here, given as functions and the objects that they are in."""
        return any(re.search(self.frames, frame) and re.search(self.objects, place) for frame, place in sample)


_KERNEL: Final = "kernel"
_OURS: Final = "__mypyc"
_SHARED: Final = "mypyc"
_PYTHON: Final = r"python|libc\.|_bisect|_json"


def _functions_of(*modules: str) -> str:
    """Return what the names of functions in C begin with that these modules were compiled to."""
    return rf"^CPy[A-Za-z]+_({'|'.join(modules)})___"


#: The first that has a sample takes it.
STEPS: Final = (
    Step(
        "kernel: an answer is written",
        "the other end has it: over loopback the write itself carries it there, and wakes who waits for it",
        r"sys_(write|send)",
        _KERNEL,
    ),
    Step("kernel: what came is read", "the request", r"sys_(read|recv)", _KERNEL),
    Step("kernel: waiting", "one sleep, and one waking up, for all that comes at once", "epoll", _KERNEL),
    Step("kernel: all else", "entering and leaving it, interrupts", objects=f"{_KERNEL}|vdso"),
    Step("uvloop", "from a ready socket to a read, from an answer to a write", objects=r"^loop\."),
    Step(
        "`Peer` and `Turn`",
        "at most two reads are held for a peer, one that takes no answers waits, and nobody waits for another",
        _functions_of("peer", "turn"),
        _OURS,
    ),
    Step(
        "`Connection`",
        "any split of the stream, every limit checked",
        _functions_of("connection", "cutting", "payloads", "typeddata", "varint"),
        _OURS,
    ),
    Step(
        "`Answering`",
        "deadlines, counts, what to log, the answer's bytes; no error is an allow",
        _functions_of("answering", "adapter", "counts", "decision_log", "histogram", "logline"),
        _OURS,
    ),
    Step(
        "`Recall`",
        "what recurs is not judged again; nothing that expired, was blocked or revoked is remembered",
        _functions_of("recall", "remembered", "blocks", "cache"),
        _OURS,
    ),
    Step(
        "what is judged",
        "the path, strictly for what allows, generously for what denies; certificates and rules where they are new",
        _functions_of(
            *("authorizer", "decision", "evaluator", "gates", "holding", "path", "pivots", "segments", "table", "text"),
            *("identity", "issuers", "listindex", "plaincertificate", "plainparts", "signatures", "unlisted"),
            *("crl", "crl_index"),
        ),
        _OURS,
    ),
    Step(_SHARED, "calls, attributes and numbers of all of these", objects=_OURS),
    Step("comparing", "the certificate is the one that was judged, octet for octet", "memcmp", _PYTHON),
    Step("look-ups", "keys' digests and places in tables, of all of these", "hash|dict|set_|keys_lookup", _PYTHON),
    Step(
        "memory",
        "objects of all of these come and go",
        "[aA]lloc|[fF]ree|unlink_chunk|memmove|memcpy|consolidate|gc_",
        _PYTHON,
    ),
    Step("Python", "the rest: calls from the loop, texts, octets, tuples", objects=_PYTHON),
    Step("all else", ""),
)


def samples(text: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the frames of each sample of what `perf script -F ip,sym,dso` prints: function and object, innermost first.

    Of the kernel's there is the chain of calls; elsewhere that can't be trusted, and the innermost frame stands alone.
    """
    for block in text.split("\n\n"):
        frames = re.findall(r"^\s*[0-9a-f]+ (.*?)(?:\+0x[0-9a-f]+)? \((.*)\)$", block, re.MULTILINE)
        within = [(name, Path(place).name) for name, place in frames]
        if within:
            yield [frame for frame in within if _KERNEL in frame[1]] if _KERNEL in within[0][1] else within[:1]


def shares(text: str) -> dict[str, float]:
    """Return each step's share of the samples; steps that have none are left out.

    Raises:
        BenchmarkError: there are no samples.
    """
    found = Counter(next(step.name for step in STEPS if step.has(sample)) for sample in samples(text))
    if not found:
        raise BenchmarkError("perf has no samples: may it be used here?")
    return {step.name: found[step.name] / found.total() for step in STEPS if step.name in found}


def _sampled(bench: Bench, agent: Agent, kind: tuple[str, int, int], seconds: float) -> dict[str, float]:
    """Return the microseconds of each step."""
    load = bench.load(*kind)
    bench.recur(agent, load)
    cpu = load.run(agent, seconds)["cpu_us"]["worker"]
    (worker,) = agent.children("spoa.worker")
    data = bench.scratch / f"{'-'.join(map(str, kind))}.perf"
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(_HERTZ), "--call-graph", "fp"]
    with subprocess.Popen([*record, "-p", str(worker), "-o", str(data)]) as process:
        try:
            load.run(agent, seconds)
        finally:
            process.send_signal(signal.SIGINT)
    script = ["perf", "script", "-i", str(data), "-F", "ip,sym,dso"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"perf has recorded nothing that it can read: {done.stderr.strip()}")
    return {name: share * cpu for name, share in shares(done.stdout).items()}


def _print(found: dict[str, dict[str, float]]) -> None:
    print(f"\n| CPU us of the worker a decision | {' | '.join(found)} | buys |\n| --- |{' --- |' * len(found)} --- |")
    for step in STEPS:
        row = [steps.get(step.name, 0.0) for steps in found.values()]
        if any(row):
            print(f"| {step.name} | {' | '.join(f'{one:.2f}' for one in row)} | {step.buys} |")
    print(f"| all | {' | '.join(f'{sum(steps.values()):.2f}' for steps in found.values())} | |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=4.0, help="for which each shape is sampled")
    parser.add_argument("--certificates", type=int, default=10_000, help="how many recur")
    parser.add_argument("--tree", type=Path, default=_ROOT / "build" / "compiled", help="where the agent's `spoa` lies")
    parser.add_argument("--build", type=Path, default=_ROOT / "benchmarks" / "build", help="programs and certificates")
    arguments = parser.parse_args()
    if shutil.which("perf") is None:
        print("benchmark: no perf found; install it (Debian: apt-get install linux-perf)", file=sys.stderr)
        return 1
    try:
        plan = Plan(certificates=arguments.certificates)
        with tempfile.TemporaryDirectory(prefix="spoa-bench-") as scratch:
            report = Report(machine(), plan)
            bench = Bench(plan, arguments.build, Path(scratch), report, arguments.tree.resolve())
            with bench.agent(plan.rules, plan.listed) as agent:
                bench.meet(agent, bench.load("recurring", 50, 1))
                found = {name: _sampled(bench, agent, kind, arguments.seconds) for name, kind in _SHAPES.items()}
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    _print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
