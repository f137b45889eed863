from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.lint import languages
from spoa.lint.languages import Language, UndecidedError, canonical_paths, language_of, text_within
from spoa.policy.automaton import Regex
from spoa.policy.conditions import Exact, PathRegex, TextRegex
from spoa.policy.hosts import HostPattern
from spoa.policy.path import PathPattern, canonical_path
from spoa.policy.sans import DnsPattern, EmailPattern, UriPattern
from spoa.policy.text import TextPattern, fold_text

PATHS = [r"\*", "/", "/**", "/a/**", "/a/b", "/A", "/*/b", "/a*c/", "/%C3%A9/*", "/x;v=1/**"]
PARTS = ["/", "a", "b", "c", "A", "%C3%A9", "%c3%a9", ".", "x", ";v=1"]
WORDS = st.text(st.sampled_from("aAbBc.-/*x"), max_size=8)


def language(pattern: Any, *, generous: bool = False) -> Language:
    found = language_of(pattern, generous=generous)
    assert found is not None
    return found


@given(st.sampled_from(PATHS), st.lists(st.sampled_from(PARTS), max_size=7).map("".join))
def test_the_language_of_a_path_is_what_its_pattern_matches(source: str, rest: str) -> None:
    path = canonical_path("/" + rest, parameters=True)
    if path is None:
        return
    pattern = PathPattern(source)
    assert language(pattern).has(path.text) == pattern.matches(path, generous=False)
    assert language(pattern, generous=True).has(path.folded) == pattern.matches(path, generous=True)
    assert all(one.has(path.text) for one in canonical_paths(generous=False, parameters=True))
    assert all(one.has(path.folded) for one in canonical_paths(generous=True))


@given(st.sampled_from(["/a", "/a/", "/(a|b)/?", "/[abc.]+/x*", "/.*"]), st.text(st.sampled_from("/abcx."), max_size=6))
def test_the_language_of_an_expression_over_paths_is_what_it_matches(source: str, rest: str) -> None:
    path = canonical_path("/" + rest)
    if path is None or not path.generous:
        return
    pattern = PathRegex(source)
    assert language(pattern).has(path.text) == pattern.matches(path, generous=False)
    assert language(pattern, generous=True).has(path.folded) == pattern.matches(path, generous=True)


@given(st.sampled_from(["a", "A b", "a*", "*-b", r"a\*b", "a*b*"]), WORDS)
def test_the_language_of_a_text_is_what_its_pattern_matches(source: str, value: str) -> None:
    pattern = TextPattern(source)
    assert language(pattern).has(value) == pattern.matches(value, generous=False)
    assert language(pattern, generous=True).has(fold_text(value)) == pattern.matches(value, generous=True)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (HostPattern("*.a.example"), ["x.a.example"], ["a.example", "x.y.a.example", "X.A.example"]),
        (DnsPattern("*.a.example"), ["x.a.example", "x.A.EXAMPLE"], ["x.y.a.example"]),
        (EmailPattern("a*@b.example"), ["ax@B.example"], ["Ax@b.example", "a@b.example"]),
        (UriPattern("spiffe://a.example/x/*"), ["spiffe://A.example/x/y"], ["spiffe://a.example/X/y", "spiffe://a.example/x"]),
        (UriPattern("https://Bob@a.example"), ["https://Bob@a.example"], ["https://bob@a.example", "https://Bob@a.example/"]),
        (UriPattern("spiffe://a.example/**"), ["spiffe://a.example", "spiffe://a.example/x"], ["spiffe://a.examplex"]),
        (UriPattern("spiffe://a.example/"), ["spiffe://a.example", "spiffe://a.example/"], ["spiffe://a.example/x"]),
        (UriPattern("urn:x:*"), ["urn:x:y", "URN:x:y"], ["urn:/x:y", "urn:x:"]),
    ],
)  # fmt: skip
def test_names_are_compared_as_their_patterns_do(pattern: Any, inside: list[str], outside: list[str]) -> None:
    for text in inside:
        assert language(pattern).has(text)
        assert pattern.matches(text, generous=False) or isinstance(pattern, HostPattern)
    assert not any(language(pattern).has(text) for text in outside)


@pytest.mark.parametrize(
    ("some", "none", "found"),
    [
        (["a.*"], ["a"], 2),
        (["a.*", ".*b"], [], 2),
        (["[a-c]+"], ["[a-b]*", "c+"], 2),
        (["(ab)+"], ["(ab)*"], None),
        (["a|b"], ["[abc]"], None),
        (["a{2,3}", "a{4}"], [], None),
        ([".*"], ["[^x].*", ""], 1),
    ],
)
def test_a_text_that_tells_languages_apart_is_a_shortest_one(
    some: list[str], none: list[str], found: int | None
) -> None:
    def of(sources: list[str]) -> list[Language]:
        return [language(TextRegex(source)) if source else language(TextRegex("(a|)")) for source in sources]

    text = text_within(of(some), of(none))
    assert (None if text is None else len(text)) == found
    if text is not None:
        assert all(Regex(source).matches(text) for source in some)
        assert not any(Regex(source or "(a|)").matches(text) for source in none)


def test_case_is_ignored_where_expressions_are_read_generously() -> None:
    assert (
        text_within([language(TextRegex("[A-C]x"), generous=True)], [language(TextRegex("[a-c]X"), generous=True)])
        is None
    )
    assert text_within([language(TextRegex("é"), generous=True), language(TextPattern("É"), generous=True)]) == "é"
    dotless = language(TextPattern("\u0131"), generous=True)
    assert text_within([language(TextRegex("[a-z]"), generous=True), dotless]) == "\u0131"


def test_what_is_too_large_or_not_followed_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UndecidedError):
        text_within([language(TextRegex("[à-ü]"), generous=True)])
    monkeypatch.setattr(languages, "MAX_STATES", 3)
    with pytest.raises(UndecidedError):
        text_within([language(TextRegex("abcdef"))])


def test_other_patterns_have_no_language() -> None:
    assert language_of(Exact(1, "1"), generous=False) is None
    assert language(TextPattern("ab*")).prefix == "ab"
    assert not language(PathPattern("/a/**")).may_meet(language(PathPattern("/b/**")))
