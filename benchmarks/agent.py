"""What the running agent costs: decisions a second and CPU a decision, over sockets, beside an agent that does nothing.

Run it as `python benchmarks/agent.py` from the top of a clone; README.md says what is measured and how to read it.
Exit status: 0 when all was measured, 1 when an answer was wrong or lost, or something could not be started.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

_ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # so that a clone is measured without installing it

from benchmarks.bench import QUICK, Bench, Plan  # noqa: E402 -- after the path is set
from benchmarks.plots import draw  # noqa: E402
from benchmarks.programs import BenchmarkError  # noqa: E402
from benchmarks.report import Report, machine  # noqa: E402
from benchmarks.shapes import measure_reload, measure_scaling, measure_shapes  # noqa: E402
from benchmarks.sizes import measure_logging, measure_memory, measure_workers  # noqa: E402
from benchmarks.through_haproxy import measure_proxies  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PARTS: Final[Mapping[str, Callable[[Bench], None]]] = {
    "shapes": measure_shapes,
    "scaling": measure_scaling,
    "reload": measure_reload,
    "workers": measure_workers,
    "logging": measure_logging,
    "memory": measure_memory,
    "proxy": measure_proxies,
}
_NUMBERS: Final[Mapping[str, tuple[Callable[[str], float], str]]] = {
    "rounds": (int, "rounds of each shape, whose median counts"),
    "seconds": (float, "length of a round"),
    "certificates": (int, "how many recur"),
    "fresh": (int, "how many are sent once"),
    "rules": (int, "of the policy"),
    "listed": (int, "lines of the allowlist"),
    "revoked": (int, "entries of the revocation list; 0: there is none"),
    "many_rules": (int, "of the policy that is compared with one of ten"),
    "many_listed": (int, "lines of the list that is compared with one of a thousand"),
    "reloads": (int, "changes under load, of each size"),
    "distinct": (int, "requests until memory is looked at again"),
    "proxy_rounds": (int, "rounds of each way through HAProxy"),
    "proxy_seconds": (float, "length of one"),
}


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else Plan()
    given = {name: getattr(arguments, name) for name in _NUMBERS if getattr(arguments, name) is not None}
    if arguments.proxies is not None:
        given["proxies"] = tuple(arguments.proxies.split(","))
    return replace(plan, peers=not arguments.no_peers, proxy_apart=arguments.proxy_apart, **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller, fewer and shorter, below three minutes")
    parser.add_argument("--parts", default=",".join(_PARTS), help="what to measure: %(default)s")
    for name, (kind, text) in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)
    parser.add_argument("--proxies", help="versions of HAProxy, with commas: 2.6,2.8,3.0,3.2,3.4")
    parser.add_argument("--proxy-apart", action="store_true", help="the load has HAProxy's core, the agent its own")
    parser.add_argument("--no-peers", action="store_true", help="leave out agents from the package registry")
    parser.add_argument("--tree", type=Path, default=_ROOT, help="where the `spoa` lies that the agent runs")
    parser.add_argument("--build", type=Path, default=_ROOT / "benchmarks" / "build", help="programs and certificates")
    parser.add_argument("--results", type=Path, default=_ROOT / "benchmarks" / "results", help="where the JSON goes")
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    parts = arguments.parts.split(",")
    if not set(parts) <= set(_PARTS):
        print(f"--parts are some of {', '.join(_PARTS)}", file=sys.stderr)
        return 2
    tree = arguments.tree.resolve()
    if not (tree / "spoa" / "__main__.py").exists():
        print(f"--tree: there is no spoa in {tree}", file=sys.stderr)
        return 2
    plan = _plan(arguments)
    report = Report({**machine(), "tree": str(tree)}, plan)
    try:
        with tempfile.TemporaryDirectory(prefix="spoa-bench-") as scratch:
            bench = Bench(plan, arguments.build, Path(scratch), report, tree)
            for part in parts:
                _PARTS[part](bench)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        report.note(f"it ended early: {error}")
        report.write(arguments.results)  # half an hour's figures are not lost for one that failed
        return 1
    for picture in draw(report.write(arguments.results)):
        print(f"picture: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
