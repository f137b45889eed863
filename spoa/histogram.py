"""How often something took how long, by bucket: the one count that is kept for each read, and compiled like it."""

from __future__ import annotations

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

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    # Hot path: almost everything is in one of the first buckets. Benchmark: benchmarks/hotpath.py.
    def observe(self, seconds: float, count: int = 1) -> None:
        """Count `count` observations of `seconds`."""
        index = 0
        for bound in self._bounds:
            if seconds <= bound:
                break
            index += 1
        self._counts[index] += count
        self._sum += seconds * count

    def samples(self, name: str) -> Samples:
        """Return the counts, bucket by bucket (not cumulated), and the sum, under a metric's name."""
        found: Samples = {(name, (str(index),)): count for index, count in enumerate(self._counts)}
        found[name, ("sum",)] = self._sum
        return found
