"""Where the agent may connect to: what a policy names, and what a certificate may name."""

from __future__ import annotations

import pytest

from spoa.egress import MAX_URL_SIZE, Permit, read_permit, read_target


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://ocsp.example.com", "ocsp.example.com", 80),
        ("https://OCSP.Example.com./a?b=c", "ocsp.example.com", 443),
        ("http://127.0.0.1:8080/x", "127.0.0.1", 8080),
        ("http://[2001:DB8::1]:8080/x", "2001:db8::1", 8080),
        ("HTTP://under_score.example/", "under_score.example", 80),
    ],
)
def test_a_url_is_read_with_its_host_and_port(url: str, host: str, port: int) -> None:
    target = read_target(url)
    assert (target.host, target.port, str(target)) == (host, port, url)


def test_outages_are_counted_by_host_and_port() -> None:
    assert read_target("http://A.example/x").authority == "a.example:80"
    assert read_target("http://[::1]:99").authority == "[::1]:99"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ldap://a/x", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://me:secret@a/", "a user or a password"),
        ("http://a/#x", "fragment"),
        ("http:///x", "no host"),
        ("http://-a/", "no host"),
        ("http://a..b/", "no host"),
        ("http://a b/", "characters"),
        ("http://a\r\nHost: b/", "characters"),
        ("http://bücher.example/", "characters"),
        ("http://a:99999/", "ort"),
        ("http://[::1/", "nvalid"),
        ("http://a/" + "x" * MAX_URL_SIZE, "at most"),
    ],
)
def test_any_other_url_is_refused(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_target(url)


@pytest.mark.parametrize(
    ("entries", "url", "is_allowed"),
    [
        (["ocsp.example.com"], "http://ocsp.example.com/a", True),
        (["OCSP.example.com."], "https://ocsp.example.com/", True),
        (["ocsp.example.com"], "http://ocsp.example.com:8080/", False),
        (["ocsp.example.com:8080"], "http://ocsp.example.com:8080/", True),
        (["ocsp.example.com:8080"], "http://ocsp.example.com/", False),
        (["ocsp.example.com"], "http://evil.ocsp.example.com/", False),
        (["10.0.0.7"], "http://10.0.0.7/", True),
        (["[2001:db8::1]:99"], "http://[2001:db8:0::1]:99/", False),
        (["[2001:db8::1]:99"], "http://[2001:db8::1]:99/", True),
        (["10.0.0.0/8"], "http://10.0.0.7/", False),
        ([], "http://a/", False),
    ],
)
def test_a_certificate_may_name_listed_hosts_only(entries: list[str], url: str, is_allowed: bool) -> None:
    assert Permit.of(entries).allows(read_target(url)) is is_allowed


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "2002:7f00:1::",
        "192.0.0.8", "2001:0:7f00:1::", "junk", "",
    ],
)  # fmt: skip
def test_a_name_leads_to_no_address_that_is_not_public(address: str) -> None:
    assert not Permit.of(["ocsp.example.com"]).allows_address(address, "ocsp.example.com")


@pytest.mark.parametrize(
    ("entries", "host", "address", "is_allowed"),
    [
        (["a.example"], "a.example", "93.184.216.34", True),
        (["a.example"], "a.example", "2606:2800:220:1::1", True),
        (["a.example", "10.20.0.0/16"], "a.example", "10.20.3.4", True),
        (["a.example", "10.20.0.0/16"], "a.example", "::ffff:10.20.3.4", True),
        (["a.example", "10.20.0.0/16"], "a.example", "10.21.3.4", False),
        (["a.example", "fd00::/8"], "a.example", "fd00::1", True),
        (["127.0.0.1:8080"], "127.0.0.1", "127.0.0.1", True),
        (["127.0.0.1", "a.example"], "a.example", "127.0.0.1", False),
        (["localhost:8080"], "localhost", "127.0.0.1", True),
        (["localhost"], "localhost", "::1", True),
        (["localhost"], "localhost", "10.0.0.1", False),
        (["localhost", "a.example"], "a.example", "127.0.0.1", False),
    ],
)
def test_an_address_is_public_or_listed(entries: list[str], host: str, address: str, is_allowed: bool) -> None:
    assert Permit.of(entries).allows_address(address, host) is is_allowed


@pytest.mark.parametrize(
    "entry",
    ["", "http://a", "a/b", "10.0.0.1/8", "a:0", "a:99999", "a:b", "*.example.com", "a b", "[::1", "me@a"],
)
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"write|port"):
        read_permit(entry)
