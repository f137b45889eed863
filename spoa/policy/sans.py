"""Patterns for subject alternative names, each type by its own rules; no type ever stands in for another.

Strict matching folds only the case that the type's own RFC folds: the host of a DNS name, scheme and authority of a
URI (RFC 3986 section 6.2.2.1), the domain of a mailbox (RFC 5321 section 2.4). Generous matching folds everything.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from spoa.policy.hosts import HostPattern
from spoa.policy.path import PathPattern, canonical_path
from spoa.policy.text import TextPattern, fold, fold_text

__all__ = [
    "AddressPattern",
    "AddressSan",
    "DnsPattern",
    "EmailPattern",
    "UriPattern",
    "mapped_address",
    "packed_address",
]

_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
#: No zone and no mask written out: what those mean isn't the same to everybody.
_NETWORK: Final = re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?")
_WRITE_NETWORK: Final = "write an IP address or a network in CIDR form: `10.0.0.0/8`, `2001:db8::/32`"
_MAPPED: Final = bytes(10) + b"\xff\xff"


class DnsPattern(HostPattern):
    """A DNS name; `*.` is one label, and a wildcard inside the certificate is literal text (RFC 6125 section 6.4)."""

    __slots__ = ()

    def matches(self, value: str, *, generous: bool) -> bool:
        """Tell whether the certificate's DNS name *value* matches."""
        return super().matches(value.lower() if value.isascii() else value, generous=generous)


class UriPattern:
    """A URI: scheme and authority literal, globs in the path only.

    Attributes:
        source: as it was written.
        head: scheme and authority, the case that doesn't count folded.
        path: the pattern of the path; None where there is none.

    Raises:
        ValueError: when the text is no URI, or a glob stands outside the path.
    """

    __slots__ = ("_is_rooted", "head", "path", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        found = _URI.fullmatch(source)
        if found is None or found[4] or found[5]:
            raise ValueError("write a URI with a scheme, without query and fragment: `spiffe://domain/path`")
        if "*" in (found[2] or ""):
            raise ValueError("globs may stand in the path of a URI only, not in its authority")
        self.head = _head(found)
        path = found[3]
        self._is_rooted = path.startswith("/")
        self.path = PathPattern(path) if path.startswith("/") else None if not path else PathPattern("/" + path)

    def matches(self, value: str, *, generous: bool) -> bool:
        """Tell whether the certificate's URI *value* matches; one that isn't canonical never matches strictly."""
        return self._holds(value, generous=generous) or (generous and self._holds(fold_text(value), generous=True))

    def _holds(self, value: str, *, generous: bool) -> bool:
        found = _URI.fullmatch(value)
        if found is None or (not generous and (found[4] or found[5])):
            return False
        head = _head(found)
        if (fold(head) != fold(self.head)) if generous else (head != self.head):
            return False
        path = found[3]
        if self.path is None:
            return path == "" or (generous and path == "/")
        if not generous and path and path.startswith("/") is not self._is_rooted:
            return False
        read = canonical_path(path if path.startswith("/") else "/" + path, normalise=generous, parameters=True)
        if read is None:
            return generous  # what can't be read may be anything: a restriction holds for it
        return self.path.matches(read, generous=generous)

    def __str__(self) -> str:
        return self.source


def _head(found: re.Match[str]) -> str:
    """Return scheme and host in lower case, with what stands before `@`; an opaque URI (`urn:…`) has a scheme only."""
    user, at, host = (found[2] or "").rpartition("@")
    return found[1].lower() + (":" if found[2] is None else f"://{user}{at}{host.lower()}")


class EmailPattern:
    """A mailbox: the local part is text with globs, the domain a host pattern.

    Attributes:
        source: as it was written.
        local, domain: the patterns of both parts.

    Raises:
        ValueError: when there isn't exactly one `@` with something on both sides.
    """

    __slots__ = ("domain", "local", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        local, _, domain = source.rpartition("@")
        if not local or not domain:
            raise ValueError("write a mailbox as `local@domain`; `*` may stand in the local part")
        self.local = TextPattern(local)
        self.domain = HostPattern(domain)

    def matches(self, value: str, *, generous: bool) -> bool:
        """Tell whether the certificate's mailbox *value* matches."""
        local, _, domain = value.rpartition("@")
        if generous:
            domain = fold_text(domain)
        return self.domain.matches(domain.lower(), generous=generous) and self.local.matches(local, generous=generous)

    def __str__(self) -> str:
        return self.source


class AddressPattern:
    """An IP address or network, compared binary.

    Raises:
        ValueError: no address, or a network with bits set beyond its prefix.
    """

    __slots__ = ("bits", "network", "source", "width")

    def __init__(self, source: str) -> None:
        self.source = source
        if not _NETWORK.fullmatch(source):
            raise ValueError(_WRITE_NETWORK)
        network = ipaddress.ip_network(_plain_address(source))
        packed = network.network_address.packed
        prefix = network.prefixlen
        if len(packed) == 16 and packed.startswith(_MAPPED) and prefix >= 96:  # noqa: PLR2004 -- ::ffff:0:0/96
            packed, prefix = packed[12:], prefix - 96
        self.width = len(packed)
        self.bits = prefix
        self.network = int.from_bytes(packed) >> (self.width * 8 - prefix)

    def matches(self, value: bytes, *, generous: bool) -> bool:  # noqa: ARG002 -- binary has no case to fold
        """Tell whether the packed address *value* lies within."""
        value = packed_address(value)
        return len(value) == self.width and int.from_bytes(value) >> (self.width * 8 - self.bits) == self.network

    def __str__(self) -> str:
        return self.source


class AddressSan(AddressPattern):
    """An IP address or network in a certificate; only restrictions see the IPv4 address in an IPv4-mapped one.

    Raises:
        ValueError: as for any address.
    """

    __slots__ = ()

    def matches(self, value: bytes, *, generous: bool) -> bool:
        """Tell whether the certificate's packed address *value* lies within."""
        return (generous or packed_address(value) is value) and super().matches(value, generous=generous)


def mapped_address(value: bytes) -> bytes:
    """Return a packed IPv4 address as IPv4-mapped IPv6."""
    return _MAPPED + value


def packed_address(value: bytes) -> bytes:
    """Return a packed address with IPv4-mapped IPv6 as IPv4 (RFC 4291 section 2.5.5.2)."""
    return value[12:] if len(value) == 16 and value.startswith(_MAPPED) else value  # noqa: PLR2004 -- IPv6 is 16 bytes


def _plain_address(source: str) -> str:
    try:
        ipaddress.ip_network(source)
    except ValueError as error:
        try:
            right = ipaddress.ip_network(source, strict=False)
        except ValueError:
            raise ValueError(_WRITE_NETWORK) from None
        raise ValueError(f"the address has bits set beyond its prefix; did you mean `{right}`?") from error
    return source
