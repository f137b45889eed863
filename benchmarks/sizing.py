"""What a result says to somebody who must buy a machine: what each thing takes, and an example worked out.

Both become blocks of docs/how-to/size.md by `benchmarks/figures.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXAMPLE", "Edge", "Pieces", "example", "pieces", "pieces_of"]

_OURS: Final = "spoa-authz"
#: Bytes of an entry of a revocation list: in the index that all workers map; of the process that makes it, meanwhile.
#: Measured by `benchmarks/revocation.py`, see "Revocation lists" in benchmarks/README.md.
_REVOKED: Final = 39
_REVOKED_MEANWHILE: Final = 200
#: Megabytes of a worker after 20,000,000 decisions for 100,000 clients, measured by `make soak`.
_SOAKED: Final = 245
#: How much of a core may be in use at the peak, so that a burst finds room.
_FULL: Final = 0.5
#: By how much handshakes and servers make HAProxy's part larger than what is measured, as a rule of thumb.
_BESIDE: Final = 2
#: Processes beside the workers: the supervisor, and one each that waits to build policies and revocation lists.
_WAITING: Final = 3
_MB: Final = 1e6


@dataclass(frozen=True)
class Pieces:
    """What one of each takes: microseconds of a core, megabytes, bytes."""

    version: str
    haproxy_us: float
    recurring_us: float
    new_path_us: float
    new_certificate_us: float
    start_mb: float
    most_mb: float
    entry_bytes: float


@dataclass(frozen=True)
class Edge:
    """What somebody knows of the edge that is to be: requests a second at the peak, and how many of what."""

    requests: int
    new_paths: float
    clients: int
    back_within: int
    listed: int
    revoked: int


#: The one that docs/how-to/size.md describes.
EXAMPLE: Final = Edge(requests=5_000, new_paths=0.1, clients=20_000, back_within=60, listed=200_000, revoked=1_000_000)


def pieces_of(found: Mapping[str, Any]) -> Pieces | None:
    """Return what a result says of each piece; None where it left one out."""
    cpu = {one["name"]: one["agent"]["cpu_us"] for one in found["shapes"]}
    limits = {one["name"]: one for one in found["limits"]}
    start = limits.get("a worker at its start")
    full = next((one for name, one in limits.items() if name.startswith("a worker after ")), None)
    entry = next((one for name, one in limits.items() if name.startswith("an entry of a list ")), None)
    if start is None or full is None or entry is None:
        return None
    recurring = cpu["50x1, recurring"]
    through = found["proxies"][-1]
    return Pieces(
        version=through["version"],
        haproxy_us=through["ways"][_OURS]["haproxy_us"],
        recurring_us=recurring,
        new_path_us=cpu["50x1, paths never seen"],
        # Of that shape one in twenty is new.
        new_certificate_us=(cpu["50x1, 5 % new certificates"] - 0.95 * recurring) / 0.05,
        start_mb=start["value"],
        most_mb=max(full["value"], _SOAKED, _largest_worker(found)),
        entry_bytes=entry["value"],
    )


def _largest_worker(found: Mapping[str, Any]) -> float:
    """Return the megabytes of the largest worker that a result tells of, whatever it had been asked."""
    sizes = [size for look in found.get("memory", ()) for name, size in look.items() if "worker" in name]
    return max(sizes, default=0) / 1024


def pieces(one: Pieces) -> list[tuple[str, str, str]]:
    """Return the rows that say what each piece takes, and by which letter the page calls it."""
    return [
        ("P", "the agent: a request like one before", f"{one.recurring_us:.0f} us of a core"),
        ("N", "the agent: a request on a path never seen", f"{one.new_path_us:.0f} us"),
        ("C", "the agent: a certificate never seen, once in each worker", f"{one.new_certificate_us:,.0f} us"),
        (
            "H",
            f"HAProxy {one.version}: a request with its verdict, on a kept-alive connection",
            f"{one.haproxy_us:.0f} us",
        ),
        (
            "S",
            "memory: the supervisor, who waits to build policies or lists, or a worker at its start",
            f"{one.start_mb:.0f} MB",
        ),
        ("W", "memory: a worker whose caches are full, at most", f"{one.most_mb:.0f} MB"),
        ("L", "memory: an entry of a list, for all workers together", f"{one.entry_bytes:.0f} bytes"),
        ("R", "memory: an entry of a revocation list, for all workers together", f"{_REVOKED} bytes"),
        ("B", "memory: the same, while the list is being replaced", f"{_REVOKED_MEANWHILE} bytes"),
    ]


def example(one: Pieces, edge: Edge = EXAMPLE) -> list[tuple[str, str, str]]:
    """Return the rows that work an edge out, step by step."""
    steady = edge.requests * ((1 - edge.new_paths) * one.recurring_us + edge.new_paths * one.new_path_us) / 1e6
    returning = edge.clients / edge.back_within * one.new_certificate_us / 1e6
    workers = math.ceil((steady + returning) / _FULL)
    threads = math.ceil(edge.requests * one.haproxy_us / 1e6 * _BESIDE / _FULL)
    lists = (edge.listed * one.entry_bytes * 2 + edge.revoked * _REVOKED) / _MB
    meanwhile = edge.revoked * _REVOKED_MEANWHILE / _MB
    processes = _WAITING * one.start_mb + workers * one.most_mb
    share = f"{1 - edge.new_paths:.1f} P + {edge.new_paths:.1f} N"
    return [
        ("the agent, day by day", f"{edge.requests:,} × ({share})", f"{steady:.2f} cores"),
        ("after a restart", f"{edge.clients:,} / {edge.back_within} s × C, beside that", f"{returning:.2f} cores"),
        ("`--workers`", f"the sum / {_FULL:g}, rounded up", f"{workers}"),
        ("`nbthread`", f"{edge.requests:,} × H × {_BESIDE} / {_FULL:g}, rounded up", f"{threads}"),
        ("memory of processes", f"{_WAITING} S + {workers} W", f"{processes:,.0f} MB"),
        ("memory of lists", f"2 × {edge.listed:,} × L + {edge.revoked:,} × R", f"{lists:,.0f} MB"),
        ("while a revocation list is replaced", f"{edge.revoked:,} × B", f"{meanwhile:,.0f} MB"),
        ("in all", f"{workers + threads} cores", f"{processes + lists + meanwhile:,.0f} MB"),
    ]
