"""Subject alternative names: each type by its own rules, strictly and generously."""

from __future__ import annotations

import ipaddress

import pytest

from spoa.policy.model import Matcher, Pattern
from spoa.policy.sans import AddressPattern, AddressSan, DnsPattern, EmailPattern, UriPattern, packed_address


def holds(pattern: Pattern, value: object, *, generous: bool) -> bool:
    return Matcher("san", "san", (pattern,)).holds((value,), generous=generous)


DNS = [
    ("api.example.com", "api.example.com", True, True),
    ("api.example.com", "API.example.com", True, True),  # RFC 4343: ASCII case
    ("API.example.com", "api.example.com", True, True),
    ("api.example.com", "api.example.com.", False, True),
    ("api.example.com", "api.example.com ", False, True),  # blanks don't help out of a restriction
    ("api.example.com", " api.example.com.", False, True),
    ("*.example.com", "api.example.com ", False, True),
    ("*.example.com", "api.example.com", True, True),
    ("*.example.com", "a.b.example.com", False, False),
    ("*.example.com", "example.com", False, False),
    ("*.example.com", "*.example.com", True, True),
    ("api.example.com", "*.example.com", False, False),  # a wildcard in the certificate is literal
    (r"\*.example.com", "*.example.com", True, True),
    (r"\*.example.com", "api.example.com", False, False),
]


@pytest.mark.parametrize(("pattern", "value", "strict", "generous"), DNS)
def test_a_dns_name_ignores_ascii_case_and_a_star_is_one_label(
    pattern: str, value: str, strict: bool, generous: bool
) -> None:
    assert holds(DnsPattern(pattern), value, generous=False) is strict
    assert holds(DnsPattern(pattern), value, generous=True) is generous


URIS = [
    ("spiffe://prod.example/ns/a", "spiffe://prod.example/ns/a", True, True),
    ("spiffe://prod.example/ns/a", "SPIFFE://PROD.example/ns/a", True, True),
    ("spiffe://prod.example/ns/a", "spiffe://prod.example/NS/a", False, True),
    ("spiffe://prod.example/ns/a", "spiffe://prod.example/ns/a/", False, True),
    ("spiffe://prod.example/ns/*", "spiffe://prod.example/ns/a", True, True),
    ("spiffe://prod.example/ns/*", "spiffe://prod.example/ns/a/b", False, False),
    ("spiffe://prod.example/ns/*", "spiffe://prod.example/ns/", False, False),
    ("spiffe://prod.example/ns/*/sa/*", "spiffe://prod.example/ns/a/sa/b", True, True),
    ("spiffe://prod.example/**", "spiffe://prod.example/a/b", True, True),
    ("spiffe://prod.example/**", "spiffe://prod.example", True, True),
    ("spiffe://prod.example/**", "spiffe://prod.example.evil/a", False, False),
    ("spiffe://prod.example/**", "https://prod.example/a", False, False),
    ("spiffe://prod.example/a", "spiffe://prod.example:80/a", False, False),
    ("spiffe://prod.example/a", "spiffe://user@prod.example/a", False, False),
    ("ftp://Bob@host/a", "ftp://Bob@HOST/a", True, True),
    ("ftp://Bob@host/a", "ftp://bob@host/a", False, True),  # RFC 3986 folds the host only
    ("spiffe://prod.example/a", "spiffe://prod.example/a?x", False, True),
    ("spiffe://prod.example/a", "spiffe://prod.example/a#x", False, True),
    ("spiffe://prod.example/a", "spiffe://prod.example/%61", False, True),
    ("spiffe://prod.example/a", "spiffe://prod.example/x/../a", False, True),
    ("spiffe://prod.example/a", "spiffe://prod.example//a", False, True),
    ("spiffe://prod.example/a", "spiffe://prod.example/%2F", False, True),  # can't be read: a restriction holds
    ("spiffe://prod.example/a", " spiffe://prod.example/a", False, True),
    ("spiffe://prod.example/a", "spiffe://prod.example/a ", False, True),
    ("spiffe://prod.example/a", "\uff53piffe://prod.example/a", False, True),
    ("spiffe://prod.example/a", "spiffe://prod.example/a\uff0fb", False, True),  # can't be read as it stands
    ("spiffe://prod.example", "spiffe://prod.example", True, True),
    ("spiffe://prod.example", "spiffe://prod.example/", False, True),
    ("spiffe://prod.example", "spiffe://prod.example/a", False, False),
    ("urn:example:a", "urn:example:a", True, True),
    ("urn:example:a", "URN:example:a", True, True),
    ("urn:example:a", "urn:/example:a", False, True),  # another URI
    ("urn:/a", "urn:a", False, True),
    ("urn:example:*", "urn:example:b", True, True),
    ("spiffe://prod.example/a", "not a uri", False, False),
    ("spiffe://prod.example/a", "", False, False),
]


@pytest.mark.parametrize(("pattern", "value", "strict", "generous"), URIS)
def test_a_uri_is_literal_but_for_globs_in_its_path(pattern: str, value: str, strict: bool, generous: bool) -> None:
    assert holds(UriPattern(pattern), value, generous=False) is strict
    assert holds(UriPattern(pattern), value, generous=True) is generous


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "with a scheme"),
        ("prod.example/a", "with a scheme"),
        ("//prod.example/a", "with a scheme"),
        ("a://b/c?d", "with a scheme"),
        ("a://b/c#d", "with a scheme"),
        ("spiffe://*.example/a", "not in its authority"),
        ("sp*://a/b", "with a scheme"),
        ("a://b/**/c", "last segment"),
        ("a://b/../c", "dot segment"),
    ],
)
def test_a_pattern_that_is_no_uri_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        UriPattern(pattern)


