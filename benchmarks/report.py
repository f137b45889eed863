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
    """What a shape may cost; 0 where nothing is promised. See `benchmarks.agent.Shape`."""

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
    def is_fresh(self) -> bool:
        """New certificates come; the 99th percentile is then limited too."""


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
        }
        self._found |= {"comparisons": [], "notes": []}
        print(f"{about['python']} on {about['system']}, load average {about['load_average']:.1f}")
        if AGENT_CORES == LOAD_CORES:
            self.note("one core only: agent and load share it; CPU a decision is all that can be trusted")

    def title(self, text: str) -> None:
        """Begin another table."""
        print(f"\n{text}\n{_COLUMNS}", flush=True)

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
        if agent["disturbed"] > _DISTURBED:
            print(f"    something waited for a core {agent['disturbed']:.0%} of the time: don't trust this line")
        if overdue := sum(one["overdue"] for one in rounds["agent"]):
            print(f"    {overdue} requests were denied because their time was up")
        for text, is_met in verdicts.items():
            print(f"    {'met   ' if is_met else 'MISSED'} {text}")
        print(end="", flush=True)

    def comparison(self, name: str, sides: Sequence[Mapping[str, float]], limit: float) -> None:
        """Tell what more of something costs."""
        few, many = sides
        ratio = many["cpu_us"] / few["cpu_us"]
        self._found["comparisons"].append({"name": name, "few": few, "many": many, "ratio": ratio, "limit": limit})
        print(_line(f"{name}: few", few))
        print(_line(f"{name}: many", many))
        print(f"    {'met   ' if ratio <= limit else 'MISSED'} CPU <= {limit} of few: {ratio:.2f}", flush=True)

    def reload(self, quiet: Mapping[str, Any], busy: Mapping[str, Any], took: Sequence[float]) -> None:
        """Tell what requests noticed of reloads."""
        self._found["reload"] = {"quiet": quiet, "busy": busy, "seconds": list(took)}
        print(_line("no reload, floor", medians([quiet["floor"]])))
        print(_line("no reload", medians([quiet["agent"]])))
        print(_line("reloads", medians([busy])))
        print(f"    in effect after {min(took):.2f} to {max(took):.2f} s; {busy['slow']} of {busy['acks']} above 20 ms")
        is_met = not busy["slow"]
        print(
            f"    {'met   ' if is_met else 'MISSED'} no request slower than 20 ms, none lost, all verdicts right",
            flush=True,
        )

    def memory(self, sizes: Mapping[str, int]) -> None:
        """Tell how large the processes are."""
        self._found["memory"].append(dict(sizes))
        print("  memory: " + ", ".join(f"{name} {size / 1024:.0f} MB" for name, size in sizes.items()), flush=True)

    def write(self, directory: Path) -> None:
        """Keep everything, all rounds included."""
        directory.mkdir(parents=True, exist_ok=True)
        stamp = self._found["machine"]["date"].replace(":", "").replace("+0000", "Z")
        path = directory / f"{stamp}.json"
        path.write_text(json.dumps(self._found, indent=1) + "\n")
        print(f"\nall figures: {path}")


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
    if target.is_fresh:
        found[f"p99 <= 5 ms: {agent['p99_us'] / _MS:.2f}"] = agent["p99_us"] <= 5 * _MS
    return found
