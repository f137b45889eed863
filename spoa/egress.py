"""Where the agent may connect to of its own accord: the URLs of CRLs and OCSP responders.

What a policy names, the operator chose, and any address will do. What a *certificate* names, its holder may have
chosen: such a URL counts only for hosts that the policy lists, on the usual ports unless one is listed, and only where
every address that the name has is a public one, or lies in a network that the policy lists too. Otherwise whoever can
get a certificate with a name of his own in it could have the agent talk to the metadata service of a cloud.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_URL_SIZE", "Permit", "Target", "read_permit", "read_target"]

MAX_URL_SIZE: Final = 2048
"""Characters of a URL."""

_PORTS: Final = {"http": 80, "https": 443}
_LAST_PORT: Final = 65535
_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_HOST_AND_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>\d{1,5})")
#: Addresses that lead elsewhere than `is_global` believes: IPv4 behind a translator (RFC 6052, RFC 8215), and protocol
#: assignments (RFC 6890), of which older Pythons know a part only.
_NOT_PUBLIC: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "192.0.0.0/24")))
#: RFC 6761 section 6.3: this name means the loopback addresses, so whoever lists it means them.
_LOCALHOST: Final = "localhost"

_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
_Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"


@dataclass(frozen=True, slots=True)
class Target:
    """An http or https URL that was found fit to be asked.

    Attributes:
        url: as it was written.
        scheme: `http` or `https`.
        host: in lower case, without brackets.
        port: given, or the scheme's own.
    """

    url: str
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return self.url

    @property
    def authority(self) -> str:
        """`host:port`, by which outages are counted."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_target(url: str) -> Target:
    """Read a URL of at most 2048 characters.

    Raises:
        ValueError: it isn't http or https, names no host or a user, has a fragment, or characters that no URL has.
    """
    if len(url) > MAX_URL_SIZE:
        raise ValueError(f"a URL has at most {MAX_URL_SIZE} characters")
    if not url.isascii() or any(character <= " " or character in '\x7f"<>\\^`{|}' for character in url):
        raise ValueError("the URL has characters that no URL has; percent-encode them")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError("only http and https URLs are fetched")
    if "@" in parts.netloc:
        raise ValueError("a URL with a user or a password is not fetched; take them out")
    if parts.fragment:
        raise ValueError("a URL to fetch has no fragment; take out what stands behind #")
    port = parts.port  # raises ValueError for one out of range
    host = (parts.hostname or "").removesuffix(".")
    if _address(host) is None and not _NAME.fullmatch(host):
        raise ValueError("the URL names no host that could be looked up")
    return Target(url, parts.scheme, host, _PORTS[parts.scheme] if port is None else port)


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Permit:
    """The hosts that certificates may name.

    Attributes:
        hosts: (name or address, port); port 0 means 80 and 443.
        networks: addresses that may be connected to although they aren't public.
    """

    hosts: frozenset[tuple[str, int]]
    networks: tuple[_Network, ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> Permit:
        """Read the entries of a policy, each as `read_permit` takes it.

        Raises:
            ValueError: one is none.
        """
        permits = [read_permit(entry) for entry in entries]
        return cls(
            frozenset().union(*(permit.hosts for permit in permits)),
            tuple(network for permit in permits for network in permit.networks),
        )

    def allows(self, target: Target) -> bool:
        """Tell whether a certificate's URL may be asked, its addresses aside."""
        is_usual = target.port in _PORTS.values()
        return (target.host, target.port) in self.hosts or (is_usual and (target.host, 0) in self.hosts)

    def allows_address(self, address: str, host: str) -> bool:
        """Tell whether an address, found for a host that is allowed, may be connected to."""
        found = _address(address.partition("%")[0])
        if found is None:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if found == _address(host) or (host == _LOCALHOST and found.is_loopback):
            return True
        if any(found in network for network in self.networks):
            return True
        return _is_public(found)


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.sixtofour is not None or address.teredo is not None):
        return False  # these hide an IPv4 address too
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)


def read_permit(entry: str) -> Permit:
    """Read `HOST`, `HOST:PORT`, an address with or without a port (`10.0.0.7:8080`, `[2001:db8::1]:80`), or a network.

    A name stands for public addresses only, but for `localhost`; an address stands for itself. A network
    (`10.20.0.0/16`) names no host: it lets the listed names have addresses in it.

    Raises:
        ValueError: it is none of these.
    """
    text = entry.strip().lower()
    if "/" in text:
        try:
            return Permit(frozenset(), (ipaddress.ip_network(text),))
        except ValueError as error:
            raise ValueError(f"{error}; write a network as 10.20.0.0/16, or a host without scheme and path") from None
    host, port = text, 0
    match = None if _address(text) is not None else _HOST_AND_PORT.fullmatch(text)
    if match is not None:
        host, port = match["host"], int(match["port"])
        if not 0 < port <= _LAST_PORT:
            raise ValueError("a port lies between 1 and 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    address = _address(host)
    host = host.removesuffix(".") if address is None else str(address)
    if address is None and not _NAME.fullmatch(host):
        raise ValueError("write a host as ocsp.example.com, ocsp.example.com:8080, or an address")
    return Permit(frozenset({(host, port)}), ())
