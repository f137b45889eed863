"""Whoever holds is found by a key of a value: to ask too many costs time, to miss one costs safety."""

from __future__ import annotations

import ipaddress
from itertools import zip_longest
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy.automaton import Regex
from spoa.policy.conditions import AtLeast, Exact, InList, MethodPattern
from spoa.policy.hosts import HostPattern
from spoa.policy.model import Matcher
from spoa.policy.pivots import Pivots, is_globs, is_pivot, meetings, pattern_key, value_keys
from spoa.policy.sans import AddressPattern, DnsPattern
from spoa.policy.text import TextPattern

if TYPE_CHECKING:
    from spoa.policy.model import Pattern

texts = st.text(st.sampled_from("aAbß É\u0301\u2126.-"), min_size=1, max_size=6)
addresses = st.ip_addresses().map(lambda address: address.packed) | st.sampled_from(
    [ipaddress.ip_address("::ffff:10.1.2.3").packed, ipaddress.ip_address("10.1.2.3").packed]
)
hosts = st.sampled_from(["a.example", "b.a.example", "example", "*.example", "A.Example", "a.example.", " a.example. "])


def is_found(pattern: Pattern, value: object, *, generous: bool) -> bool:
    pivots: Pivots[str] = Pivots()
    pivots.add(Matcher("x", "x", (pattern,)), "it", generous=generous)
    return "it" in pivots.candidates("x", (value,))


@given(text=texts, value=texts, generous=st.booleans())
def test_no_text_that_matches_is_missed(text: str, value: str, generous: bool) -> None:
    pattern = TextPattern(text)
    if Matcher("x", "x", (pattern,)).holds((value,), generous=generous):
        assert is_found(pattern, value, generous=generous)


letters = st.sampled_from(["", "a", "A", " ", "\u00df", "SS", "\u00e9", "e\u0301", "b"])


@given(
    pieces=st.lists(letters, min_size=2, max_size=3),
    gaps=st.lists(letters, min_size=2, max_size=2),
    others=st.lists(texts, max_size=2),
    is_swapped=st.booleans(),
    generous=st.booleans(),
)
@example(pieces=["a", ""], gaps=[" ", ""], others=[], is_swapped=False, generous=True)
@example(pieces=["a", ""], gaps=["b", ""], others=[], is_swapped=True, generous=True)
def test_no_text_that_matches_a_glob_is_missed(
    pieces: list[str], gaps: list[str], others: list[str], *, is_swapped: bool, generous: bool
) -> None:
    value = "".join(piece + gap for piece, gap in zip_longest(pieces, gaps[: len(pieces) - 1], fillvalue=""))
    value = value.swapcase() if is_swapped else value
    matcher = Matcher("x", "x", tuple(TextPattern(text) for text in ["*".join(pieces).replace("**", "*"), *others]))
    assert is_globs(matcher)
    pivots: Pivots[str] = Pivots()
    pivots.add(matcher, "it", generous=generous)
    if matcher.holds((value,), generous=generous):
        assert "it" in pivots.candidates("x", (value,))
    assert ("it" in pivots.candidates("x", UNAVAILABLE)) is generous
    assert "it" not in pivots.candidates("x", ABSENT)


def test_globs_that_do_not_match_are_not_asked() -> None:
    pivots: Pivots[int] = Pivots()
    for number in range(9):
        pivots.add(Matcher("cn", "cn", (TextPattern(f"client-*.unit-{number}"),)), number, generous=False)
    assert list(pivots.candidates("cn", ("client-a.unit-7",))) == [7]


@pytest.mark.parametrize(
    "matcher", [Matcher("x", "x", (TextPattern("a*"),), is_universal=True), Matcher("x", "x", (Exact("a", "a"),))]
)
def test_what_must_hold_for_all_values_and_what_is_no_text_are_no_globs(matcher: Matcher) -> None:
    assert not is_globs(matcher)


