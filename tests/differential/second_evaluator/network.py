"""Hosts, addresses, and the names and addresses of a certificate."""

import ipaddress
import re
from typing import Any

from tests.differential.second_evaluator.paths import NotCanonicalError, canonical, read_pattern
from tests.differential.second_evaluator.text import (
    STAR,
    Matches,
    ascii_lower,
    fold_letters,
    generous,
    glob,
    strict,
    with_stars_marked,
)
from tests.differential.second_evaluator.words import RefusedError

LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
NAME = rf"{LABEL}(?:\.{LABEL})*"


def host_name(text: str) -> str | None:
    """The host without port and trailing dot, in lower case; None for what "isn't a single valid host[:port]"."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{0,5}))?", text)
    if bracketed:
        try:
            ipaddress.IPv6Address(bracketed[1])
        except ValueError:
            return None
        return None if not port_is_valid(bracketed[2]) else f"[{ipaddress.IPv6Address(bracketed[1]).compressed}]"
    plain = re.fullmatch(rf"({NAME})\.?(?::([0-9]{{0,5}}))?", text, re.ASCII)
    if plain is None or len(plain[1]) > 253 or any(len(label) > 63 for label in plain[1].split(".")):
        return None
    return None if not port_is_valid(plain[2]) else ascii_lower(plain[1])


def port_is_valid(digits: str | None) -> bool:
    """No port, an empty one (RFC 3986 section 3.2.3), or one up to 65535."""
    return not digits or int(digits) <= 65535


def host_pattern(pattern: str) -> Matches:
    """Read a host pattern: " `*.` is one label"."""
    if host_name(pattern) and pattern.startswith("["):
        literal = host_name(pattern)
        return lambda value, _generous: value == literal
    marked = with_stars_marked(pattern)
    one_label = marked.startswith(STAR + ".")
    rest = ascii_lower(marked[2:] if one_label else marked)
    if not rest or STAR in rest:
        raise RefusedError(f"no host pattern: {pattern!r}")

    def matches(value: str, _is_generous: bool) -> bool:
        if not one_label:
            return value == rest
        label, dot, tail = value.partition(".")
        return bool(label and dot) and tail == rest

    return matches


def dns_pattern(pattern: str) -> Matches:
    """Read a DNS SAN pattern: "ASCII lower case; `*.` is exactly one label; a wildcard inside … is literal text"."""
    marked = with_stars_marked(pattern)
    one_label = marked.startswith(STAR + ".")
    rest = marked[2:] if one_label else marked
    if not rest or STAR in rest:
        raise RefusedError(f"no DNS pattern: {pattern!r}")

    def matches(value: str, is_generous: bool) -> bool:
        fold = generous if is_generous else ascii_lower
        value = fold(value).removesuffix(".") if is_generous else fold(value)
        if not one_label:
            return value == fold(rest)
        label, dot, tail = value.partition(".")
        return bool(label and dot) and tail == fold(rest)

    return matches


def uri_parts(uri: str) -> tuple[str, str] | None:
    """Scheme and authority, the case that doesn't count folded, and the path; None with a query or a fragment."""
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*:)(//[^/?#]*)?([^?#]*)", uri, re.DOTALL)
    if found is None:
        return None
    user, at, host = (found[2] or "").rpartition("@")
    return ascii_lower(found[1]) + user + at + ascii_lower(host), found[3]


def uri_pattern(pattern: str) -> Matches:
    """Read a URI SAN pattern: "scheme and authority literal, globs in the path only".

    A URI that isn't canonical matches as if it were unavailable: the specification is silent, and this fails closed.
    """
    parts = uri_parts(pattern)
    if parts is None or "*" in parts[0]:
        raise RefusedError(f"no URI pattern: {pattern!r}")
    head, path = parts
    wanted = read_pattern(rooted(path)) if path else None

    def reads(value: str, is_generous: bool) -> bool:
        fold = fold_letters if is_generous else strict
        found = uri_parts(value.split("?", 1)[0].split("#", 1)[0] if is_generous else value)
        if found is None or fold(found[0]) != fold(head):
            return False
        if wanted is None:
            return found[1] == "" or (is_generous and found[1] == "/")
        if not is_generous and found[1] and found[1].startswith("/") != path.startswith("/"):
            return False
        try:
            read = canonical(rooted(found[1]), parameters=True, normalise=is_generous)
        except NotCanonicalError:
            return is_generous
        return wanted.covers(read, generous=is_generous)

    return lambda value, is_generous: reads(value, is_generous) or (is_generous and reads(generous(value), is_generous))


def rooted(path: str) -> str:
    """The path with its slash."""
    return path if path.startswith("/") else "/" + path


def is_in_trust_domain(uri: str, domain: str) -> bool:
    """Whether a URI is a canonical `spiffe://` one of this domain."""
    found = uri_parts(uri)
    if found is None or found[0] != f"spiffe://{ascii_lower(domain)}":
        return False
    try:
        canonical(rooted(found[1]), parameters=True, normalise=False)
    except NotCanonicalError:
        return False
    return found[1] == "" or found[1].startswith("/")


def email_pattern(pattern: str) -> Matches:
    """Read an e-mail SAN pattern: "domain folded, local part exact"; `*.` is one label of the domain."""
    local, _, domain = pattern.rpartition("@")
    if not local or not domain:
        raise RefusedError(f"no mailbox: {pattern!r}")
    local_matches, domain_matches = glob(local), dns_pattern(domain)

    def matches(value: str, is_generous: bool) -> bool:
        given_local, _, given_domain = value.rpartition("@")
        return domain_matches(given_domain, is_generous) and local_matches(given_local, is_generous)

    return matches


def network(text: str) -> Any:
    """Read an address or a CIDR."""
    try:
        return ipaddress.ip_network(text, strict=True)
    except ValueError as error:
        raise RefusedError(str(error)) from None


def source_pattern(text: str) -> Matches:
    """Read an address or a CIDR of `source`; "IPv4-mapped IPv6 is IPv4"."""
    wanted = network(text)

    def matches(value: str, _is_generous: bool) -> bool:
        address = ipaddress.ip_address(value)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.version == wanted.version and address in wanted

    return matches


def ip_san_pattern(text: str) -> Matches:
    """Read an address (or a CIDR) of `ip_san`: "IP: binary"; "everything folded" where it takes access away.

    What an IPv4-mapped address in a certificate is worth the specification doesn't say: it grants nothing.
    """
    as_source = source_pattern(text)
    return lambda value, is_generous: (
        as_source(value, is_generous)
        and (is_generous or getattr(ipaddress.ip_address(value), "ipv4_mapped", None) is None)
    )
