"""Decision logs judged again: how many decisions a second one core judges.

    python benchmarks/replay.py [--clients 10000] [--decisions 200000] [--rounds 5]

Logs are what an agent would have written: real certificates judged by the policy of 200 rules, and each decision
written by the agent's own writer. They are judged again under the same policy, in this process and no other, the way
the verb does it. What counts is the process's CPU time, from opening the log to the last count; the policy is loaded
before.
"""

from __future__ import annotations

import argparse
import ipaddress
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.certificates import make_certificates, read_pack
from benchmarks.policies import write_policy, write_requests
from spoa.facts import Request
from spoa.loading import load_policy
from spoa.logline import Entry, LineWriter
from spoa.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.certificates import Certificates
    from spoa.authorizer import Policy

__all__ = ["SHAPES", "main", "rate", "write_log"]

_BUILD: Final = Path(__file__).parent / "build"
_RULES: Final = 200
_LISTED: Final = 100_000
_TARGET: Final = 50_000
_STEP: Final = 0.001  # seconds between two decisions

#: Shape → in how many rounds the same decisions recur.
SHAPES: Final = {"all different": 1, "each 20 times": 20}


def write_log(file: Path, policy: Policy, certificates: Certificates, decisions: int, repeats: int) -> None:
    """Write a decision log.

    Args:
        file: where to.
        policy: judges.
        certificates: whose clients ask, in turns.
        decisions: lines.
        repeats: how often each request is in it; requests differ in their paths.
    """
    ders = list(read_pack(certificates.usual))
    with tempfile.NamedTemporaryFile("r") as requests:
        write_requests(Path(requests.name), certificates.count, _RULES, decisions // repeats)
        asked = [line.split() for line in requests]
    began, writer = time.time(), LineWriter()
    with file.open("wb") as log:
        for number, (certificate, method, path, source, _) in enumerate(asked * repeats):
            now = began + number * _STEP
            request = Request(
                cert=ders[int(certificate)],
                used=True,
                verify=0,
                source=ipaddress.ip_address(source).packed,
                method=method,
                path=path,
                host="api.example.com",
                id=f"0A00{number:08X}:9C40_7F000001:01BB_65A1B2C3_0001:1A2B",
            )
            judgement = policy.judge(request, now)
            log.write(writer.line(Entry(now, 5e-5, request, judgement, policy.revision)) + b"\n")


def rate(log: Path, policy: Policy) -> float:
    """Return how many decisions a second of CPU time are judged again.

    Raises:
        SystemExit: one is judged otherwise than it was, which the same policy can't do.
    """
    began = time.process_time()
    with log.open("rb") as file:
        totals = Replay(policy).read(file)
    taken = time.process_time() - began
    if totals.unread or totals.tags["same"] != totals.decisions:
        raise SystemExit(f"{log}: {totals.unread} lines unread, {dict(totals.tags)} of {totals.decisions}")
    return totals.decisions / taken


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each shape, and print the median and the range of its rounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--decisions", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    plan = parser.parse_args(arguments)
    certificates = make_certificates(_BUILD, plan.clients, 0)
    with tempfile.TemporaryDirectory() as folder:
        write_policy(Path(folder) / "policies", certificates, _RULES, _LISTED)
        policy = load_policy(Path(folder) / "policies")
        for shape, repeats in SHAPES.items():
            log = Path(folder) / f"{repeats}.jsonl"
            write_log(log, policy, certificates, plan.decisions, repeats)
            rates = sorted(rate(log, policy) for _ in range(plan.rounds))
            median = statistics.median(rates)
            met = "met" if median >= _TARGET else "MISSED"
            print(
                f"{shape:14} {median:9,.0f}/s of CPU time ({rates[0]:,.0f} to {rates[-1]:,.0f}); "
                f"target {_TARGET:,}: {met}"
            )


if __name__ == "__main__":
    main()
