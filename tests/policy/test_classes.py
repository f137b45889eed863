"""Classes: whatever a value meets of several patterns, under either polarity, one of the classes meets as well."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spoa.policy.classes import (
    Classes,
    address_classes,
    host_classes,
    method_classes,
    name_classes,
    path_classes,
    text_classes,
    uri_classes,
)
from spoa.policy.conditions import MethodPattern, PathRegex, SniPattern, TextRegex
from spoa.policy.hosts import HostPattern, normal_host
from spoa.policy.path import PathPattern, canonical_path
from spoa.policy.sans import AddressPattern, AddressSan, DnsPattern, EmailPattern, UriPattern
from spoa.policy.text import TextPattern, has_unsafe_characters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def met(patterns: Sequence[Any], value: Any) -> tuple[bool, ...]:
    return tuple(pattern.matches(value, generous=generous) for pattern in patterns for generous in (False, True))


def lacks(
    classes: Classes, patterns: Sequence[Any], value: Any, seen: Callable[[Any], Any] = lambda value: value
) -> bool:
    """Tell whether no class meets what the value meets; what matches strictly counts as matching generously."""

    def both(one: Any) -> list[bool]:
        answers = met(patterns, seen(one))
        # The strict answer stands before the generous one.
        return [answer or (place % 2 == 1 and answers[place - 1]) for place, answer in enumerate(answers)]

    assert classes.is_complete
    return both(value) not in [both(one) for one in classes.values]


MADE: dict[tuple[object, ...], Classes] = {}


def once(make: Callable[..., Classes], patterns: Sequence[Any], **given: bool) -> Classes:
    """Return the classes of patterns, made at the first asking."""
    key = (make, id(patterns), *given)
    if key not in MADE:
        MADE[key] = make(patterns, **given)
    return MADE[key]


TEXTS: list[list[Any]] = [
    [TextPattern("alice"), TextPattern("Alice"), TextPattern("a*"), TextPattern("*-ops")],
    [TextPattern("a*"), TextPattern("*a"), TextPattern("*a*")],
    [TextPattern("ss"), TextRegex("."), TextPattern("Straße")],
    [TextRegex("[a-f]+[0-9]"), TextPattern("a*1"), TextRegex("(?:ab|AB)1")],
    [TextPattern("a b"), TextPattern("a*b"), TextPattern("* b")],
    [TextPattern("ﬁ"), TextPattern("fi"), TextPattern("f*")],
]
texts = st.text(st.sampled_from("aAbBiIfoO-psS ß1ﬁ０ａｆΣé一lce"), max_size=6) | st.sampled_from(
    ["alice-ops", "ALICE ", " alice", "straße"]
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TEXTS), texts)
@example(TEXTS[0], "alice ")
@example(TEXTS[2], "ß")
def test_texts(patterns: list[Any], value: str) -> None:
    assert not lacks(once(text_classes, patterns), patterns, value)


PATHS: list[list[Any]] = [
    [PathPattern(one) for one in ("/a/**", "/a/b", "/A", "/*/b", "/**", "/a/b/")],
    [PathPattern("/a*/b"), PathPattern("/*a/**"), PathPattern("/%C3%A9"), PathPattern("/%20/x")],
    [PathPattern("/1/2"), PathPattern("/1/**")],
    [PathPattern("/a/**"), PathRegex("/a(/b)?"), PathRegex("/[a-c]+/"), PathPattern("/a/b")],
    [PathPattern("/"), PathPattern("/**"), PathRegex("/")],
    [PathPattern("/a;x/b"), PathPattern("/a/b"), PathPattern("/a/*")],
]
segments = st.text(st.sampled_from("aAb12xcé;a"), min_size=1, max_size=3)
raw_paths = st.lists(segments, max_size=3).map(lambda some: "/" + "/".join(some)) | st.sampled_from(
    ["/a/b/", "/A/b", "/%C3%A9", "/%C3%89", "/%EF%BC%91/2", "/%20/x", "/a/b/c", "/a;p/b", "/x%C2%AA/b"]
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PATHS), raw_paths)
def test_paths(patterns: list[Any], raw: str) -> None:
    def seen(one: str) -> Any:
        return canonical_path(one, parameters=True)

    if seen(raw) is not None:
        assert not lacks(once(path_classes, patterns, parameters=True), patterns, raw, seen)
    if canonical_path(raw) is not None:
        assert not lacks(once(path_classes, patterns), patterns, raw, canonical_path)


def test_paths_without_parameters_have_none_and_all_are_canonical() -> None:
    for patterns in PATHS[:5]:
        assert all(canonical_path(path) is not None for path in path_classes(patterns).values)


def test_the_asterisk_is_no_path() -> None:
    assert path_classes([PathPattern(r"\*")]).values == ("/x", "/")


HOSTS: list[list[Any]] = [
    [HostPattern("a.example"), HostPattern("*.example"), TextRegex(r"[ab]\.example")],
    [HostPattern("a.b.example"), HostPattern("*.b.example"), TextRegex("[A-C].*")],
    [HostPattern("[::1]"), HostPattern("x-y")],
]
names = st.text(st.sampled_from("abxy.-example"), min_size=1, max_size=6) | st.sampled_from(
    ["a.example", "b.example", "x.y.example", "a.b.example", "[::1]", "example"]
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(HOSTS), names)
def test_hosts(patterns: list[Any], name: str) -> None:
    classes = once(host_classes, patterns)
    assert all(normal_host(one) == one for one in classes.values)
    if normal_host(name) == name:
        assert not lacks(classes, patterns, name)


NAMES: dict[str, list[list[Any]]] = {
    "dns_san": [[DnsPattern("*.dev.example"), DnsPattern("a.dev.example"), TextRegex("[aA].*")], [DnsPattern(r"\*.x")]],
    "email_san": [[EmailPattern("*@x.example"), EmailPattern("bob@X.example"), EmailPattern("b*@*.example")]],
    "sni": [[SniPattern("a.example"), SniPattern("*.example")]],
}
some_names = {
    "dns_san": [
        "a.dev.example",
        "A.DEV.example",
        "b.a.dev.example",
        "x.dev.example.",
        "․.dev.example",
        "ａ.dev.example",
        "*.x",
    ],
    "email_san": ["bob@x.example", "BOB@x.example", "bob@X.EXAMPLE", "bx@y.example", "b@x.example.", "@x.example", "x"],
    "sni": ["a.example", "b.example", "x.y.example", "ａ.example", "a.example."],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, several in some_names.items() for name in several])
def test_names(kind: str, name: str) -> None:
    for patterns in NAMES[kind]:
        if kind != "dns_san" or isinstance(patterns[0], DnsPattern):
            assert not lacks(name_classes(kind, patterns), patterns, name)


URIS: list[list[Any]] = [
    [UriPattern("spiffe://x.example/**"), UriPattern("https://x.example/A/*"), UriPattern("spiffe://x.example")],
    [UriPattern("urn:a:*"), UriPattern("urn:a:b")],
]


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://x.example",
        "spiffe://X.example/a",
        "spiffe://x.example/a?q",
        "spiffe://x.example/a//b",
        "https://X.example/A/b",
        "https://x.example/a/B",
        "https://x.example/%zz",
        "urn:a:b",
        "urn:a:c",
        "urn:A:B",
        "urn:/a:b",
        "stranger",
    ],
)
def test_uris(uri: str) -> None:
    for patterns in URIS:
        assert not lacks(uri_classes(patterns, ["x.example"]), patterns, uri)


def test_expressions_beside_patterns_of_uris_are_not_claimed_to_be_complete() -> None:
    assert uri_classes([TextRegex("urn:.*")], []).is_complete
    assert not uri_classes([TextRegex("urn:.*"), UriPattern("urn:a")], []).is_complete


NETWORKS = [AddressPattern(one) for one in ("10.0.0.0/8", "10.128.0.0/9", "10.0.0.1", "2001:db8::/32", "0.0.0.0/0")]


@given(
    st.ip_addresses().map(lambda address: address.packed)
    | st.sampled_from([bytes((10, 0, 0, 1)), bytes((11, 0, 0, 0))])
)
def test_addresses(packed: bytes) -> None:
    assert not lacks(once(address_classes, NETWORKS), NETWORKS, packed)


def test_a_mapped_address_is_a_class_of_its_own_in_certificates() -> None:
    mapped = ipaddress.ip_address("::ffff:10.0.0.1").packed
    assert mapped in address_classes([AddressSan("10.0.0.1")]).values
    assert mapped not in address_classes([AddressPattern("10.0.0.1")]).values


METHODS = [MethodPattern(one) for one in ("GET", "get", "read", "write", "PURGE", "a", "A")]


@given(
    st.text(st.sampled_from("gGeEtTpPuUrRaAX1"), min_size=1, max_size=5)
    | st.sampled_from(["OPTIONS", "Options", "PURGE", "BREW"])
)
def test_methods(method: str) -> None:
    assert not lacks(once(method_classes, METHODS), METHODS, method)


def test_a_method_that_is_named_is_not_taken_for_a_strange_one() -> None:
    assert "BREW0" in method_classes([MethodPattern("BREW")]).values


def test_no_class_holds_what_a_gate_refuses() -> None:
    for patterns in TEXTS:
        assert not any(has_unsafe_characters(value) for value in text_classes(patterns).values)


def test_paths_with_parameters_are_classes_of_their_own_where_somebody_refuses_them() -> None:
    found = path_classes([TextRegex(".*/b")], parameters=True, are_told=True).values
    assert {(path.endswith("/b"), ";" in path) for path in found} == {
        (ends, has) for ends in (True, False) for has in (True, False)
    }
