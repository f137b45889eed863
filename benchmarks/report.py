"""The table on the screen and the JSON file."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from benchmarks.programs import AGENT_CORES, LOAD_CORES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from _typeshed import DataclassInstance

__all__ = ["Report", "Target", "machine", "medians"]

_COLUMNS: Final = f"{'':32}{'per second':>12}{'CPU us':>9}{'p50 us':>9}{'p99 us':>9}{'p99.9':>9}{'max us':>10}"
_MS: Final = 1000
_DISTURBED: Final = 0.2  # share of the time in which something waited for a core, above which figures mean little


class Target(Protocol):
    """What a shape may cost; 0 where nothing is promised. See `benchmarks.shapes.Shape`."""

    @property
    def name(self) -> str:
        """For the table."""

    @property
    def cpu(self) -> float:
        """Most CPU a decision, in that of the floor."""

    @property
    def rate(self) -> float:
        """Least decisions a second, in those of the floor."""

    @property
    def per_core(self) -> float:
        """Least decisions for each second of CPU."""

    @property
    def p99(self) -> float:
        """Highest 99th percentile, in that of the floor."""

    @property
    def p99_ms(self) -> float:
        """Highest 99th percentile, milliseconds."""


class Changed(Protocol):
    """What was changed under load; see `benchmarks.shapes.Change`."""

    @property
    def name(self) -> str:
        """For the table."""

    @property
    def limit(self) -> float:
        """Most seconds until it is in effect, or 0."""


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "agent_cores": sorted(AGENT_CORES),
        "load_cores": sorted(LOAD_CORES),
        "load_average": os.getloadavg()[0],
    }


def medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the median of every figure over some rounds; CPU is that of all processes, and `worker_us` of one kind."""
    names = ("per_second", "p50_us", "p99_us", "p999_us", "max_us")
    found = {name: statistics.median(one[name] for one in rounds) for name in names}
    found["cpu_us"] = statistics.median(one["cpu_us"]["all"] for one in rounds)
    found["worker_us"] = statistics.median(one["cpu_us"].get("worker", one["cpu_us"]["all"]) for one in rounds)
    found["disturbed"] = statistics.median(one.get("disturbed", 0.0) for one in rounds)
    return found


