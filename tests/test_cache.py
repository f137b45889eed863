"""A cache of two halves."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.cache import BoundedCache, SelectiveCache, Sightings, remembering_short


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


@pytest.mark.parametrize("cache", [BoundedCache[int, int](4000), SelectiveCache[int, int](2000, 1500)])
def test_it_is_emptied_step_by_step(cache: BoundedCache[int, int]) -> None:
    for key in [*range(5000), *range(4000)]:
        cache.put(key, key)
    before = len(cache)
    assert before > 4000
    left = [before, *(len(cache) for _ in cache.empty())]
    assert left[-1] == 0
    assert max(earlier - later for earlier, later in itertools.pairwise(left)) < before / 5
    assert cache.get(1) is None


class TestSightings:
    def test_what_was_seen_is_seen_again(self) -> None:
        seen = Sightings()
        assert [seen.is_again(key) for key in ("a", b"b", ("c", 1), -5)] == [False] * 4
        assert all(seen.is_again(key) for key in ("a", b"b", ("c", 1), -5))

    def test_two_that_share_a_place_are_both_known_sooner_or_later(self) -> None:
        seen = Sightings()
        one, other = 5, 5 + (1 << 20)
        unknown = {one, other}
        for _ in range(200):
            for key in (one, other):
                if seen.is_again(key):
                    unknown.discard(key)
        assert not unknown

    def test_few_of_many_are_mistaken_for_others(self) -> None:
        seen = Sightings()
        keys = [number.to_bytes(8) for number in range(20_000)]
        assert sum(map(seen.is_again, keys)) < 20_000 / 100
        assert sum(map(seen.is_again, keys)) > 20_000 * 0.6


class TestSelectiveCache:
    def test_whoever_comes_once_leaves_soon_and_drives_nobody_out(self) -> None:
        cache: SelectiveCache[int, str] = SelectiveCache(100, newcomers=10)
        for key in range(50):
            cache.put(key, "recurs")
            assert cache.get(key) == "recurs"
        for key in range(100, 10_000):
            cache.put(key, "comes once")
        assert all(cache.get(key) == "recurs" for key in range(50))
        assert len(cache) < 50 + 20 + 9900 / 50  # and some that were taken for others
        assert cache.misses == 0

    def test_a_newcomer_is_found_as_long_as_few_come_after_it(self) -> None:
        cache: SelectiveCache[int, str] = SelectiveCache(100, newcomers=10)
        for key in range(20):
            cache.put(key, str(key))
        assert cache.get(19) == "19"
        for key in range(20, 60):
            cache.put(key, str(key))
        assert cache.get(19) == "19"
        assert cache.get(18) is None
        assert cache.misses == 1

    def test_whoever_is_put_again_has_come_again(self) -> None:
        cache: SelectiveCache[int, str] = SelectiveCache(100, newcomers=1)
        for _ in range(2):
            for key in range(50):
                cache.put(key, str(key))
        assert {cache.get(key) for key in range(50)} == set(map(str, range(50)))
        assert sorted(map(int, cache.values())) == list(range(50))

    def test_what_replaces_a_value_is_found_in_its_place_though_the_key_was_taken_for_new(self) -> None:
        cache: SelectiveCache[int, str] = SelectiveCache(100)
        key, other = 5, 5 + (1 << 20)  # of one place in the sightings
        for value in ("first", "second"):
            cache.put(key, value)
        for number in range(64):
            cache.put(other + (number << 28), "another")
        cache.put(key, "third")
        assert cache.get(key) == "third"

    @pytest.mark.parametrize("is_put", [False, True])
    def test_what_moved_up_is_no_newcomer_any_more(self, *, is_put: bool) -> None:
        cache: SelectiveCache[str, int] = SelectiveCache(1)
        cache.put("a", 1)
        if is_put:
            cache.put("a", 2)
        else:
            assert cache.get("a") == 1
        for key in "bbccdd":
            cache.put(key, 0)
        assert cache.get("a") is None, "its place was taken, and no older value is left"

    def test_whatever_is_dropped_is_counted(self) -> None:
        cache: SelectiveCache[int, int] = SelectiveCache(10, newcomers=10)
        for key in range(100):
            cache.put(key, key)
        assert cache.dropped == 100 - len(cache)

    @given(st.integers(1, 5), st.integers(1, 3), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12))))
    def test_it_forgets_but_never_wrongly(self, capacity: int, newcomers: int, steps: list[tuple[int, int]]) -> None:
        cache: SelectiveCache[int, int] = SelectiveCache(capacity, newcomers)
        last: dict[int, int] = {}
        for number, (what, small) in enumerate(steps):
            key = small << 20  # several of one place in the sightings
            if what == 0:
                cache.put(key, number)
                last[key] = number
                assert cache.get(key) == number
            elif what == 1:
                assert cache.pop(key) <= (last.pop(key, None) is not None)
            assert cache.get(key) in {None, last.get(key)}
            assert len(cache) <= 2 * (capacity + newcomers)
            assert set(cache.values()) <= set(last.values())
