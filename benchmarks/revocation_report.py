"""The table of `revocation.py` on the screen, and its JSON file."""

from __future__ import annotations

import dataclasses
import json
import statistics
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from _typeshed import DataclassInstance

__all__ = ["Report"]

_MS: Final = 1000
_MB: Final = 1024 * 1024
_MILLION: Final = 1_000_000
_DISTURBED: Final = 0.2  # as in `report`
#: What the project promises.
_SECONDS: Final = 6.0
_BYTES: Final = 40.0
_LAG_MS: Final = 10.0
_REQUEST_MS: Final = 20.0
_LOOKUP_US: Final = 10.0


class Report:
    """Says each result as it comes, and keeps all for the file."""

    def __init__(self, about: Mapping[str, Any], plan: DataclassInstance) -> None:
        self._found: dict[str, Any] = {"machine": dict(about), "plan": dataclasses.asdict(plan), "sizes": []}
        print(
            f"{about['python']} on {about['system']}, {about['cores']} cores, load average {about['load_average']:.1f}"
        )
        print("median (best) of the rounds")

    def size(self, entries: int, octets: int, seconds: float) -> None:
        """Begin with lists of another length."""
        self._found["sizes"].append({"entries": entries, "crl_bytes": octets, "layouts": []})
        print(f"\n{entries:,} entries, {octets / _MB:.0f} MB, made in {seconds:.1f} s", flush=True)

    def builds(self, rounds: Sequence[Mapping[str, Any]], search: Mapping[str, Any]) -> None:
        """Tell what building and searching cost without an agent."""
        self._found["sizes"][-1] |= {"builds": list(rounds), "search": dict(search)}
        seconds, cpu, peak = (_middle(rounds, name) for name in ("seconds", "cpu_seconds", "peak_mb"))
        print(f"  builder alone     {seconds} s, {cpu} s of CPU, {peak} MB at its peak, start of Python included")
        size = rounds[0]["bytes"] / rounds[0]["entries"]
        print(f"  index             {size:.2f} bytes an entry on disk, opened in {search['open_ms']:.1f} ms")
        hit, miss = search["hit_us"], search["miss_us"]
        print(f"  look-up           hit {_span(hit)} us, miss {_span(miss)} us; negative and zero serial numbers right")
        self._judge(f"look-up <= {_LOOKUP_US:.0f} us", max(statistics.median(hit), statistics.median(miss)), _LOOKUP_US)

    def replaced(self, layout: str, cores: int, quiet: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> None:
        """Tell what replacing lists under load took and who noticed."""
        size = self._found["sizes"][-1]
        size["layouts"].append({"name": layout, "cores": cores, "quiet": dict(quiet), "rounds": list(rounds)})
        print(f"  agent on {layout}")
        first, every, peak = (_middle(rounds, name) for name in ("first_deny", "all_deny", "builder_peak_mb"))
        print(f"    rename to deny    first {first} s, everywhere {every} s; builder {peak} MB at its peak")
        print(f"    requests          {_latency([one['load'] for one in rounds])}")
        print(f"      nothing changes {_latency([quiet['load']])}")
        if quiet["load"]["disturbed"] > _DISTURBED:
            print(f"      something waited for a core {quiet['load']['disturbed']:.0%} of that time: don't trust much")
        print(f"    loop's lag        {_lag([one['lag'] for one in rounds])}")
        print(f"      nothing changes {_lag([quiet['lag']])}")
        held = [_held(one["memory"]) / size["entries"] for one in rounds]
        memory = rounds[-1]["memory"]
        shared, grown = sum(memory["proportional"]) / _MB, max(memory["grown"]) / _MB
        print(f"    memory            {shared:.1f} MB of the index in all workers, {grown:+.1f} MB a worker of its own")
        if size["entries"] == _MILLION:
            self._judge(f"a million in force after <= {_SECONDS:.0f} s", _median(rounds, "all_deny"), _SECONDS)
        if size["entries"] >= _MILLION:
            self._judge(f"bytes an entry <= {_BYTES:.0f}, workers together", statistics.median(held), _BYTES)
        self._judge(
            f"loop's lag p99 <= {_LAG_MS:.0f} ms", statistics.median(one["lag"]["p99_ms"] for one in rounds), _LAG_MS
        )
        slowest = statistics.median(one["load"]["max_us"] / _MS for one in rounds)
        self._judge(f"no request above {_REQUEST_MS:.0f} ms", slowest, _REQUEST_MS)
        overdue = sum(one["load"]["overdue"] for one in rounds)
        if overdue:
            print(f"    {overdue} requests were denied because their time was up")

    def _judge(self, what: str, value: float, limit: float) -> None:
        self._found["sizes"][-1].setdefault("targets", []).append(
            {"target": what, "value": value, "met": value <= limit}
        )
        print(f"    {'met   ' if value <= limit else 'MISSED'} {what}: {value:.2f}", flush=True)

    def write(self, directory: Path) -> None:
        """Keep everything, all rounds included."""
        directory.mkdir(parents=True, exist_ok=True)
        stamp = self._found["machine"]["date"].replace(":", "").replace("+0000", "Z")
        path = directory / f"revocation-{stamp}.json"
        path.write_text(json.dumps(self._found, indent=1) + "\n")
        print(f"\nall figures: {path}")


def _median(rounds: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(statistics.median(one[name] for one in rounds))


def _middle(rounds: Sequence[Mapping[str, Any]], name: str) -> str:
    return _span([one[name] for one in rounds])


def _span(values: Sequence[float]) -> str:
    """Return the median of some values and the best, three digits each."""
    return f"{statistics.median(values):.3g} ({min(values):.3g})"


def _latency(loads: Sequence[Mapping[str, Any]]) -> str:
    p50, p99, slowest = ([one[name] / _MS for one in loads] for name in ("p50_us", "p99_us", "max_us"))
    count, slow = sum(one["acks"] for one in loads), sum(one["slow"] for one in loads)
    late = max(one["late_max_us"] for one in loads) / _MS
    spans = f"p50 {_span(p50)}, p99 {_span(p99)}, max {_span(slowest)} ms"
    return f"{spans}; {slow} of {count} above 20 ms, client itself late by up to {late:.3g} ms"


def _lag(lags: Sequence[Mapping[str, Any]]) -> str:
    p50, p99, longest = ([one[name] for one in lags] for name in ("p50_ms", "p99_ms", "max_ms"))
    return f"p50 {_span(p50)}, p99 {_span(p99)}, max {_span(longest)} ms"


def _held(memory: Mapping[str, Any]) -> float:
    """Return the bytes that a list takes: its index once, and what each worker has of its own."""
    return float(memory["disk"] + sum(max(0, size) for size in memory["grown"]))
