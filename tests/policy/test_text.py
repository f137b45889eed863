"""Text of attributes: two foldings, globs, and characters that no judged attribute may hold."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.policy.model import Matcher
from spoa.policy.text import (
    BIDIRECTIONAL,
    TextPattern,
    fold,
    fold_text,
    glob_matches,
    has_unsafe_characters,
    split_glob,
    strict_text,
)

#: pattern, value, strict, generous: with the generous answer as a policy gets it.
MATCHES = [
    ("administrators", "administrators", True, True),
    ("administrators", "Administrators", False, True),
    ("Administrators", "administrators", False, True),
    ("administrators", " administrators", False, True),
    ("administrators", "administrators ", False, True),
    ("administrators", "administrators\u00a0", False, True),
    (" administrators", "administrators", False, True),
    ("site admins", "site  admins", False, True),
    ("site  admins", "site admins", False, True),
    ("site admins", "site\tadmins", False, True),
    ("site admins", "siteadmins", False, False),
    ("administrators", "administrator", False, False),
    ("caf\u00e9", "cafe\u0301", True, True),  # NFC: the same text
    ("\ufb01nance", "finance", False, True),  # NFKC: the ligature
    ("finance", "\ufb01nance", False, True),
    ("admin", "\uff41\uff44\uff4d\uff49\uff4e", False, True),
    ("stra\u00dfe", "STRASSE", False, True),
    ("\u03c3\u03b1\u03c2", "\u03a3\u0391\u03a3", False, True),  # final sigma
    ("admin", "\u0430dmin", False, False),  # a Cyrillic a is another letter
    ("*", "x", True, True),
    ("*", "", False, False),
    ("*-readonly", "a-readonly", True, True),
    ("*-readonly", "-readonly", False, False),
    ("*-readonly", "a-READONLY", False, True),
    ("*-readonly", "a-readonly-b", False, False),
    ("oncall-*", "oncall-alice", True, True),
    ("oncall-*", "oncall-", False, False),
    ("oncall-*", "oncall-a/b c", True, True),  # a star crosses anything in a CN or OU
    ("a*b*c", "a1b2c", True, True),
    ("a*b*c", "a1b2b3c", True, True),
    ("a*b*c", "abc", False, False),
    ("a*a", "aa", False, False),
    ("a*a", "aaa", True, True),
    (r"\*", "*", True, True),
    (r"\*", "x", False, False),
    (r"a\*b", "a*b", True, True),
    (r"\?\[\]\{\}", "?[]{}", True, True),
    (r"a\\b", "a\\b", True, True),
    ("svc *", "svc  ", True, True),  # folding trims what the star stood for, and must lose no match by it
    ("a * b", "a   b", True, True),
    ("*", " ", True, True),
    ("\u30ab*", "\u30ab\uff9e", True, True),  # NFKC composes the two
]


@pytest.mark.parametrize(("pattern", "value", "strict", "generous"), MATCHES)
def test_a_pattern_matches_whole_values(pattern: str, value: str, strict: bool, generous: bool) -> None:
    matcher = Matcher("cn", "cn", (TextPattern(pattern),))
    assert TextPattern(pattern).matches(value, generous=False) is strict
    assert matcher.holds((value,), generous=False) is strict
    assert matcher.holds((value,), generous=True) is generous


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "empty"),
        ("a**", r"`\*\*` may only be"),
        ("a?", r"`\?` has no meaning"),
        ("[ab]", r"`\[` has no meaning"),
        ("a]", r"`\]` has no meaning"),
        ("{a,b}", r"`{` has no meaning"),
        ("a}", r"`}` has no meaning"),
        ("a\\", "backslash"),
        (r"a\b", "backslash"),
    ],
)
def test_what_reads_like_another_language_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TextPattern(pattern)


@given(st.text())
def test_folding_is_stable_and_blind_to_case_and_composition(text: str) -> None:
    once = fold_text(text)
    assert fold_text(once) == once
    assert fold(unicodedata.normalize("NFD", text)) == fold(text)
    if text.isascii():
        assert fold(text) == fold(text.upper())


@given(st.text(), st.text(alphabet="aB \u00df\u0301\uff9e\u30ab*", min_size=1))
def test_what_matches_strictly_also_matches_generously(value: str, pattern: str) -> None:
    try:
        matcher = Matcher("cn", "cn", (TextPattern(pattern),))
    except ValueError:
        return
    for one in (value, pattern.replace("*", value or "x")):
        assert not matcher.holds((one,), generous=False) or matcher.holds((one,), generous=True)


@given(st.text(min_size=1))
def test_a_literal_matches_itself_however_it_is_composed(value: str) -> None:
    escaped = "".join("\\" + char if char in "*?[]{}\\" else char for char in value)
    pattern = TextPattern(escaped)
    assert pattern.literal(generous=False) == strict_text(value)
    assert pattern.matches(unicodedata.normalize("NFD", value), generous=False)
    assert pattern.matches(value, generous=True)
    assert str(pattern) == escaped


def test_a_pattern_with_a_star_is_no_literal() -> None:
    assert TextPattern("a*").literal(generous=True) is None
    assert TextPattern("A").literal(generous=True) == "a"


def naive_glob(pieces: tuple[str, ...], value: str) -> bool:
    """Match by trying every place for every piece."""
    if len(pieces) == 1:
        return value == pieces[0]
    if not value.startswith(pieces[0]):
        return False
    rest = value[len(pieces[0]) :]
    return any(naive_glob(pieces[1:], rest[at:]) for at in range(1, len(rest) + 1))


@given(st.lists(st.text(alphabet="ab", max_size=2), min_size=1, max_size=4), st.text(alphabet="ab", max_size=8))
def test_taking_the_leftmost_place_finds_every_match(pieces: list[str], value: str) -> None:
    whole = (pieces[0], *(piece or "a" for piece in pieces[1:-1]), *pieces[1:][-1:])
    assert glob_matches(whole, value) is naive_glob(whole, value)


def test_a_glob_is_split_at_its_stars() -> None:
    assert split_glob("a") == ("a",)
    assert split_glob("*") == ("", "")
    assert split_glob(r"a\**b*") == ("a*", "b", "")


@pytest.mark.parametrize("text", ["", "alice", "caf\u00e9", "a b", "\u65e5\u672c", "a\u200bb", "\U0001f600"])
def test_ordinary_text_is_safe(text: str) -> None:
    assert not has_unsafe_characters(text)


@pytest.mark.parametrize(
    "char", ["\0", "\x01", "\t", "\n", "\r", "\x1f", "\x7f", "\x80", "\x9f", *sorted(BIDIRECTIONAL)]
)
def test_nul_controls_and_bidirectional_characters_are_unsafe(char: str) -> None:
    assert has_unsafe_characters(char)
    assert has_unsafe_characters(f"alice{char}admin")


def test_bidirectional_characters_are_those_of_unicode() -> None:
    assert len(BIDIRECTIONAL) == 12
    explicit = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    found = {chr(code) for code in range(0x2FFF) if unicodedata.bidirectional(chr(code)) in explicit}
    assert found | {"\u061c", "\u200e", "\u200f"} == BIDIRECTIONAL
