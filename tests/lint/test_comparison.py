from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.lint import comparison, languages
from spoa.lint.comparison import apart, matcher_apart, matcher_within, within
from spoa.lint.languages import UndecidedError, language_of
from spoa.policy.conditions import Exact, InList, MethodPattern, PathRegex, TextRegex
from spoa.policy.model import Matcher
from spoa.policy.path import PathPattern
from spoa.policy.sans import AddressPattern
from spoa.policy.schedule import TimeWindow, read_days, read_hours, read_zone
from spoa.policy.text import TextPattern

METHODS = ["GET", "get", "POST", "read", "write", "PURGE", "OPTIONS"]
VALUES = ["GET", "get", "HEAD", "OPTIONS", "options", "POST", "post", "PUT", "PURGE", "purge", "BREW"]
POLARITIES = st.sampled_from([(False, False), (False, True), (True, True)])


def window(days: str, hours: str, zone: str = "Europe/Paris") -> TimeWindow:
    return TimeWindow(read_zone(zone), read_days(days), read_hours(hours), "")


@given(st.lists(st.sampled_from(METHODS), min_size=1), st.lists(st.sampled_from(METHODS), min_size=1), POLARITIES)
def test_methods_are_within_and_apart_as_they_match(
    some: list[str], others: list[str], polarity: tuple[bool, bool]
) -> None:
    left, right = [[MethodPattern(one) for one in names] for names in (some, others)]
    matched = [
        (any(p.matches(v, generous=polarity[0]) for p in left), any(p.matches(v, generous=polarity[1]) for p in right))
        for v in VALUES
    ]
    is_within = within(left, right, small_generous=polarity[0], big_generous=polarity[1])
    assert is_within == all(right for left, right in matched if left)
    assert apart(left, right, generous=polarity) == (not any(left and right for left, right in matched))


@pytest.mark.parametrize(
    ("small", "big", "is_within"),
    [
        (["10.0.0.0/8"], ["10.0.0.0/9", "10.128.0.0/9"], True),
        (["10.0.0.0/8"], ["10.0.0.0/9", "10.192.0.0/10"], False),
        (["10.1.2.3", "::1"], ["10.0.0.0/8"], False),
        (["::ffff:10.0.0.1"], ["10.0.0.0/8"], True),
    ],
)
def test_networks_cover_together(small: list[str], big: list[str], is_within: bool) -> None:
    left, right = [[AddressPattern(one) for one in names] for names in (small, big)]
    assert within(left, right, small_generous=False, big_generous=False) is is_within


def test_networks_are_apart_unless_one_holds_the_other() -> None:
    ten, one, six = (AddressPattern(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"))
    assert not apart([ten], [one], generous=(False, True))
    assert apart([ten], [six, AddressPattern("11.0.0.0/8")], generous=(False, False))


def test_hours_cover_together_on_one_clock_and_over_midnight_and_the_week() -> None:
    night = window("sun", "22:00-06:00")
    parts = [window("sun", "22:00-24:00"), window("mon", "00:00-06:00")]
    assert within([night], parts, small_generous=True, big_generous=True)
    assert within(parts, [night], small_generous=False, big_generous=False)
    assert not within([window("sun", "22:00-06:01")], parts, small_generous=False, big_generous=False)
    assert apart([night], [window("mon", "06:00-07:00")], generous=(False, False))
    elsewhere = window("mon", "06:00-07:00", "UTC")
    assert not apart([night], [elsewhere], generous=(False, False))
    assert not within([elsewhere], [night], small_generous=False, big_generous=False)
    always = window("mon-sun", "00:00-24:00", "Asia/Tokyo")
    assert within([night], [always], small_generous=False, big_generous=False)


@pytest.mark.parametrize(
    ("small", "big", "polarity", "is_within"),
    [
        (TextPattern("ab"), TextPattern("a*"), (False, False), True),
        (TextPattern("a*"), TextRegex("a.+"), (False, False), True),
        (TextPattern("AB"), TextPattern("ab"), (False, False), False),
        (TextPattern("AB"), TextPattern("ab"), (False, True), True),
        (TextPattern("AB"), TextPattern("ab"), (True, True), True),
        (PathPattern("/a/b/*"), PathPattern("/a/**"), (False, False), True),
        (PathRegex("/a/[0-9]+"), PathPattern("/a/*"), (False, False), True),
        (PathRegex("/a/.*"), PathPattern("/a/*"), (False, False), False),
        (Exact(1, "1"), TextPattern("1"), (False, False), False),
        (InList("a"), InList("a"), (False, False), True),
    ],
)
def test_texts_paths_and_names_are_within(small: Any, big: Any, polarity: tuple[bool, bool], is_within: bool) -> None:
    assert within([small], [big], small_generous=polarity[0], big_generous=polarity[1]) is is_within


def test_what_matches_the_unavailable_is_in_nothing_that_does_not() -> None:
    matcher = Matcher("cn", "subject:2.5.4.3", (TextPattern("a"),))
    assert not matcher_within(matcher, matcher, small_generous=True, big_generous=False)


def test_values_of_one_attribute_may_be_several() -> None:
    a, b = (Matcher("ou", "ou", (TextPattern(text),)) for text in "ab")
    every = Matcher("ou", "ou", (TextPattern("a"),), is_universal=True)
    assert matcher_apart(a, b, generous=(False, False))
    assert not matcher_apart(a, b, generous=(False, False), is_single=False)
    assert matcher_apart(every, b, generous=(False, False), is_single=False)
    assert not matcher_within(a, every, small_generous=False, big_generous=False, is_single=False)
    assert matcher_within(every, a, small_generous=False, big_generous=False, is_single=False)


def test_generous_readings_must_be_apart_too() -> None:
    assert apart([TextPattern("A")], [TextPattern("a")], generous=(False, False))
    assert not apart([TextPattern("A")], [TextPattern("a")], generous=(False, True))


def test_what_is_undecided_is_neither_within_nor_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def undecided(*_: object) -> None:
        raise UndecidedError

    monkeypatch.setattr(comparison, "text_within", undecided)
    one, other = TextRegex("[p-q]x"), TextRegex("[p-r]x")
    assert not within([one], [other], small_generous=False, big_generous=False)
    assert not apart([one], [other], generous=(False, False))
    assert languages.language_of is language_of
