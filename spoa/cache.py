"""A bounded cache that keeps no books: two dictionaries, the older of which is dropped when the younger is full."""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONGEST", "BoundedCache", "remembering_short"]

#: Characters or bytes of the longest text that is remembered: caches count entries, and clients make texts as long as
#: a frame lets them.
LONGEST: Final = 1024
#: The same for texts of which something as long or longer is made: folding makes up to 18 characters of one.
_LONGEST_MADE: Final = 256
_TEXTS: Final = 4096

K = TypeVar("K")
V = TypeVar("V")


def remembering_short(made: Callable[[str], V]) -> Callable[[str], V]:
    """Have a function of a text remember what it made of the last short ones."""
    remembered = lru_cache(_TEXTS)(made)

    @wraps(made)
    def make(text: str) -> V:
        return remembered(text) if len(text) <= _LONGEST_MADE else made(text)

    return make


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

    def __len__(self) -> int:
        return len(self.younger) + len(self.older)
