"""Host names: of the Host header, of SNI and of DNS names in certificates (RFC 9110 section 7.2, RFC 6125)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from spoa.cache import remembering_short
from spoa.policy.text import fold_text

__all__ = ["HostPattern", "normal_host", "normal_sni"]

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::([0-9]{0,5}))?")
_MAX_NAME: Final = 253
_MAX_PORT: Final = 65535


# Hot path: of hosts there are few, and most requests name one that was just named.
@remembering_short
def normal_host(raw: str) -> str | None:
    """Return the host of a `host[:port]` in lower case without port and trailing dot, or None when it isn't one."""
    found = _HOST.fullmatch(raw.lower()) if raw.isascii() else None
    if found is None or (found[2] and int(found[2]) > _MAX_PORT):
        return None
    host = found[1]
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    host = host.removesuffix(".")
    return host if len(host) <= _MAX_NAME and _NAME.fullmatch(host) else None


def normal_sni(raw: str) -> str:
    """Return a server name indication as hosts are compared: lower case, no trailing dot."""
    return raw.lower().removesuffix(".")


class HostPattern:
    """A host name, or `*.` and a name: exactly one label more.

    Raises:
        ValueError: when no host could match; the sentence says what to write.
    """

    __slots__ = ("name", "source", "suffix")

    def __init__(self, source: str) -> None:
        self.source = source
        name = source.lower().removesuffix(".")
        self.suffix = name[1:] if name.startswith("*.") else ""
        if not source.isascii():
            raise ValueError("write host names in their ASCII form (`xn--…`)")
        bare = name[2:] if self.suffix else name
        if bare.startswith(r"\*."):
            bare = bare[3:]
            name = name.removeprefix("\\")
        if "*" in bare:
            raise ValueError("`*.` may only stand at the start, for exactly one label; use {re: ...} for more")
        if normal_host(bare) != bare:
            raise ValueError("this is no host name; write it without port, in the form `api.example.com`")
        self.name = name

    def matches(self, value: str, *, generous: bool) -> bool:
        """Tell whether *value*, a normal host, matches; generous folds what ASCII lower case leaves apart."""
        value = fold_text(value).removesuffix(".") if generous else value
        if not self.suffix:
            return value == self.name
        label = value.removesuffix(self.suffix)
        return len(label) < len(value) and bool(label) and "." not in label

    def __str__(self) -> str:
        return self.source
