"""Pictures of a run: throughput and CPU, latency, what more of everything costs, and HAProxy; PNG and SVG."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["draw"]

_OURS: Final = "#1f6f8b"
_FLOOR: Final = "#b9b9b9"
_LIMIT: Final = "#c0392b"


def _bars(axes: Any, names: Iterable[str], series: Mapping[str, tuple[str, list[float]]], title: str) -> None:
    """Draw groups of horizontal bars, with each figure at its end."""
    labels = list(names)
    height = 0.8 / len(series)
    for number, (name, (colour, values)) in enumerate(series.items()):
        places = [place + (number - (len(series) - 1) / 2) * height for place in range(len(labels))]
        bars = axes.barh(places, values, height, label=name, color=colour)
        axes.bar_label(bars, fmt="%.4g", padding=2, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(title, fontsize=10, loc="left")
    if len(series) > 1:
        axes.legend(fontsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _throughput(found: Mapping[str, Any], figure: Figure) -> None:
    shapes = found["shapes"]
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, key, title in ((left, "per_second", "decisions a second"), (right, "cpu_us", "CPU us a decision")):
        series = {side: (colour, [one[side][key] for one in shapes]) for side, colour in _SIDES}
        _bars(axes, [one["name"] for one in shapes], series, title)


def _latency(found: Mapping[str, Any], figure: Figure) -> None:
    shapes = found["shapes"]
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, key, title in ((left, "p50_us", "median, us"), (right, "p99_us", "99th percentile, us")):
        series = {side: (colour, [one[side][key] for one in shapes]) for side, colour in _SIDES}
        _bars(axes, [one["name"] for one in shapes], series, title)
        axes.set_xscale("log")


_SIDES: Final = (("floor", _FLOOR), ("agent", _OURS))


def _scaling(found: Mapping[str, Any], figure: Figure) -> None:
    comparisons = found["comparisons"]
    for axes, one in zip(figure.subplots(len(comparisons), 1, squeeze=False)[:, 0], comparisons, strict=True):
        sides = one["sides"]
        _bars(
            axes, sides, {"": (_OURS, [side["cpu_us"] for side in sides.values()])}, f"{one['name']}: CPU us a decision"
        )
        first = next(iter(sides.values()))["cpu_us"]
        axes.axvline(first * one["limit"], color=_LIMIT, linewidth=1, linestyle="--")


def _proxies(found: Mapping[str, Any], figure: Figure) -> None:
    proxies = found["proxies"]
    for column, one in zip(figure.subplots(1, len(proxies), squeeze=False)[0], proxies, strict=True):
        ways = one["ways"]
        places = range(len(ways))
        haproxy = [row["haproxy_us"] for row in ways.values()]
        column.barh(places, haproxy, label="HAProxy", color=_FLOOR)
        agent = column.barh(
            places, [row["agent_us"] for row in ways.values()], left=haproxy, label="agent", color=_OURS
        )
        column.bar_label(agent, [f"{row['cpu_us']:.0f}" for row in ways.values()], padding=2, fontsize=7)
        column.set_yticks(places, ways, fontsize=7)
        column.invert_yaxis()
        column.margins(x=0.15)
        column.set_title(f"HAProxy {one['version']}: CPU us a request", fontsize=9, loc="left")
        column.legend(fontsize=7)


#: Name of the picture → what of the result it shows, and who draws it.
_PICTURES: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any], Figure], None]]]] = {
    "throughput": ("shapes", _throughput),
    "latency": ("shapes", _latency),
    "scaling": ("comparisons", _scaling),
    "haproxy": ("proxies", _proxies),
}


def draw(result: Path) -> list[Path]:
    """Draw what a result holds, beside it; return the files, a PNG and an SVG of each picture."""
    found = json.loads(result.read_text())
    mpl.rcParams["svg.hashsalt"] = "benchmarks"  # the same result gives the same file
    drawn: list[Path] = []
    for name, (what, painter) in _PICTURES.items():
        if not found[what]:
            continue
        figure = Figure(figsize=(11, 5.5), layout="constrained")
        painter(found, figure)
        about = found["machine"]
        figure.suptitle(f"{name}, {about['date'][:10]}, Python {about['python']}", fontsize=10, x=0.01, ha="left")
        for kind in ("png", "svg"):
            file = result.with_name(f"{result.stem}-{name}.{kind}")
            figure.savefig(file, dpi=130)
            drawn.append(file)
    return drawn


if __name__ == "__main__":
    for picture in draw(Path(sys.argv[1])):
        print(picture)