class Report:
    """Says each result as it comes, and keeps all for the file."""

    def __init__(self, about: Mapping[str, Any], plan: DataclassInstance) -> None:
        self._found: dict[str, Any] = {
            "machine": dict(about),
            "plan": dataclasses.asdict(plan),
            "shapes": [],
            "memory": [],
            "comparisons": [],
            "reloads": [],
            "limits": [],
            "proxies": [],
            "notes": [],
        }
        print(f"{about['python']} on {about['system']}, load average {about['load_average']:.1f}")
        if AGENT_CORES == LOAD_CORES:
            self.note("one core only: agent and load share it; CPU a decision is all that can be trusted")

    def title(self, text: str) -> None:
        """Begin another table."""
        print(f"\n{text}\n{_COLUMNS}", flush=True)

    def heading(self, text: str) -> None:
        """Begin a table with columns of its own."""
        print(f"\n{text}", flush=True)

    def note(self, text: str) -> None:
        """Say something that is no figure."""
        self._found["notes"].append(text)
        print(f"  {text}", flush=True)

    def first_meeting(self, met: Mapping[str, Any]) -> None:
        """Tell what certificates cost that were never seen."""
        self._found["first_meeting"] = met
        print(f"{_line('2x1, all certificates new', medians([met]))}", flush=True)

    def shape(self, target: Target, rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Tell how the agent did beside the floor."""
        floor, agent = medians(rounds["floor"]), medians(rounds["agent"])
        ratios = {
            "cpu": agent["cpu_us"] / floor["cpu_us"],
            "p99": agent["p99_us"] / floor["p99_us"],
            "worker_cpu": agent["worker_us"] / floor["cpu_us"],
            "rate": agent["per_second"] / floor["per_second"],
            "per_core": 1e6 / agent["cpu_us"],
        }
        verdicts = _verdicts(target, agent, ratios)
        self._found["shapes"].append(
            {
                "name": target.name,
                "floor": floor,
                "agent": agent,
                "ratios": ratios,
                "targets": verdicts,
                "rounds": rounds,
            }
        )
        print(_line(target.name, agent))
        print(_line("  floor", floor))
        said = f"    {ratios['cpu']:.2f} of the floor's CPU ({ratios['worker_cpu']:.2f} the worker alone), "
        said += f"{ratios['rate']:.2f} of its rate, {ratios['per_core']:,.0f} decisions a second of CPU"
        print(said)
        self._disturbance(agent)
        if overdue := sum(one["overdue"] for one in rounds["agent"]):
            print(f"    {overdue} requests were denied because their time was up")
        for text, is_met in verdicts.items():
            self._verdict(text, is_met=is_met)

    def comparison(self, name: str, rounds: Mapping[str, Sequence[Mapping[str, Any]]], limit: float) -> None:
        """Tell what more of something costs: the first side beside each other one."""
        sides = {side: medians(found) for side, found in rounds.items()}
        (first_name, first), *others = sides.items()
        ratios = {side: figures["cpu_us"] / first["cpu_us"] for side, figures in others}
        self._found["comparisons"].append(
            {"name": name, "sides": sides, "ratios": ratios, "limit": limit, "rounds": rounds}
        )
        for side, figures in sides.items():
            print(_line(f"{name}: {side}", figures))
            self._disturbance(figures)
        for side, ratio in ratios.items():
            self._verdict(f"CPU with {side} <= {limit} of that with {first_name}: {ratio:.2f}", is_met=ratio <= limit)

    def limit(self, name: str, value: float, most: float, unit: str) -> None:
        """Tell a single figure, and the most it may be."""
        self._found["limits"].append({"name": name, "value": value, "limit": most, "unit": unit})
        self._verdict(f"{name} <= {most:g} {unit}: {value:.1f}", is_met=value <= most)

    def reload(self, change: Changed, quiet: Mapping[str, Any], busy: Mapping[str, Any], took: Sequence[float]) -> None:
        """Tell what requests noticed of reloads."""
        self._found["reloads"].append({"name": change.name, "quiet": quiet, "busy": busy, "seconds": list(took)})
        print(_line("no reload, floor", medians([quiet["floor"]])))
        print(_line("no reload", medians([quiet["agent"]])))
        print(_line("reloads", medians([busy])))
        print(f"    in effect after {min(took):.2f} to {max(took):.2f} s; {busy['slow']} of {busy['acks']} above 20 ms")
        self._verdict("no request slower than 20 ms, none lost, all verdicts right", is_met=not busy["slow"])
        if change.limit:
            median = statistics.median(took)
            self._verdict(f"in effect within {change.limit:g} s: {median:.2f}", is_met=median <= change.limit)

    def proxy(self, found: Mapping[str, Any]) -> None:
        """Tell what authorization costs behind one version of HAProxy; see `benchmarks.through_haproxy`."""
        self._found["proxies"].append(dict(found))
        print(f"{'':32}{'CPU us':>9}{'HAProxy':>9}{'agent':>9}{'p50 us':>9}{'added':>9}{'calm p50':>9}{'added':>9}")
        for name, row in found["ways"].items():
            print(
                f"{name:32}{row['cpu_us']:9.1f}{row['haproxy_us']:9.1f}{row['agent_us']:9.1f}{row['p50_us']:9.0f}"
                f"{row['added_us']:9.0f}{row['calm_p50_us']:9.0f}{row['calm_added_us']:9.0f}"
            )
            if "of_floor" in row:
                span = f"{row['of_floor_least']:.2f} to {row['of_floor_most']:.2f}"
                print(f"    CPU in that of the floor, round by round: {row['of_floor']:.2f}, {span}")
            self._disturbance(row)
        for text, is_met in found["targets"].items():
            self._verdict(text, is_met=is_met)

    def _disturbance(self, figures: Mapping[str, float]) -> None:
        if figures["disturbed"] > _DISTURBED:
            print(f"    something waited for a core {figures['disturbed']:.0%} of the time: don't trust this line")

    def _verdict(self, text: str, *, is_met: bool) -> None:
        print(f"    {'met   ' if is_met else 'MISSED'} {text}", flush=True)

    def memory(self, sizes: Mapping[str, int]) -> None:
        """Tell how large the processes are."""
        self._found["memory"].append(dict(sizes))
        print("  memory: " + ", ".join(f"{name} {size / 1024:.0f} MB" for name, size in sizes.items()), flush=True)

    def write(self, directory: Path) -> Path:
        """Keep everything, all rounds included, and return the file."""
        directory.mkdir(parents=True, exist_ok=True)
        stamp = self._found["machine"]["date"].replace(":", "").replace("+0000", "Z")
        path = directory / f"{stamp}.json"
        path.write_text(json.dumps(self._found, indent=1) + "\n")
        print(f"\nall figures: {path}", flush=True)
        return path


def _line(name: str, figures: Mapping[str, float]) -> str:
    return (
        f"{name:32}{figures['per_second']:12,.0f}{figures['cpu_us']:9.2f}{figures['p50_us']:9.0f}"
        f"{figures['p99_us']:9.0f}{figures['p999_us']:9.0f}{figures['max_us']:10.0f}"
    )


def _verdicts(target: Target, agent: Mapping[str, float], ratios: Mapping[str, float]) -> dict[str, bool]:
    """Return each target as a sentence, and whether it is met."""
    found: dict[str, bool] = {}
    if target.cpu:
        found[f"CPU <= {target.cpu} of the floor's: {ratios['cpu']:.2f}"] = ratios["cpu"] <= target.cpu
    if target.rate:
        found[f"rate >= {target.rate} of the floor's: {ratios['rate']:.2f}"] = ratios["rate"] >= target.rate
    if target.per_core:
        text = f">= {target.per_core:,.0f} decisions a second of CPU: {ratios['per_core']:,.0f}"
        found[text] = ratios["per_core"] >= target.per_core
    if target.p99:
        found[f"p99 <= {target.p99} of the floor's: {ratios['p99']:.2f}"] = ratios["p99"] <= target.p99
    if target.p99_ms:
        found[f"p99 <= {target.p99_ms} ms: {agent['p99_us'] / _MS:.2f}"] = agent["p99_us"] <= target.p99_ms * _MS
    return found
