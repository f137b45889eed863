"""A cache of two halves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spoa.cache import BoundedCache, remembering_short


def test_what_was_put_is_found_and_misses_are_counted() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    assert cache.get("a") is None
    cache.put("a", 0)
    assert cache.get("a") == 0
    assert (cache.misses, cache.hits_older, cache.evictions) == (1, 0, 0)


def test_a_full_half_becomes_the_older_one_and_its_elder_goes() -> None:
    cache: BoundedCache[int, str] = BoundedCache(2)
    for key in range(5):
        cache.put(key, str(key))
    assert (cache.younger, cache.older) == ({4: "4"}, {2: "2", 3: "3"})
    assert cache.evictions == 2
    assert cache.get(0) is None
    assert len(cache) == 3


def test_what_is_asked_for_again_stays() -> None:
    cache: BoundedCache[int, str] = BoundedCache(4)
    cache.put(-1, "kept")
    for key in range(100):
        cache.put(key, "new")
        if not key % 3:
            assert cache.get(-1) == "kept"
    assert cache.hits_older > 0


def test_an_older_value_is_carried_over_once() -> None:
    cache: BoundedCache[str, int] = BoundedCache(1)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    assert cache.younger == {"a": 1}
    assert cache.hits_older == 1


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.integers(0, 12))))
def test_it_never_grows_beyond_two_halves_nor_forgets_wrongly(capacity: int, steps: list[tuple[bool, int]]) -> None:
    cache: BoundedCache[int, int] = BoundedCache(capacity)
    last: dict[int, int] = {}
    for number, (is_put, key) in enumerate(steps):
        if is_put:
            cache.put(key, number)
            last[key] = number
            assert cache.get(key) == number
        else:
            assert cache.get(key) in {None, last.get(key)}
        assert len(cache) <= 2 * capacity


def test_what_is_taken_out_is_gone_from_both_halves() -> None:
    cache: BoundedCache[str, int] = BoundedCache(1)
    cache.put("a", 1)
    cache.put("b", 2)
    assert (cache.pop("a"), cache.pop("b"), cache.pop("a")) == (True, True, False)
    assert (cache.get("a"), len(cache)) == (None, 0)


def test_of_a_function_of_texts_only_the_short_ones_are_remembered() -> None:
    asked: list[str] = []

    @remembering_short
    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    assert [length("x" * 256), length("x" * 256), length("x" * 257), length("x" * 257)] == [256, 256, 257, 257]
    assert [len(text) for text in asked] == [256, 257, 257]
