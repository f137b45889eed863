"""Bounded caches that keep no books: two dictionaries, the older of which is dropped when the younger is full."""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LONGEST", "BoundedCache", "SelectiveCache", "Sightings", "emptied", "remembering_short"]

#: Characters or bytes of the longest text that is remembered: caches count entries, and clients make texts as long as
#: a frame lets them.
LONGEST: Final = 1024
#: The same for texts of which something as long or longer is made: folding makes up to 18 characters of one.
_LONGEST_MADE: Final = 256
_TEXTS: Final = 4096
_EMPTIED_AT_ONCE: Final = 512

#: Places of `Sightings`, a power of two, and bytes that it takes.
_PLACES: Final = 1 << 16
_TAG_SHIFT: Final = 20
_TAGS: Final = 255
#: Entries that were asked for once, in each half of what a `SelectiveCache` has for them.
NEWCOMERS: Final = 2048

K = TypeVar("K")
V = TypeVar("V")


def remembering_short(made: Callable[[str], V]) -> Callable[[str], V]:
    """Have a function of a text remember what it made of the last short ones."""
    remembered = lru_cache(_TEXTS)(made)

    @wraps(made)
    def make(text: str) -> V:
        return remembered(text) if len(text) <= _LONGEST_MADE else made(text)

    return make


def emptied(mapping: dict[K, V]) -> Iterator[None]:
    """Empty a mapping, some entries between two yields."""
    while mapping:
        for _ in range(min(_EMPTIED_AT_ONCE, len(mapping))):
            mapping.popitem()
        yield


class BoundedCache(Generic[K, V]):
    """A mapping of at most twice *capacity* entries.

    A hit in the younger half costs one dictionary look-up and nothing else; what is asked for again is carried over to
    the next half, so that whatever recurs within *capacity* new entries stays.

    Attributes:
        capacity: entries of one half.
        hits_older, misses, evictions: counted where it costs nothing on the way of a young hit.
    """

    __slots__ = ("capacity", "evictions", "hits_older", "misses", "older", "younger")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.younger: dict[K, V] = {}
        self.older: dict[K, V] = {}
        self.hits_older = 0
        self.misses = 0
        self.evictions = 0

    def get(self, key: K) -> V | None:
        """Return the value of *key*, or None."""
        value = self.younger.get(key)
        if value is not None:
            return value
        value = self.older.get(key)
        if value is None:
            self.misses += 1
            return None
        self.hits_older += 1
        self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember *value*; when the younger half is full it becomes the older one, whose entries go."""
        if len(self.younger) >= self.capacity:
            self.evictions += len(self.older)
            self.older = self.younger
            self.younger = {}
        self.younger[key] = value

    def pop(self, key: K) -> bool:
        """Forget *key*; tell whether it was known."""
        known = key in self.younger or key in self.older
        self.younger.pop(key, None)
        self.older.pop(key, None)
        return known

    def values(self) -> list[V]:
        """Return what is remembered, each key's once."""
        return list({**self.older, **self.younger}.values())

    def empty(self) -> Iterator[None]:
        """Forget everything, some entries between two yields: freeing all of many at one go takes milliseconds."""
        yield from emptied(self.younger)
        yield from emptied(self.older)

    def __len__(self) -> int:
        return len(self.younger) + len(self.older)


class Sightings:
    """Tells what was seen before, mostly: a byte for each of 65,536 places, whatever is seen.

    Something new is taken for known where another thing with the same hash but for some bits has its place, one time in
    255; something known for new where others came to its place since. Two that come in turns to one place are told
    apart sooner or later: by lot, one of them is not written down. So it may decide what is worth remembering, and
    where to look first, and nothing else.
    """

    __slots__ = ("_lot", "_tags")

    def __init__(self) -> None:
        self._tags = bytearray(_PLACES)
        self._lot = 0

    def is_again(self, key: object) -> bool:
        """Tell whether *key* was seen before; from now on it was, unless another has its place."""
        mark = hash(hash(key))  # that of a number is never so large that, compiled, it has to be an object
        place = mark & (_PLACES - 1)
        tag = 1 + (mark >> _TAG_SHIFT) % _TAGS
        other = self._tags[place]
        if other == tag:
            return True
        self._lot = (75 * self._lot + 74) % 65_537  # a generator of Lehmer's kind, of the period 65,536
        if not other or self._lot & 1:
            self._tags[place] = tag
        return False


class SelectiveCache(BoundedCache[K, V]):
    """The same, out of which what was put but never asked for again leaves soon, and takes nobody's place.

    What is put for the first time is kept among the newcomers; it moves up when it is asked for there, and where it is
    put once more. So those who come once, however many, neither fill memory nor drive out those who recur.

    Args:
        capacity: entries of one half.
        newcomers: the same of those who came once.
        sightings: tells who comes again; its own unless given.
    """

    __slots__ = ("_newcomers", "sightings")

    def __init__(self, capacity: int, newcomers: int = NEWCOMERS, sightings: Sightings | None = None) -> None:
        super().__init__(capacity)
        self._newcomers: BoundedCache[K, V] = BoundedCache(newcomers)
        self.sightings = Sightings() if sightings is None else sightings

    def get(self, key: K) -> V | None:
        """Return the value of *key*, or None; a newcomer is none any more."""
        value = self.younger.get(key)
        if value is not None:
            return value
        value = super().get(key)
        if value is None and (value := self._newcomers.get(key)) is not None:
            self.misses -= 1
            self._newcomers.pop(key)
            super().put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember *value*: among the newcomers, if *key* was never put."""
        if key in self.younger or key in self.older or self.sightings.is_again(key):
            self._newcomers.pop(key)
            super().put(key, value)
        else:
            self._newcomers.put(key, value)

    def pop(self, key: K) -> bool:
        """Forget *key*; tell whether it was known."""
        return self._newcomers.pop(key) | super().pop(key)

    def values(self) -> list[V]:
        """Return what is remembered, each key's once."""
        return list({**self._newcomers.older, **self._newcomers.younger, **self.older, **self.younger}.values())

    def empty(self) -> Iterator[None]:
        """Forget everything, as above."""
        yield from self._newcomers.empty()
        yield from super().empty()

    @property
    def dropped(self) -> int:
        """How many entries full halves dropped, newcomers included."""
        return self.evictions + self._newcomers.evictions

    def __len__(self) -> int:
        return super().__len__() + len(self._newcomers)
