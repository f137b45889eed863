"""Puts the figures of a run into the pages that show them, so that none is copied by hand.

    python benchmarks/figures.py benchmarks/results/DATE.json [benchmarks/results/spoe-DATE.json]

Each block between `<!-- measured: NAME -->` and `<!-- end of measured -->` is written anew, where a result holds what
it shows; other blocks stay as they are.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))  # for whoever runs this file as a program

from benchmarks.sizing import example, pieces, pieces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["PAGES", "blocks_of", "fill", "main", "tables"]

_ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = tuple(
    _ROOT / name for name in ("benchmarks/README.md", "docs/explanation/scaling.md", "docs/how-to/size.md")
)
_BLOCK: Final = re.compile(
    r"(?P<open>^<!-- measured: (?P<name>[\w-]+) -->\n).*?(?P<close>^<!-- end of measured -->)", re.DOTALL | re.MULTILINE
)
_OURS: Final = "spoa-authz"
_USUAL: Final = "50x1, recurring"
_NEW: Final = "50x1, paths never seen"
_CORES: Final = (1, 4, 16)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _verdicts(targets: Mapping[str, bool]) -> str:
    return "; ".join(text if is_met else f"**missed:** {text}" for text, is_met in targets.items())


def _machine(found: Mapping[str, Any]) -> str:
    about = found["machine"]
    shapes = found.get("shapes", ())
    disturbed = max((one["agent"]["disturbed"] for one in shapes), default=0.0)
    text = f"{about['date'][:10]}, {about['cores']} cores, {about['system']}, Python {about['python']}, "
    text += f"load average {about['load_average']:.1f} at the start"
    return text + (f"; something waited for a core up to {disturbed:.0%} of the time." if shapes else ".")


def _shapes(found: Mapping[str, Any]) -> str:
    rows = [
        (
            one["name"],
            f"{one['floor']['per_second']:,.0f}",
            f"{one['agent']['per_second']:,.0f}",
            f"{one['floor']['cpu_us']:.1f}",
            f"{one['agent']['cpu_us']:.1f}",
            f"{one['floor']['p50_us']:.0f}, {one['floor']['p99_us']:.0f}",
            f"{one['agent']['p50_us']:.0f}, {one['agent']['p99_us']:.0f}",
            _verdicts(one["targets"]),
        )
        for one in found["shapes"]
    ]
    headers = ("", "floor a second", "agent", "floor CPU us", "agent", "floor p50, p99 us", "agent", "targets")
    return _table(headers, rows)


def _comparisons(found: Mapping[str, Any]) -> str:
    rows = []
    for one in found["comparisons"]:
        (first, figures), *others = one["sides"].items()
        for side, more in others:
            ratio = one["ratios"][side]
            said = f"{ratio:.2f}" if ratio <= one["limit"] else f"**{ratio:.2f}**"
            cpu = f"{figures['cpu_us']:.1f}", f"{more['cpu_us']:.1f}"
            rows.append((f"{one['name']}: {first} → {side}", *cpu, said, f"{one['limit']:g}"))
    return _table(("", "CPU us", "CPU us", "ratio", "target"), rows)


def _limits(found: Mapping[str, Any]) -> str:
    rows = [(one["name"], f"{one['value']:.1f} {one['unit']}", f"{one['limit']:g}") for one in found["limits"]]
    for one in found["reloads"]:
        slow, took = f"{one['busy']['slow']} of {one['busy']['acks']}", one["seconds"]
        rows.append((f"reload, {one['name']}: requests above 20 ms, slowest", f"{slow}, {_slowest(one):.1f} ms", "0"))
        rows.append((f"reload, {one['name']}: in effect after", f"{min(took):.2f} to {max(took):.2f} s", ""))
    return _table(("", "measured", "at most"), rows)


def _slowest(reload: Mapping[str, Any]) -> float:
    slowest: float = reload["busy"]["max_us"]
    return slowest / 1000


def _proxies(found: Mapping[str, Any]) -> str:
    proxies = found["proxies"]
    names = list(dict.fromkeys(name for one in proxies for name in one["ways"]))
    rows = [(name, *(_way(one["ways"].get(name)) for one in proxies)) for name in names]
    rows.append(("targets", *(_verdicts(one["targets"]) for one in proxies)))
    return _table(("CPU us (of it HAProxy), added calm us", *(f"HAProxy {one['version']}" for one in proxies)), rows)


def _way(row: Mapping[str, float] | None) -> str:
    return "" if row is None else f"{row['cpu_us']:.0f} ({row['haproxy_us']:.0f}), {row['calm_added_us']:.0f}"


def _capacity(found: Mapping[str, Any]) -> str:
    """Return requests a second for cores that HAProxy and the agent share, from what both took of one."""
    further = _cpu_of(found, _NEW) - _cpu_of(found, _USUAL)
    rows = []
    for one in found["proxies"]:
        haproxy, recurring = (one["ways"][_OURS][part] for part in ("haproxy_us", "agent_us"))
        for name, agent in (("recur", recurring), ("have a new path each", recurring + further)):
            carried = [f"{cores * 1e6 / (haproxy + agent):,.0f}" for cores in _CORES]
            share = f"{agent / (haproxy + agent):.0%}"
            rows.append((f"HAProxy {one['version']}, requests {name}", f"{haproxy:.0f} + {agent:.0f}", *carried, share))
    headers = (
        "",
        "CPU us, HAProxy + agent",
        *(f"{count} core{'s' * (count > 1)}" for count in _CORES),
        "agent's share",
    )
    return _table(headers, rows)


def _fleets(found: Mapping[str, Any]) -> str:
    usual, new = _cpu_of(found, _USUAL), _cpu_of(found, _NEW)
    rows = []
    for one in found["proxies"]:
        haproxy = one["ways"][_OURS]["haproxy_us"]
        rows.append(
            (
                f"HAProxy {one['version']}",
                f"{1e6 / haproxy:,.0f}",
                f"{haproxy / usual:.1f}",
                f"{haproxy / new:.1f}",
                f"{10e6 / haproxy:,.0f}",
                f"{10 * usual / haproxy:.1f}, {10 * new / haproxy:.1f}",
            )
        )
    headers = (
        "",
        "a thread of HAProxy sends",
        "threads that one worker serves, recurring",
        "new paths",
        "ten threads send",
        "workers they need, recurring, new paths",
    )
    return _table(headers, rows)


def _cpu_of(found: Mapping[str, Any], shape: str) -> float:
    for one in found["shapes"]:
        if one["name"] == shape:
            cpu: float = one["agent"]["cpu_us"]
            return cpu
    raise KeyError(shape)


def _sizing(found: Mapping[str, Any]) -> str:
    found_pieces = pieces_of(found)
    return "" if found_pieces is None else _table(("", "what", "takes"), pieces(found_pieces))


def _sizing_example(found: Mapping[str, Any]) -> str:
    found_pieces = pieces_of(found)
    return "" if found_pieces is None else _table(("what", "how", "makes"), example(found_pieces))


def _spoe(found: Mapping[str, Any]) -> str:
    by_version = found["spoe"]
    first = next(iter(by_version.values()))
    plain = next(iter(first))
    rows = [
        (name, *(f"{rows[name]['haproxy_us']:.1f} ({_added(rows, name, plain):+.1f})" for rows in by_version.values()))
        for name in first
    ]
    return _table(("CPU us of HAProxy a request", *by_version), rows)


def _added(rows: Mapping[str, Mapping[str, float]], name: str, plain: str) -> float:
    return rows[name]["haproxy_us"] - rows[plain]["haproxy_us"]


#: Name of a block → what results must hold for it, and who writes it, or nothing where a part was left out.
_TABLES: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], str]]]] = {
    "machine": (("shapes",), _machine),
    "shapes": (("shapes",), _shapes),
    "comparisons": (("comparisons",), _comparisons),
    "limits": (("limits", "reloads"), _limits),
    "proxies": (("proxies",), _proxies),
    "capacity": (("shapes", "proxies"), _capacity),
    "fleets": (("shapes", "proxies"), _fleets),
    "sizing": (("shapes", "proxies", "limits"), _sizing),
    "sizing-example": (("shapes", "proxies", "limits"), _sizing_example),
    "spoe-machine": (("spoe",), _machine),
    "spoe": (("spoe",), _spoe),
}


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each block for which a result holds the figures."""
    written = {name: write(found) for name, (needs, write) in _TABLES.items() if all(found.get(need) for need in needs)}
    return {name: text for name, text in written.items() if text}


def blocks_of(text: str) -> list[str]:
    """Return the names of the blocks of a page."""
    return [match["name"] for match in _BLOCK.finditer(text)]


def fill(text: str, by_name: Mapping[str, str]) -> str:
    """Return a page with its blocks written anew."""

    def written(match: re.Match[str]) -> str:
        block = by_name.get(match["name"])
        return match[0] if block is None else f"{match['open']}{block}\n{match['close']}"

    return _BLOCK.sub(written, text)


def main(results: Sequence[str]) -> int:
    if not results:
        print(__doc__, file=sys.stderr)
        return 2
    by_name: dict[str, str] = {}
    for result in results:
        found = json.loads(Path(result).read_text())
        if found.get("plan", {}).get("proxy_apart"):  # pages tell, and multiply, what a core carries that both share
            print(f"{result} is of HAProxy on the load's core, which is no figure of these pages", file=sys.stderr)
            return 2
        by_name |= tables(found)
    for page in PAGES:
        before = page.read_text()
        after = fill(before, by_name)
        page.write_text(after)
        print(f"{page.relative_to(_ROOT)}: {'written' if after != before else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
