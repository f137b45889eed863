"""What one pattern tells of another is a proof: no value contradicts it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.policy.conditions import PathRegex, tls_pattern
from spoa.policy.hosts import HostPattern
from spoa.policy.inclusion import Relation, path_relation, relation
from spoa.policy.model import Matcher, Pattern
from spoa.policy.path import ASTERISK, PathPattern, canonical_path
from spoa.policy.sans import AddressPattern
from spoa.policy.schedule import TimeWindow, read_zone

IMPLIED, EXCLUDED, OPEN = Relation.IMPLIED, Relation.EXCLUDED, Relation.OPEN


def matcher(*patterns: Pattern, key: str = "x", is_universal: bool = False) -> Matcher:
    return Matcher(key, key, patterns, is_universal)


def paths(given_: str, *asked: str, generous: bool = False) -> Relation:
    return path_relation(PathPattern(given_), [PathPattern(one) for one in asked], generous=generous)


@pytest.mark.parametrize(
    ("given_", "asked", "strict", "generous"),
    [
        ("/a", "/a", IMPLIED, IMPLIED),
        ("/a", "/A/", EXCLUDED, IMPLIED),
        ("/a/b", "/a/**", IMPLIED, IMPLIED),
        ("/a/**", "/a/**", IMPLIED, IMPLIED),
        ("/a/**", "/A/**", EXCLUDED, IMPLIED),
        ("/a/b/**", "/a/**", IMPLIED, IMPLIED),
        ("/a/b/**", "/A/*/**", EXCLUDED, IMPLIED),
        ("/a/**", "/a/b/**", OPEN, OPEN),
        ("/a/**", "/a", OPEN, OPEN),
        ("/a/**", "/b/**", EXCLUDED, EXCLUDED),
        ("/a/*", "/a/b", OPEN, OPEN),
        ("/a/*", "/*/*", IMPLIED, IMPLIED),
        ("/a/*", "/a/*/c", EXCLUDED, EXCLUDED),
        ("/a/x*", "/a/y", EXCLUDED, EXCLUDED),
        ("/a/X*", "/a/xy", EXCLUDED, OPEN),
        ("/a/x*", "/a/x*", IMPLIED, IMPLIED),
        ("/a*/**", "/b*", OPEN, OPEN),
        ("/*", "/a/b/**", EXCLUDED, EXCLUDED),
        ("/a/**", "/**", IMPLIED, IMPLIED),
        ("/**", "/a/**", OPEN, OPEN),
        (r"\*", "/**", EXCLUDED, EXCLUDED),
        (r"\*", r"\*", IMPLIED, IMPLIED),
        ("/**", r"\*", EXCLUDED, EXCLUDED),
        ("/a/b/**", "/a/b", OPEN, OPEN),
        ("/a/b/**", "/a", EXCLUDED, EXCLUDED),
    ],
)
def test_paths(given_: str, asked: str, strict: Relation, generous: Relation) -> None:
    assert (paths(given_, asked), paths(given_, asked, generous=True)) == (strict, generous)


def test_one_of_several_patterns_suffices() -> None:
    assert paths("/a/b", "/x", "/a/*") is IMPLIED
    assert paths("/a/*", "/x/**", "/a/b") is OPEN
    assert paths("/a/*", "/x/**", "/y") is EXCLUDED


def test_regular_expressions_are_only_judged_beside_single_paths() -> None:
    assert path_relation(PathPattern("/a/b"), [PathRegex("/a/.*")], generous=False) is IMPLIED
    assert path_relation(PathPattern("/b"), [PathRegex("/a/.*")], generous=True) is EXCLUDED
    assert path_relation(PathPattern("/a/**"), [PathRegex("/a/.*")], generous=True) is OPEN
    assert path_relation(PathRegex("/a/.*"), [PathPattern("/a/**")], generous=True) is OPEN
    assert path_relation(PathRegex("/a/.*"), [PathPattern("/**")], generous=True) is IMPLIED
    assert path_relation(PathRegex("/a/.*"), [PathPattern(r"\*")], generous=True) is EXCLUDED
    assert path_relation(PathRegex(".*"), [PathPattern(r"\*")], generous=True) is OPEN
    assert path_relation(PathRegex(".*"), [PathPattern("/**")], generous=True) is OPEN
    assert path_relation(PathRegex(".*"), [PathRegex(".*")], generous=True) is IMPLIED


segments = st.sampled_from(["a", "A", "b", "*", "a*", "*b", "A*", "%C3%A9", "e*", "a;p", "*;p"])
sources = st.builds(
    lambda parts, tail: "/" + "/".join([*parts, *tail]),
    st.lists(segments, min_size=1, max_size=3),
    st.sampled_from([[], ["**"], [""]]),
) | st.sampled_from(["/**", "/", r"\*"])
raws = st.builds(
    lambda parts, tail: "/" + "/".join([*parts, *tail]),
    st.lists(
        st.sampled_from(["a", "A", "b", "ab", "AB", "axb", "%C3%A9", "%C3%89", "e%CC%81", "a;p", "ab;p", "a%20", "x"]),
        max_size=4,
    ),
    st.sampled_from([[], [""]]),
)


@given(sources, sources, st.lists(raws, min_size=4, max_size=20), st.booleans())
def test_no_path_contradicts_what_is_told(ours: str, theirs: str, some: list[str], generous: bool) -> None:
    told = paths(ours, theirs, generous=generous)
    for path in (ASTERISK, *(canonical_path(raw, parameters=True) for raw in some)):
        if path is not None and PathPattern(ours).matches(path, generous=False):
            asked = matcher(PathPattern(theirs)).holds((path,), generous=generous)
            assert told is OPEN or asked is (told is IMPLIED)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ("10.1.0.0/16", "10.0.0.0/8", IMPLIED),
        ("10.0.0.0/8", "10.1.0.0/16", OPEN),
        ("10.0.0.0/8", "11.0.0.0/8", EXCLUDED),
        ("10.0.0.1", "10.0.0.1", IMPLIED),
        ("::1", "0.0.0.0/0", EXCLUDED),
    ],
)
def test_networks(ours: str, theirs: str, found: Relation) -> None:
    assert relation(matcher(AddressPattern(ours)), matcher(AddressPattern(theirs)), generous=True) is found


def test_names_and_versions() -> None:
    host = matcher(HostPattern("a.example"))
    assert relation(host, matcher(HostPattern("*.example")), generous=False) is IMPLIED
    assert relation(host, matcher(HostPattern("b.example")), generous=False) is EXCLUDED
    assert relation(matcher(HostPattern("*.example")), host, generous=False) is OPEN
    versions = matcher(tls_pattern("TLSv1.2"), tls_pattern("TLSv1.3"))
    assert relation(matcher(tls_pattern("TLSv1.3")), versions, generous=False) is IMPLIED
    assert relation(versions, matcher(tls_pattern("TLSv1.3")), generous=False) is OPEN


def test_what_nobody_can_tell_is_open() -> None:
    window = TimeWindow(read_zone("UTC"), frozenset(range(7)), (0, 60), "x")
    assert relation(matcher(window), matcher(window), generous=True) is OPEN
    host = HostPattern("a.example")
    assert relation(matcher(host, is_universal=True), matcher(host), generous=True) is OPEN
