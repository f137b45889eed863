"""The tree of path patterns: one look-up for each segment of a path, however many patterns there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.policy.text import glob_matches

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Segment"]


class Segment:
    """A place in the tree of path patterns, whose root stands for what comes before the first segment.

    Attributes:
        literals, globs: where the next segment leads.
        here: conjunctions whose pattern ends here; below: those that cover everything from here on (`/**`).
    """

    __slots__ = ("below", "globs", "here", "literals")

    def __init__(self) -> None:
        self.literals: dict[str, Segment] = {}
        self.globs: dict[tuple[str, ...], Segment] = {}
        self.here = 0
        self.below = 0

    def add(self, segments: tuple[tuple[str, ...], ...], bit: int, *, below: bool) -> None:
        """Enter the conjunction *bit* where *segments* lead, each split at its stars; or for all *below*."""
        place = self
        for pieces in segments:
            if len(pieces) == 1:
                place = place.literals.setdefault(pieces[0], Segment())
            else:
                place = place.globs.setdefault(pieces, Segment())
        if below:
            place.below |= bit
        else:
            place.here |= bit

    # Hot path: straight down as long as there is one way to go. Benchmark: benchmarks/hotpath.py, paths never seen.
    def find(self, segments: tuple[str, ...]) -> int:
        """Return the conjunctions whose pattern the segments of a path meet."""
        found, place = 0, self
        for at, segment in enumerate(segments):
            if place.globs:
                return found | place._find_all_ways(segments[at:])
            found |= place.below
            onward = place.literals.get(segment)
            if onward is None:
                return found
            place = onward
        return found | place.below | place.here

    def _find_all_ways(self, segments: tuple[str, ...]) -> int:
        found = 0
        places = [self]
        for segment in segments:
            onward = []
            for place in places:
                found |= place.below
                literal = place.literals.get(segment)
                if literal is not None:
                    onward.append(literal)
                if place.globs:
                    onward += [target for pieces, target in place.globs.items() if glob_matches(pieces, segment)]
            if not onward:
                return found
            places = onward
        for place in places:
            found |= place.below | place.here
        return found

    def places(self) -> Iterator[Segment]:
        """Yield this place and all that lie behind it."""
        pending = [self]
        while pending:
            place = pending.pop()
            yield place
            pending += place.literals.values()
            pending += place.globs.values()