MAILBOXES = [
    ("bob@example.com", "bob@example.com", True, True),
    ("bob@example.com", "bob@EXAMPLE.com", True, True),
    ("bob@Example.com", "bob@example.com", True, True),
    ("bob@example.com", "Bob@example.com", False, True),
    ("bob@example.com", "bob@example.com ", False, True),
    ("bob@example.com", "bob@mail.example.com", False, False),
    ("*@example.com", "anyone@example.com", True, True),
    ("*@example.com", "@example.com", False, False),
    ("*@example.com", "a@b@example.com", True, True),
    ("svc-*@example.com", "svc-a@example.com", True, True),
    ("bob@*.example.com", "bob@a.example.com", True, True),
    ("bob@*.example.com", "bob@example.com", False, False),
    ("bob@example.com", "example.com", False, False),
    ("bob@example.com", "", False, False),
]


@pytest.mark.parametrize(("pattern", "value", "strict", "generous"), MAILBOXES)
def test_the_local_part_of_a_mailbox_is_exact_and_its_domain_folded(
    pattern: str, value: str, strict: bool, generous: bool
) -> None:
    assert holds(EmailPattern(pattern), value, generous=False) is strict
    assert holds(EmailPattern(pattern), value, generous=True) is generous


@pytest.mark.parametrize("pattern", ["", "bob", "@example.com", "bob@", "bob@a b", "b?b@a.b", "bob@x@"])
def test_a_pattern_that_is_no_mailbox_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"mailbox|host name|has no meaning"):
        EmailPattern(pattern)


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


ADDRESSES = [
    ("10.20.0.0/16", "10.20.255.1", True),
    ("10.20.0.0/16", "10.21.0.0", False),
    ("10.0.0.1", "10.0.0.1", True),
    ("10.0.0.1", "10.0.0.2", False),
    ("0.0.0.0/0", "203.0.113.9", True),
    ("0.0.0.0/0", "2001:db8::1", False),
    ("::/0", "2001:db8::1", True),
    ("::/0", "10.0.0.1", False),
    ("2001:db8::/32", "2001:db8:1::1", True),
    ("2001:db8::/32", "2001:db9::1", False),
    ("10.0.0.0/8", "::ffff:10.1.1.1", True),
    ("::ffff:10.0.0.0/104", "10.1.1.1", True),
    ("::ffff:10.0.0.1", "10.0.0.1", True),
    ("::ffff:0:0/96", "192.0.2.1", True),
    ("::/0", "::ffff:10.0.0.1", False),
]


@pytest.mark.parametrize("generous", [False, True])
@pytest.mark.parametrize(("pattern", "value", "expected"), ADDRESSES)
def test_addresses_are_compared_binary_and_mapped_ones_are_ipv4(
    pattern: str, value: str, expected: bool, generous: bool
) -> None:
    assert AddressPattern(pattern).matches(packed(value), generous=generous) is expected


SANS = [
    ("10.0.0.0/8", "10.1.1.1", True, True),
    ("10.0.0.0/8", "::ffff:10.1.1.1", False, True),
    ("::ffff:10.0.0.1", "::ffff:10.0.0.1", False, True),
    ("2001:db8::/32", "2001:db8::1", True, True),
    ("10.0.0.0/8", "11.0.0.1", False, False),
    ("10.0.0.0/8", "::ffff:11.0.0.1", False, False),
]


@pytest.mark.parametrize(("pattern", "value", "strict", "generous"), SANS)
def test_a_mapped_address_in_a_certificate_grants_nothing_and_is_restricted_as_ipv4(
    pattern: str, value: str, strict: bool, generous: bool
) -> None:
    assert holds(AddressSan(pattern), packed(value), generous=False) is strict
    assert holds(AddressSan(pattern), packed(value), generous=True) is generous


@pytest.mark.parametrize("value", [b"", b"123", bytes(5), bytes(17)])
def test_what_is_no_address_lies_in_no_network(value: bytes) -> None:
    assert not AddressPattern("0.0.0.0/0").matches(value, generous=True)
    assert not AddressPattern("::/0").matches(value, generous=True)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("10.20.30.0/16", "did you mean `10.20.0.0/16`"),
        ("2001:db8::1/32", "did you mean `2001:db8::/32`"),
        ("10.0.0.0/33", "CIDR"),
        ("10.0.0", "CIDR"),
        ("010.0.0.1", "CIDR"),
        ("10.0.0.0/255.0.0.0", "CIDR"),
        ("10.0.0.0/0.0.0.255", "CIDR"),
        ("fe80::1%eth0", "CIDR"),
        ("localhost", "CIDR"),
        ("", "CIDR"),
        ("10.0.0.1 ", "CIDR"),
    ],
)
def test_what_is_no_address_or_network_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AddressPattern(pattern)


def test_only_mapped_addresses_are_unwrapped() -> None:
    assert packed_address(packed("::ffff:192.0.2.1")) == packed("192.0.2.1")
    assert packed_address(packed("::192.0.2.1")) == packed("::192.0.2.1")
    assert packed_address(packed("192.0.2.1")) == packed("192.0.2.1")


def test_patterns_show_what_was_written() -> None:
    shown = [DnsPattern("*.A"), UriPattern("a://b/*"), EmailPattern("a@b"), AddressPattern("10.0.0.0/8")]
    assert list(map(str, shown)) == ["*.A", "a://b/*", "a@b", "10.0.0.0/8"]
