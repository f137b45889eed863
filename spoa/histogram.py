"""How often something took how long, by bucket: the one count that is kept for each read, and compiled like it."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.metrics import Samples

__all__ = ["Histogram"]


class Histogram:
    """Counts by bucket; `observe` takes as many equal observations as one socket read answered.

    Args:
        bounds: the upper ends of the buckets, in seconds, rising.
    """

    __slots__ = ("_bounds", "_counts", "_first", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._first = self._bounds[0]
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    # Hot path: almost everything is in the first bucket, and calling out to look for another costs more than the rest.
    # Benchmark: benchmarks/hotpath.py.
    def observe(self, seconds: float, count: int = 1) -> None:
        """Count `count` observations of `seconds`."""
        index = 0 if seconds <= self._first else bisect_left(self._bounds, seconds)
        self._counts[index] += count
        self._sum += seconds * count

    def samples(self, name: str) -> Samples:
        """Return the counts, bucket by bucket (not cumulated), and the sum, under a metric's name."""
        found: Samples = {(name, (str(index),)): count for index, count in enumerate(self._counts)}
        found[name, ("sum",)] = self._sum
        return found
