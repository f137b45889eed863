"""Which regions may have a path in common, found by how their paths begin, so that not all pairs are compared."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from spoa.lint.languages import language_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.lint.regions import Region

__all__ = ["Neighbours"]


class Neighbours:
    """A number of regions, to be looked up by another one."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self._everywhere: set[int] = set()
        self._by_beginning: dict[str, set[int]] = {}
        for number, region in enumerate(regions):
            beginnings = _beginnings(region)
            for beginning in beginnings:
                self._by_beginning.setdefault(beginning, set()).add(number)
            if "" in beginnings:
                self._everywhere.add(number)
        self._sorted = sorted(self._by_beginning)
        self._all = set(range(len(regions)))

    def of(self, region: Region) -> list[int]:
        """Return, in order, the numbers of the regions that may have a path in common with one."""
        found = set(self._everywhere)
        for beginning in _beginnings(region):
            if not beginning:
                return sorted(self._all)
            place = bisect_left(self._sorted, beginning)
            while place < len(self._sorted) and self._sorted[place].startswith(beginning):
                found |= self._by_beginning[self._sorted[place]]
                place += 1
            for length in range(1, len(beginning)):
                found |= self._by_beginning.get(beginning[:length], set())
        return sorted(found)


def _beginnings(region: Region) -> set[str]:
    """Return how the paths of a region begin, folded; with an empty one where that is not known."""
    path = region.columns.get("path")
    if path is None:
        return {""}
    languages = (language_of(pattern, generous=True) for pattern in path[0].patterns)
    return {language.prefix if language is not None else "" for language in languages}
