from __future__ import annotations

from typing import Any

import pytest

from spoa.policy.conditions import IDENTITY_CONDITIONS, Exact, HeaderPattern, MethodPattern, PathRegex, TextRegex
from spoa.policy.hosts import HostPattern
from spoa.policy.model import Matcher
from spoa.policy.path import PathPattern, canonical_path
from spoa.policy.sans import AddressPattern, DnsPattern, EmailPattern, UriPattern
from spoa.policy.schedule import TimeWindow, read_days, read_zone
from spoa.policy.text import TextPattern
from spoa.policy.witnesses import attribute_witnesses, path_witnesses, witnesses
from tests.policies import NOW

PATTERNS: list[Any] = [
    TextPattern("a*b"),
    TextPattern(r"a\*"),
    TextRegex("(x|y)[0-9]{2}"),
    TextRegex("[^a-z]+é"),
    HostPattern("*.example.com"),
    HostPattern("a.example.com."),
    DnsPattern(r"\*.example.com"),
    EmailPattern("*@*.example.com"),
    UriPattern("spiffe://a.example/ns/*/**"),
    UriPattern("spiffe://a.example"),
    UriPattern("urn:a:*"),
    AddressPattern("10.0.0.0/8"),
    AddressPattern("0.0.0.0/0"),
    AddressPattern("2001:db8::1"),
    MethodPattern("PURGE"),
    Exact("x", "x"),
    TimeWindow(read_zone("Europe/Paris"), read_days("sun"), (22 * 60, 6 * 60), "x"),
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_the_first_witness_matches_under_both_polarities(pattern: Any) -> None:
    first = next(value for value in witnesses(pattern, NOW) if pattern.matches(value, generous=False))
    assert pattern.matches(first, generous=True)


@pytest.mark.parametrize("pattern", [PATTERNS[0], PATTERNS[4], PATTERNS[8], PATTERNS[11], PATTERNS[16]], ids=str)
def test_some_witness_just_misses(pattern: Any) -> None:
    assert not all(pattern.matches(value, generous=False) for value in witnesses(pattern, NOW))


@pytest.mark.parametrize("pattern", [MethodPattern("read"), HeaderPattern(())])
def test_what_has_witnesses_elsewhere_has_none_here(pattern: Any) -> None:
    assert witnesses(pattern) == ()


def test_a_number_is_reached_and_just_missed() -> None:
    assert witnesses(IDENTITY_CONDITIONS["min_key_bits"].pattern("3072")) == (3072, 3071)
    assert witnesses(IDENTITY_CONDITIONS["in_list"].pattern("good")) == ("good",)


def test_an_expression_that_matches_nothing_known_has_no_witness() -> None:
    assert witnesses(TextRegex("[^\x00-\U0010ffff]")) == ()


def test_paths_lie_in_every_pattern_and_where_two_overlap() -> None:
    patterns: list[Any] = [
        PathPattern("/a/*/c"),
        PathPattern("/*/b/**"),
        PathPattern("/x*/"),
        PathPattern(r"\*"),
        PathRegex("/r[0-9]"),
    ]
    found = path_witnesses(patterns)
    paths = [path for raw in found if (path := canonical_path(raw, parameters=True)) is not None]
    for pattern in (*patterns[:3], patterns[4]):
        assert any(pattern.matches(path, generous=False) for path in paths)
    assert any(all(one.matches(path, generous=False) for one in patterns[:2]) for path in paths)


def test_pairs_of_paths_are_bounded() -> None:
    patterns = [PathPattern(f"/{number}/*") for number in range(150)]
    assert len(path_witnesses(patterns)) < 25_000


def sets(attribute: str, *keys: tuple[str, str], is_single: bool = False) -> list[tuple[Any, ...]]:
    matchers = [Matcher(key, attribute, (IDENTITY_CONDITIONS[key].pattern(text),)) for key, text in keys]
    return list(attribute_witnesses(attribute, matchers, is_single=is_single))


def test_attributes_may_have_several_values() -> None:
    found = sets("subject:2.5.4.11", ("ou", "a"), ("ou", "b"))
    assert {(), ("a",), ("b",), ("stranger",), ("a", "b")} <= set(found)
    assert ("a", "A", "b", "B", "stranger") in found


def test_a_common_name_is_one_value() -> None:
    assert sets("subject:2.5.4.3", ("cn", "a"), is_single=True) == [(), ("a",), ("A",), ("stranger",)]


def test_a_digest_is_always_there() -> None:
    assert sets("sha256", ("fingerprint", "ab" * 32)) == [(b"\xab" * 32,), (bytes(32),)]


def test_memberships_are_all_subsets_of_a_few_lists_and_some_of_many() -> None:
    assert len(sets("lists", ("in_list", "a"), ("in_list", "b"))) == 4
    many = sets("lists", *(("in_list", f"l{number}") for number in range(8)))
    assert len(many) == 1 + 8 + 28 + 1
