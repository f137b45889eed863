"""Finding the few matchers that can hold, among thousands that name one value each.

A *pivot* is a matcher whose patterns all are literals, names or networks, so that the values that it could meet can be
written down as keys; or *globs*, which are compared with a value that is folded once for all of them. Whoever is found
is still asked; the promise is only that nobody who holds is missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy.conditions import Exact
from spoa.policy.holding import matcher_holds
from spoa.policy.hosts import HostPattern
from spoa.policy.sans import AddressPattern, packed_address
from spoa.policy.text import TextPattern, fold_text, glob_matches, strict_text

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

    from spoa.policy.model import Matcher, Pattern, Values

__all__ = ["Pivots", "is_globs", "is_pivot", "meetings", "pattern_key", "value_keys"]

T = TypeVar("T")


def pattern_key(pattern: Pattern, *, generous: bool) -> Hashable | None:
    """Return the key that every value meeting *pattern* has in this form, or None when there is no single one."""
    if isinstance(pattern, Exact):
        return "exact", pattern.value
    if isinstance(pattern, TextPattern):
        literal = pattern.literal(generous=generous)
        return None if literal is None else ("text", literal)
    if isinstance(pattern, HostPattern):
        return ("below", pattern.suffix) if pattern.suffix else ("host", pattern.name)
    if isinstance(pattern, AddressPattern):
        return "network", pattern.width, pattern.bits, pattern.network
    return None


#: Kind of key → lengths of the prefixes that networks are written with; of other kinds there are none.
Kinds: TypeAlias = "Mapping[str, Collection[int]]"
_ALL_KINDS: Final[Kinds] = {"exact": (), "text": (), "host": (), "below": (), "network": range(129)}


def value_keys(value: object, *, generous: bool, kinds: Kinds = _ALL_KINDS) -> list[Hashable]:
    """Return the keys of all patterns that *value* could meet in this form, of the kinds that there are."""
    keys: list[Hashable] = []
    if "exact" in kinds and isinstance(value, str | int | bytes):
        keys.append(("exact", value))
    if isinstance(value, str):
        if "text" in kinds:
            keys.append(("text", fold_text(value) if generous else strict_text(value)))
        if "host" in kinds or "below" in kinds:
            host = fold_text(value).removesuffix(".") if generous else value.lower() if value.isascii() else value
            keys.append(("host", host))
            keys.append(("below", host[host.find(".") :] if "." in host else ""))
    elif "network" in kinds and isinstance(value, bytes):
        packed = packed_address(value)
        number, width = int.from_bytes(packed), len(packed) * 8
        for bits in kinds["network"]:
            if bits <= width:
                keys.append(("network", len(packed), bits, number >> (width - bits)))  # noqa: PERF401 -- see `Pivots.candidates`
    return keys


def is_pivot(matcher: Matcher) -> bool:
    """Tell whether the values that *matcher* could meet can be written down."""
    return not matcher.is_universal and None not in (pattern_key(one, generous=False) for one in matcher.patterns)


def is_globs(matcher: Matcher) -> bool:
    """Tell whether all that *matcher* names are texts, with a star or without."""
    return not matcher.is_universal and all(isinstance(one, TextPattern) for one in matcher.patterns)


class Pivots(Generic[T]):
    """Items by the keys of the pivots that they were entered under, or by globs."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, bool, Hashable], list[T]] = {}
        self._generous: dict[str, list[T]] = {}
        self._strict: dict[str, list[T]] = {}
        # Hot path: most attributes have one kind of key, and of an address's 33 or 129 prefixes few are named.
        self._kinds: dict[str, dict[bool, dict[str, set[int]]]] = {}
        self._globs: dict[tuple[str, bool], list[tuple[str, tuple[str, ...], T]]] = {}

    def add(self, matcher: Matcher, item: T, *, generous: bool) -> None:
        """Enter *item*, to be found where *matcher*, pivot or globs, holds; generously also where it does strictly."""
        attribute = matcher.attribute
        forms = self._kinds.setdefault(attribute, {})
        (self._generous if generous else self._strict).setdefault(attribute, []).append(item)
        for form in {False, generous}:
            for pattern in matcher.patterns:
                key = pattern_key(pattern, generous=form)
                if key is None and isinstance(pattern, TextPattern):
                    forms.setdefault(form, {})
                    pieces = pattern.pieces(generous=form)
                    self._globs.setdefault((attribute, form), []).append((max(pieces, key=len), pieces, item))
                    continue
                self._items.setdefault((attribute, form, key), []).append(item)
                assert isinstance(key, tuple), "no pivot"
                lengths = forms.setdefault(form, {}).setdefault(key[0], set())
                lengths.update(key[2:3] if key[0] == "network" else ())

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes that have pivots."""
        return frozenset(self._kinds)

    def pieces(self) -> Iterator[object]:
        """Yield what it is made of; whoever holds all of it can let go of it little by little."""
        yield from self._items.items()

    # Hot path: lists, since compiled to C a generator costs more than what it yields. Benchmark: benchmarks/hotpath.py,
    # certificates never seen.
    def candidates(self, attribute: str, values: Values) -> Sequence[T]:
        """Return every item whose pivot on *attribute* could hold for *values*, some of them more than once."""
        if values is UNAVAILABLE:
            return self._generous.get(attribute, [])
        found: list[T] = []
        if values is not ABSENT:
            for form, kinds in self._kinds.get(attribute, {}).items():
                for value in values:
                    for key in value_keys(value, generous=form, kinds=kinds):
                        found += self._items.get((attribute, form, key), ())
                    globs = self._globs.get((attribute, form))
                    if globs is not None and isinstance(value, str):
                        text = fold_text(value) if form else strict_text(value)
                        for longest, pieces, item in globs:
                            if longest in text and glob_matches(pieces, text):  # few have even that
                                found.append(item)
        return found

    def candidates_at_best(self, attribute: str, values: Values) -> Sequence[T]:
        """Return the same, where the unavailable is what strict pivots would like it to be, and generous ones don't."""
        return self._strict.get(attribute, []) if values is UNAVAILABLE else self.candidates(attribute, values)


def meetings(matchers: Sequence[tuple[Matcher, bool]], values: Sequence[object]) -> list[list[int]]:
    """Return for each (matcher, generous) the places of the values, all of one attribute, that meet its patterns."""
    pivots: Pivots[int] = Pivots()
    asked = []
    for number, (matcher, generous) in enumerate(matchers):
        if is_pivot(matcher):
            pivots.add(matcher, number, generous=generous)
        else:
            asked.append(number)
    found: list[list[int]] = [[] for _ in matchers]
    for place, value in enumerate(values):
        numbers = set(asked)
        for attribute in pivots.attributes:
            numbers.update(pivots.candidates(attribute, (value,)))
        for number in numbers:
            matcher, generous = matchers[number]
            if matcher_holds(matcher, (value,), generous=generous):
                found[number].append(place)
    return found
