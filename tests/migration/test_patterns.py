"""HAProxy's ways of matching beside the patterns that they become, on values drawn for both."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.migration.patterns import (
    Expression,
    complement,
    header_pattern,
    host_patterns,
    networks,
    path_patterns,
    regular_expression,
    text_pattern,
)
from spoa.policy.conditions import PathRegex, TextRegex
from spoa.policy.hosts import HostPattern, normal_host
from spoa.policy.path import PathPattern, canonical_path
from spoa.policy.text import TextPattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spoa.migration.patterns import Pattern

WAYS: dict[str, Callable[[str, str], bool]] = {
    "str": lambda value, text: value == text,
    "beg": lambda value, text: value.startswith(text),
    "end": lambda value, text: value.endswith(text),
    "sub": lambda value, text: text in value,
    "dir": lambda value, text: f"/{text.strip('/')}/" in f"/{value.strip('/')}/",
}
PATHS = st.lists(st.sampled_from(["a", "A", "ab", "b", "a-b", "a*", "x.php", ""]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


def holds(patterns: Iterable[Pattern], value: str, *, generous: bool) -> bool:
    found = [TextRegex(one.source) if isinstance(one, Expression) else TextPattern(one) for one in patterns]
    return any(one.matches(value, generous=generous) for one in found)


def path_holds(patterns: Iterable[Pattern], value: str, *, generous: bool) -> bool:
    path = canonical_path(value)
    assert path is not None
    found = [PathRegex(one.source) if isinstance(one, Expression) else PathPattern(one) for one in patterns]
    return any(one.matches(path, generous=generous) for one in found)


@given(
    st.sampled_from(["str", "beg", "end", "sub"]),
    st.text("aAb -*.", min_size=1, max_size=4),
    st.text("aAb -*.", max_size=6),
)
def test_a_restricting_pattern_matches_whatever_haproxy_matched_and_a_granting_one_no_more(
    match: str, text: str, value: str
) -> None:
    did = WAYS[match](value, text)
    if did:
        assert holds(text_pattern(match, text, generous=True, ignores_case=False), value, generous=True)
    if holds(text_pattern(match, text, generous=False, ignores_case=False), value, generous=False):
        assert did


@given(st.sampled_from(sorted(WAYS)), PATHS.filter(lambda path: len(path) > 1), PATHS)
def test_paths_keep_the_same_promise(match: str, text: str, value: str) -> None:
    if canonical_path(value) is None or not text.strip("/"):
        return  # refused before any rule is asked, or while drafting
    did = WAYS[match](value, text)
    if did:
        assert path_holds(path_patterns(match, text, generous=True, ignores_case=False), value, generous=True)
    if path_holds(path_patterns(match, text, generous=False, ignores_case=False), value, generous=False):
        assert did


@given(PATHS, PATHS)
def test_a_prefix_of_a_route_is_exactly_haproxys(text: str, value: str) -> None:
    if canonical_path(value) is None or "//" in text:
        return
    patterns = path_patterns("beg", text, generous=False, ignores_case=False, is_exact=True)
    assert path_holds(patterns, value, generous=False) is value.startswith(text)


@pytest.mark.parametrize(
    ("text", "restricting", "granting"),
    [
        ("/admin", ["/admin/**", "/admin*/**"], ["/admin/**"]),
        ("/api/", ["/api/**"], ["/api/", "/api/*/**"]),
        ("/", ["/**"], ["/**"]),
        ("admin", [], []),
        ("/a//b", [], []),
        ("/a*", [r"/a\*/**", r"/a\**/**"], [r"/a\*/**"]),
    ],
)
def test_a_prefix_is_a_whole_segment_where_it_grants(text: str, restricting: list[str], granting: list[str]) -> None:
    assert path_patterns("beg", text, generous=True, ignores_case=False) == restricting
    assert path_patterns("beg", text, generous=False, ignores_case=False) == granting


def test_a_path_that_no_request_can_have_has_no_pattern() -> None:
    assert path_patterns("str", "/a/../b", generous=True, ignores_case=False) == []
    assert path_patterns("str", "*", generous=True, ignores_case=False) == [r"\*"]
    assert path_patterns("found", "", generous=True, ignores_case=False) == ["/**"]


@pytest.mark.parametrize(
    ("source", "sources"),
    [
        ("^/api/v[0-9]+/", ["/api/v[0-9]+/.*"]),
        ("secret", [".*secret.*"]),
        (r"\.php$", [r".*\.php"]),
        (r"a\$", [r".*a\$.*"]),
        ("^a$|^(b|c)|[|]d", ["a", "(b|c).*", ".*[|]d.*"]),
        (r"a\|b", [r".*a\|b.*"]),
        ("(?i)^admin$", ["admin"]),
    ],
)
def test_an_expression_is_over_the_whole_value(source: str, sources: list[str]) -> None:
    assert regular_expression(source, generous=True, ignores_case=False) == [Expression(one) for one in sources]


@pytest.mark.parametrize(
    ("source", "generous", "ignores_case"),
    [
        (r"(a)\1", True, False),
        ("a(?=b)", True, False),
        ("[^a]", True, False),
        ("a", False, True),
        ("a" * 300, True, False),
    ],
)
def test_an_expression_that_would_mean_something_else_is_none(source: str, generous: bool, ignores_case: bool) -> None:
    with pytest.raises(ValueError, match=r"."):
        regular_expression(source, generous=generous, ignores_case=ignores_case)


@given(st.sampled_from(["a", "^a", "a$", "^a$", "a|b", "^a|b$", "[ab]+$", "a.b"]), st.text("abc.", max_size=5))
def test_an_expression_finds_what_was_searched_for(source: str, value: str) -> None:
    found = regular_expression(source, generous=False, ignores_case=False)
    assert holds(found, value, generous=False) is (re.search(source, value) is not None)


@pytest.mark.parametrize(
    ("match", "text", "value", "did"),
    [
        ("str", "api.example.com:443", "api.example.com", True),
        ("str", "API.example.com", "api.example.com", True),
        ("end", ".example.com", "a.b.example.com", True),
        ("end", ".example.com", "example.com", False),
        ("dom", "example", "www.example.com", True),
        ("dom", "example", "examples.com", False),
        ("beg", "api.", "api.example.com", True),
        ("sub", "exam", "api.example.com", True),
        ("reg", r"^API\.", "api.example.com", True),
        ("found", "", "x", True),
    ],
)
def test_hosts_are_compared_as_they_are_judged(match: str, text: str, value: str, did: bool) -> None:
    for generous in (True, False):
        found = host_patterns(match, text, generous=generous, ignores_case=True)
        matchers = [TextRegex(one.source) if isinstance(one, Expression) else HostPattern(one) for one in found]
        host = normal_host(value)
        assert host is not None
        assert any(one.matches(host, generous=generous) for one in matchers) is did


@pytest.mark.parametrize("match", ["str", "beg", "end", "sub"])
def test_a_header_that_restricts_is_looked_at_in_each_of_its_parts(match: str) -> None:
    found = header_pattern(match, "b", is_list=True, generous=True, ignores_case=False)
    assert all(holds(found, value, generous=True) for value in ("b", "a, b", "b,c", "a , b , c"))
    assert not holds(found, "a, c", generous=True)
    whole = header_pattern(match, "b", is_list=False, generous=True, ignores_case=False)
    assert holds(whole, "a, b", generous=True) is (match in {"end", "sub"})
    assert header_pattern("found", "", is_list=True, generous=True, ignores_case=False) == [Expression(".*")]


@pytest.mark.parametrize(
    "read",
    [
        lambda: text_pattern("len", "3", generous=True, ignores_case=False),
        lambda: text_pattern("str", "", generous=True, ignores_case=False),
        lambda: path_patterns("dom", "a", generous=True, ignores_case=False),
        lambda: path_patterns("sub", "%2f", generous=True, ignores_case=False),
        lambda: host_patterns("dir", "a", generous=True, ignores_case=False),
        lambda: host_patterns("str", "a b", generous=True, ignores_case=False),
        lambda: header_pattern("reg", "a", is_list=True, generous=True, ignores_case=False),
        lambda: networks(["example.com"]),
    ],
)  # fmt: skip
def test_what_has_no_pattern_says_why(read: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read()  # type: ignore[operator] # each is called without arguments


def test_networks_are_written_as_a_policy_wants_them() -> None:
    assert networks(["10.1.2.3/8", "192.168.1.7", "fd00::1/16"]) == ["10.0.0.0/8", "192.168.1.7", "fd00::/16"]


@given(st.lists(st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "fd00::/8", "192.168.1.7"]), max_size=3))
def test_the_complement_is_every_other_address(texts: list[str]) -> None:
    rest = [ipaddress.ip_network(text) for text in complement(texts)]
    taken = [ipaddress.ip_network(text) for text in texts]
    for text in ("10.1.2.3", "10.200.0.1", "192.168.1.7", "192.168.1.8", "fd00::1", "2001:db8::1"):
        address = ipaddress.ip_address(text)
        assert any(address in one for one in rest) is not any(address in one for one in taken)


@pytest.mark.parametrize("text", ["/", "//", ""])
def test_a_directory_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="without a name"):
        path_patterns("dir", text, generous=True, ignores_case=False)
