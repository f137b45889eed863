"""Converters that leave the name of a host are left out where a policy doesn't see what they take away."""

from __future__ import annotations

import pytest

from spoa.migration.hosts import host_name, server_name
from tests.migration.configurations import comparison


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("hdr(host),host_only -m dom a.example", ""),
        ("hdr(host),host_only a.example", "a dot at the end"),
        ("hdr(host),lower,field(1,:) a.example", "a dot at the end"),
        ("hdr(host),field(1,:),lower -m end .example", "a dot at the end"),
        ("hdr(host),field(1,:) a.example", "upper case or a dot at the end"),
        ("hdr(host) a.example", "upper case or a port or a dot at the end"),
        ("hdr(host),lower a.example", "a port or a dot at the end"),
        ("hdr(host),field(1,:) -i -m reg ^a", "an IPv6 address"),
        ("hdr(host),field(1,:) -i -m reg ^a$", "an IPv6 address or a dot at the end"),
    ],
)
def test_what_is_another_host_to_haproxy_alone_is_told(text: str, seen: str) -> None:
    name = host_name(comparison(text))
    assert name.test.converters == ()
    assert name.note == (f"{seen} made another host of it" if seen else "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hdr(host),field(2,:) 80", "another part"),
        ("hdr(host),field(1,.) www", "another part"),
        ("hdr(host),lower A.example", "never matches"),
        ("hdr(host),host_only a.example:80", "never matches"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        host_name(comparison(text))


def test_other_converters_are_left_to_who_knows_them() -> None:
    assert host_name(comparison("hdr(host),upper A.EXAMPLE")).test.converters == (("upper", ()),)
    assert server_name(comparison("ssl_fc_sni,upper A")).converters == (("upper", ()),)
    assert server_name(comparison("ssl_fc_sni,lower a")).ignores_case
    with pytest.raises(ValueError, match="never matches"):
        server_name(comparison("ssl_fc_sni,lower A"))