@given(
    text=st.sampled_from(["a.example", "*.example", "*.a.example", "example"]),
    value=hosts | texts,
    generous=st.booleans(),
    kind=st.sampled_from([HostPattern, DnsPattern]),
)
def test_no_host_that_matches_is_missed(text: str, value: str, generous: bool, kind: type[HostPattern]) -> None:
    pattern = kind(text)
    if Matcher("x", "x", (pattern,)).holds((value,), generous=generous):
        assert is_found(pattern, value, generous=generous)


@given(value=addresses, bits=st.integers(0, 32), generous=st.booleans())
def test_no_address_that_matches_is_missed(value: bytes, bits: int, generous: bool) -> None:
    network = ipaddress.ip_network((ipaddress.IPv4Address(value[-4:]), bits), strict=False)
    pattern = AddressPattern(str(network))
    if Matcher("x", "x", (pattern,)).holds((value,), generous=generous):
        assert is_found(pattern, value, generous=generous)


def test_what_is_unavailable_may_be_what_grants_would_like_and_never_what_takes_away() -> None:
    pivots: Pivots[str] = Pivots()
    matcher = Matcher("cn", "subject:2.5.4.3", (TextPattern("alice"),))
    pivots.add(matcher, "grants", generous=False)
    pivots.add(matcher, "takes", generous=True)
    assert list(pivots.candidates_at_best(matcher.attribute, UNAVAILABLE)) == ["grants"]
    assert set(pivots.candidates_at_best(matcher.attribute, ("alice",))) == {"grants", "takes"}


@pytest.mark.parametrize("value", ["x", 7, b"0123", -1])
@pytest.mark.parametrize("generous", [False, True])
def test_exact_values_are_found(value: object, *, generous: bool) -> None:
    assert is_found(Exact(value, str(value)), value, generous=generous)


@pytest.mark.parametrize("pattern", [TextPattern("a*"), AtLeast(7), InList("x"), MethodPattern("GET")])
def test_what_many_values_meet_is_no_pivot(pattern: Pattern) -> None:
    assert pattern_key(pattern, generous=False) is None
    assert not is_pivot(Matcher("x", "x", (TextPattern("a"), pattern)))


def test_a_universal_matcher_is_no_pivot() -> None:
    assert is_pivot(Matcher("x", "x", (TextPattern("a"),)))
    assert not is_pivot(Matcher("x", "x", (TextPattern("a"),), is_universal=True))


def test_what_is_not_available_finds_all_that_restrict_and_none_that_grant() -> None:
    pivots: Pivots[str] = Pivots()
    pivots.add(Matcher("x", "x", (TextPattern("a"),)), "restricting", generous=True)
    pivots.add(Matcher("x", "x", (TextPattern("a"),)), "granting", generous=False)
    assert list(pivots.candidates("x", UNAVAILABLE)) == ["restricting"]
    assert list(pivots.candidates("x", ABSENT)) == []
    assert set(pivots.candidates("x", ("a",))) == {"restricting", "granting"}
    assert pivots.attributes == {"x"}


def test_values_of_no_known_type_have_no_keys() -> None:
    assert list(value_keys({}, generous=True)) == []
    assert list(value_keys(Regex("a"), generous=False)) == []


@given(st.lists(texts, min_size=1, max_size=4), st.lists(texts, max_size=4))
def test_what_meets_patterns_is_found_by_its_place(sources: list[str], values: list[str]) -> None:
    patterns: list[Pattern] = [TextPattern(source) for source in sources]
    matchers = [
        (Matcher("cn", "cn", tuple(some)), generous)
        for some in (patterns, patterns[:1], [TextPattern("*a*")])
        for generous in (False, True)
    ]
    asked = [[n for n, one in enumerate(values) if m.holds((one,), generous=g)] for m, g in matchers]
    assert meetings(matchers, values) == asked


def test_only_prefixes_that_some_pattern_has_are_tried() -> None:
    kinds = {"network": {8, 128}}
    assert list(value_keys(bytes((10, 1, 2, 3)), generous=False, kinds=kinds)) == [("network", 4, 8, 10)]
    assert list(value_keys("10.1.2.3", generous=False, kinds=kinds)) == []
    assert [key[0] for key in value_keys("a", generous=True, kinds={"text": ()})] == ["text"]  # type: ignore[index]
