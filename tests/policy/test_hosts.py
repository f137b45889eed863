"""Hosts: what a Host header may say, and the names that match it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.policy.hosts import HostPattern, normal_host, normal_sni

HOSTS: list[tuple[str, str | None]] = [
    ("api.example.com", "api.example.com"),
    ("API.Example.COM", "api.example.com"),
    ("api.example.com.", "api.example.com"),
    ("api.example.com:8443", "api.example.com"),
    ("api.example.com.:8443", "api.example.com"),
    ("api.example.com:", "api.example.com"),
    ("api.example.com:65535", "api.example.com"),
    ("api.example.com:65536", None),
    ("api.example.com:99999", None),
    ("api.example.com:" + "9" * 5000, None),
    ("api.example.com:80a", None),
    ("api.example.com:-1", None),
    ("localhost", "localhost"),
    ("my_service", "my_service"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.1:80", "192.0.2.1"),
    ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
    ("[::1]:443", "[::1]"),
    ("[::1", None),
    ("[1.2.3.4]", None),
    ("[::1%25eth0]", None),
    ("[]", None),
    ("::1", None),
    ("", None),
    (".", None),
    (":80", None),
    ("a..b", None),
    (".a", None),
    ("a..", None),
    ("-a.b", None),
    ("a-.b", None),
    ("a b", None),
    (" a", None),
    ("a\t", None),
    ("a\n", None),
    ("a,b", None),
    ("a, a", None),
    ("a:80,b:80", None),
    ("a/b", None),
    ("user@a", None),
    ("a\0", None),
    ("b\xfccher.example", None),
    ("a" * 63 + ".b", "a" * 63 + ".b"),
    ("a" * 64 + ".b", None),
    (".".join(["a" * 49] * 5) + ".abcd", None),
    ("*", None),
    ("*.example.com", None),
]


@pytest.mark.parametrize(("raw", "host"), HOSTS)
def test_a_host_is_one_name_in_lower_case_without_port_and_trailing_dot(raw: str, host: str | None) -> None:
    assert normal_host(raw) == host


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_any_text_is_a_host_or_none_and_a_normal_host_stays_as_it_is(raw: str) -> None:
    host = normal_host(raw)
    assert host is None or normal_host(host) == host


def test_a_server_name_is_compared_like_a_host() -> None:
    assert normal_sni("API.Example.com.") == "api.example.com"
    assert normal_sni("") == ""


#: pattern, normal host, whether it matches.
MATCHES = [
    ("api.example.com", "api.example.com", True),
    ("API.example.com.", "api.example.com", True),
    ("api.example.com", "api.example.org", False),
    ("example.com", "api.example.com", False),
    ("*.example.com", "api.example.com", True),
    ("*.example.com", "example.com", False),
    ("*.example.com", ".example.com", False),
    ("*.example.com", "a.b.example.com", False),
    ("*.example.com", "apiexample.com", False),
    ("*.example.com", "evil-example.com", False),
    (r"\*.example.com", "*.example.com", True),
    (r"\*.example.com", "api.example.com", False),
    ("[2001:db8::1]", "[2001:db8::1]", True),
    ("192.0.2.1", "192.0.2.1", True),
]


@pytest.mark.parametrize("generous", [False, True])
@pytest.mark.parametrize(("pattern", "host", "expected"), MATCHES)
def test_a_star_is_exactly_one_label(pattern: str, host: str, expected: bool, generous: bool) -> None:
    assert HostPattern(pattern).matches(host, generous=generous) is expected


def test_only_generous_matching_folds_what_a_client_sent() -> None:
    pattern = HostPattern("api.example.com")
    for value in (
        "API.example.com",
        "api.example.com.",
        "\uff41pi.example.com",
        " api.example.com",
        "api.example.com. ",
    ):
        assert not pattern.matches(value, generous=False)
        assert pattern.matches(value, generous=True)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "no host name"),
        ("*", "`\\*.` may only stand"),
        ("a.*.b", "`\\*.` may only stand"),
        ("*a.b", "`\\*.` may only stand"),
        ("*.*.b", "`\\*.` may only stand"),
        ("*.", "no host name|may only stand"),
        ("api.example.com:443", "no host name"),
        ("http://a", "no host name"),
        ("a b", "no host name"),
        ("[2001:DB8:0::1]", "no host name"),
        ("b\u00fccher.example", "ASCII form"),
    ],
)
def test_a_pattern_that_no_host_could_match_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        HostPattern(pattern)


def test_a_pattern_shows_what_was_written() -> None:
    assert str(HostPattern("*.Example.com")) == "*.Example.com"
