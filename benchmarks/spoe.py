"""What makes SPOE cheap for HAProxy itself: fewer arguments, a digest for the certificate, a shorter answer.

Run it as `python benchmarks/spoe.py` from the top of a clone. The agent is the floor, which judges nothing: what
differs is HAProxy's own work. README.md says how to read it. Exit status: 0 when all was measured, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

_ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # so that a clone is measured without installing it

from benchmarks.certificates import make_certificates  # noqa: E402 -- after the path is set
from benchmarks.programs import BenchmarkError, Floor, compile_programs  # noqa: E402
from benchmarks.proxies import AS_THE_POLICY_READS, HAProxy, write_server_certificate  # noqa: E402
from benchmarks.report import machine  # noqa: E402
from benchmarks.through_haproxy import Way, binary_of, https_load, summary  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.loads import HttpsLoad

_REST: Final = AS_THE_POLICY_READS.removeprefix("cert=ssl_c_der ")
_SHIPPED: Final = (
    "cert=ssl_c_der used=ssl_c_used verify=ssl_c_verify resumed=ssl_fc_is_resumed src=src method=method path=path "
    "host=req.fhdr(host) sni=ssl_fc_sni tls=ssl_fc_protocol id=unique-id"
)
_RULES: Final = 200


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to ask the agent, and what it answers.

    Attributes:
        arguments: of the message; empty: no agent is asked.
        variables: how many the agent sets: eight are those of our agent's allow where a route matches.
        server: what stands behind the agent's address.
    """

    name: str
    arguments: str = AS_THE_POLICY_READS
    variables: int = 1
    server: str = ""


#: The first is what all others are compared with.
VARIANTS: Final = (
    Variant("no agent", ""),
    Variant("path alone", "path=path"),
    Variant("six arguments, without certificate", f"cert=bool(0) {_REST}"),
    Variant("six, SHA-256 of it", f"cert=ssl_c_der,sha2(256) {_REST}"),
    Variant("six, certificate (what policy reads)"),
    Variant("eleven, certificate", _SHIPPED),
    Variant("six, eight variables answered", variables=8),
    Variant("six, nine variables answered", variables=9),
    Variant("eleven, eight answered (shipped)", _SHIPPED, variables=8),
    Variant("six, pool-max-conn 4", server="pool-max-conn 4"),
)


def _measure(version: str, load: HttpsLoad, scratch: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure all variants on one version, in turns; return their figures by name."""
    binary = binary_of(version)
    with ExitStack() as stack:
        counts = {variant.variables for variant in VARIANTS}
        floors = {count: stack.enter_context(Floor(load.build, variables=count)) for count in counts}
        ways: dict[str, Way] = {}
        for number, variant in enumerate(VARIANTS):
            folder = scratch / f"spoe-{version}-{number}"
            folder.mkdir()
            write_server_certificate(folder)
            floor = floors[variant.variables] if variant.arguments else None
            address = floor.address if floor else ""
            start = partial(
                HAProxy,
                binary,
                folder,
                load.certificates,
                agent=address,
                arguments=variant.arguments,
                server=variant.server,
            )
            ways[variant.name] = Way(start, floor, judges=False)
        for _ in range(rounds):
            for way in ways.values():
                way.measure(load, seconds)
    busy = {name: summary(way.busy) for name, way in ways.items()}
    calm = {name: summary(way.calm) for name, way in ways.items()}
    return {name: {**row, "calm_p50_us": calm[name]["p50_us"]} for name, row in busy.items()}


def _print(version: str, rows: dict[str, Any]) -> None:
    first = rows[VARIANTS[0].name]
    print(f"\nHAProxy {version}{'':26}{'HAProxy us':>11}{'added':>8}{'agent':>8}{'p50 us':>9}{'calm p50':>10}")
    for name, row in rows.items():
        added = row["haproxy_us"] - first["haproxy_us"]
        print(
            f"{name:37}{row['haproxy_us']:11.1f}{added:8.1f}{row['agent_us']:8.1f}{row['p50_us']:9.0f}"
            f"{row['calm_p50_us']:10.0f}",
            flush=True,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--proxies", default="2.6,2.8,3.0,3.2,3.4", help="versions of HAProxy: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="whose median counts: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each: %(default)s")
    parser.add_argument("--build", type=Path, default=_ROOT / "benchmarks" / "build", help="programs and certificates")
    parser.add_argument("--results", type=Path, default=_ROOT / "benchmarks" / "results", help="where the JSON goes")
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    found: dict[str, Any] = {"machine": machine(), "spoe": {}}
    try:
        compile_programs(arguments.build)
        certificates = make_certificates(arguments.build, 200, 100)
        with tempfile.TemporaryDirectory(prefix="spoa-bench-") as scratch:
            load = https_load(arguments.build, Path(scratch), certificates, _RULES)
            for version in arguments.proxies.split(","):
                rows = _measure(version, load, Path(scratch), arguments.rounds, arguments.seconds)
                found["spoe"][version] = rows
                _print(version, rows)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"spoe-{found['machine']['date'].replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nall figures: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
