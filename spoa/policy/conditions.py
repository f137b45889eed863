"""Every condition a policy can state: its key, the patterns written behind it, and the attribute that it reads.

Two tables: `IDENTITY_CONDITIONS` for what a certificate says, `COLUMNS` for what a request says. A new condition is one
row here; loader, JSON Schema, evaluation, explanations and the reference follow from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spoa.facts import ABSENT, UNAVAILABLE, Missing
from spoa.policy import oids
from spoa.policy.automaton import Regex
from spoa.policy.hosts import HostPattern
from spoa.policy.path import ASTERISK, CanonicalPath, PathPattern
from spoa.policy.sans import AddressPattern, AddressSan, DnsPattern, EmailPattern, UriPattern
from spoa.policy.text import TextPattern, fold_text, strict_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.facts import Certificate
    from spoa.policy.model import Matcher, Pattern, Values

__all__ = [
    "COLUMNS",
    "IDENTITY_CONDITIONS",
    "READ_METHODS",
    "WRITE_METHODS",
    "AtLeast",
    "Column",
    "Exact",
    "HeaderPattern",
    "IdentityCondition",
    "InList",
    "MethodPattern",
    "PathRegex",
    "TextRegex",
    "bearer_values",
    "effective_key_bits",
    "read_header_name",
]

READ_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
WRITE_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_SHA256_DIGITS: Final = 64
_BITS: Final = re.compile("[0-9]{1,5}")


# -- patterns that are no text, path or name --------------------------------------------------------------------


class Exact:
    """One value, equal or not; for numbers, digests and words of a closed list."""

    __slots__ = ("source", "value")

    def __init__(self, value: object, source: str) -> None:
        self.value = value
        self.source = source

    def matches(self, value: object, *, generous: bool) -> bool:  # noqa: ARG002 -- equality has one reading
        """Tell whether *value* is the one."""
        return value == self.value

    def __str__(self) -> str:
        return self.source


class AtLeast:
    """A number that must be reached."""

    __slots__ = ("least",)

    def __init__(self, least: int) -> None:
        self.least = least

    def matches(self, value: int, *, generous: bool) -> bool:  # noqa: ARG002 -- numbers have one reading
        """Tell whether *value* is large enough."""
        return value >= self.least

    def __str__(self) -> str:
        return str(self.least)


class InList:
    """Membership of a named list; the attribute's value maps list names to what is known of it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def matches(self, value: Mapping[str, bool | Missing], *, generous: bool) -> bool:
        """Tell whether the certificate is on the list, or could be and the polarity is generous."""
        found = value.get(self.name, UNAVAILABLE)
        return generous if found is UNAVAILABLE else found is True

    def __str__(self) -> str:
        return self.name


class MethodPattern:
    """A method token (RFC 9110 section 9.1), or `read` or `write`.

    Generously, `write` is whatever is not exactly one of the three reading methods.

    Raises:
        ValueError: no token.
    """

    __slots__ = ("source",)

    def __init__(self, source: str) -> None:
        if not source or not _TOKEN.issuperset(source):
            raise ValueError("write a method as it stands in a request (GET, POST, …), or `read` or `write`")
        self.source = source

    def matches(self, value: str, *, generous: bool) -> bool:
        """Tell whether the request's method matches."""
        folded = value.upper() if generous else value
        if self.source == "read":
            return folded in READ_METHODS
        if self.source == "write":
            return value not in READ_METHODS if generous else value in WRITE_METHODS
        return folded == (self.source.upper() if generous else self.source)

    def __str__(self) -> str:
        return self.source


class TextRegex:
    """A regular expression over a whole text; generously over the folded text, ignoring case.

    Raises:
        ValueError: outside the supported subset; see `automaton`.
    """

    __slots__ = ("_generous", "_strict", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self._strict = Regex(source)
        self._generous = Regex(source, generous=True)

    def matches(self, value: str, *, generous: bool) -> bool:
        """Tell whether the whole of *value* matches."""
        return self._generous.matches(fold_text(value)) if generous else self._strict.matches(strict_text(value))

    def automaton(self, *, generous: bool) -> Regex:
        """Return the expression over the (folded) text."""
        return self._generous if generous else self._strict

    def __str__(self) -> str:
        return f"re: {self.source}"


class PathRegex(TextRegex):
    """A regular expression over a whole canonical path; generously over its decoded, folded segments."""

    __slots__ = ()

    def matches(self, value: CanonicalPath, *, generous: bool) -> bool:  # type: ignore[override] # its own kind of value
        """Tell whether the whole path matches."""
        if not generous:
            return self._strict.matches(value.text)
        if self._generous.matches(value.folded):
            return True
        # A trailing slash is ignored on either side: the expression may demand the one that folding took away.
        has_segments = bool(value.generous) and value is not ASTERISK
        return has_segments and self._generous.matches(value.folded + "/")


class SniPattern(HostPattern):
    """A server name; what the client sent is any text, so folding is all that can be done to it."""

    __slots__ = ()


class HeaderPattern:
    """Headers by lower-case name, all of which must match; one that isn't there is unavailable."""

    __slots__ = ("matchers",)

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        self.matchers = matchers

    def matches(self, value: Mapping[str, str | Missing], *, generous: bool) -> bool:
        """Tell whether all the headers match."""
        for matcher in self.matchers:
            header = value.get(matcher.attribute, UNAVAILABLE)
            values: Values = (header,) if isinstance(header, str) else header
            if not matcher.holds(values, generous=generous):
                return False
        return True

    def __str__(self) -> str:
        return ", ".join(f"{matcher.key}: {' | '.join(map(str, matcher.patterns))}" for matcher in self.matchers)


# -- what is written behind a key -------------------------------------------------------------------------------


def read_header_name(text: str) -> str:
    """Return the name of a header in lower case.

    Raises:
        ValueError: no header can have that name (RFC 9110 section 5.1).
    """
    if not text or not _TOKEN.issuperset(text):
        raise ValueError("write a header's name as it stands in a request, without colon")
    return text.lower()


def digest_pattern(text: str) -> Exact:
    """Read 64 hex digits, colons allowed."""
    digits = text.replace(":", "")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if len(digits) != _SHA256_DIGITS or len(value) * 2 != _SHA256_DIGITS:
        raise ValueError("write SHA-256 as 64 hex digits; `spoa-authz fingerprint CERT` prints them")
    return Exact(value, text)


def serial_pattern(text: str) -> Exact:
    """Read a serial number in hex, colons and a leading minus allowed."""
    digits = text.replace(":", "").removeprefix("-")
    try:
        value = int(digits, 16) if digits.isascii() and digits.isalnum() else None
    except ValueError:
        value = None
    if value is None:
        raise ValueError("write the serial number in hex digits; `spoa-authz fingerprint CERT` prints it")
    return Exact(-value if text.startswith("-") else value, text)


def bits_pattern(text: str) -> AtLeast:
    """Read a number of bits."""
    if not _BITS.fullmatch(text) or not 0 < int(text) <= 65536:  # noqa: PLR2004 -- far above any key
        raise ValueError("write a number of bits such as 2048 or 3072")
    return AtLeast(int(text))


def _oid_pattern(names: Mapping[str, str], what: str) -> Callable[[str], Exact]:
    def read(text: str) -> Exact:
        oid = oids.lookup(names, text)
        if oid is None:
            known = ", ".join(names)
            raise ValueError(f"write {what} as a dotted OID or one of {known}")
        return Exact(oid, text)

    return read


_TLS_VERSIONS: Final = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")


def tls_pattern(text: str) -> Exact:
    """Read a TLS version as HAProxy's `ssl_fc_protocol` writes it."""
    if text not in _TLS_VERSIONS:
        raise ValueError(f"write one of {', '.join(_TLS_VERSIONS)}")
    return Exact(text, text)


# -- tables -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IdentityCondition:
    """A key of an identity.

    Attributes:
        pattern: text → pattern, raising ValueError with what to write instead.
        attribute: what it reads; see `ATTRIBUTES`.
        regex: pattern for `{re: ...}`, or None where that has no meaning.
        doc: for the reference and for editors.
    """

    pattern: Callable[[str], Pattern]
    attribute: str
    regex: Callable[[str], Pattern] | None
    doc: str


#: `subject` is a map and stands beside this table in the loader.
IDENTITY_CONDITIONS: Final[Mapping[str, IdentityCondition]] = {
    "cn": IdentityCondition(TextPattern, f"subject:{oids.CN}", TextRegex, "Common name of the subject."),
    "ou": IdentityCondition(TextPattern, f"subject:{oids.OU}", TextRegex, "Organizational unit; any value counts."),
    "o": IdentityCondition(TextPattern, f"subject:{oids.O}", TextRegex, "Organization of the subject."),
    "dns_san": IdentityCondition(DnsPattern, "dns_san", TextRegex, "DNS name; `*.` is exactly one label."),
    "uri_san": IdentityCondition(UriPattern, "uri_san", TextRegex, "URI; globs in its path only."),
    "email_san": IdentityCondition(EmailPattern, "email_san", TextRegex, "Mailbox; the domain ignores case."),
    "ip_san": IdentityCondition(AddressSan, "ip_san", None, "IP address or network."),
    "fingerprint": IdentityCondition(digest_pattern, "sha256", None, "SHA-256 of the certificate, 64 hex digits."),
    "spki": IdentityCondition(digest_pattern, "spki_sha256", None, "SHA-256 of the public key, 64 hex digits."),
    "serial": IdentityCondition(serial_pattern, "serial", None, "Serial number in hex; only with an issuer."),
    "in_list": IdentityCondition(InList, "lists", None, "Name of a list that the certificate is on."),
    "eku": IdentityCondition(_oid_pattern(oids.EKU, "an extended key usage"), "eku", None, "Extended key usage."),
    "policy_oid": IdentityCondition(_oid_pattern(oids.POLICIES, "a policy"), "policy_oids", None, "A policy's OID."),
    "min_key_bits": IdentityCondition(bits_pattern, "key_bits", None, "RSA modulus bits, or what is as strong."),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A key of `request` or `when`.

    Attributes:
        block: `request` or `when`.
        argument: arguments of the message that it or its gate reads, for `haproxy-config`.
        pattern, regex, doc: as for an identity's keys; None where the loader builds the pattern from a mapping.
    """

    block: str
    argument: tuple[str, ...]
    pattern: Callable[[str], Pattern] | None
    regex: Callable[[str], Pattern] | None
    doc: str


COLUMNS: Final[Mapping[str, Column]] = {
    "path": Column("request", ("path", "method"), PathPattern, PathRegex, "Path; `/x/**` covers /x and all below it."),
    "method": Column("request", ("method",), MethodPattern, None, "Method, or `read` or `write`."),
    "host": Column("request", ("host", "sni"), HostPattern, TextRegex, "Host without port; `*.` is one label."),
    "sni": Column("request", ("sni", "host"), SniPattern, TextRegex, "Server name that TLS asked for."),
    "header": Column("request", (), None, TextRegex, "Header values by name; a header sent twice is unavailable."),
    "source": Column("when", ("src",), AddressPattern, None, "Client address or network."),
    "tls": Column("when", ("tls",), tls_pattern, None, "TLS version."),
    "time": Column("when", (), None, None, "Days and hours on the clock of a time zone."),
}


# -- what a certificate says, as attributes ---------------------------------------------------------------------

_STRENGTHS: Final = ((512, 15360), (384, 7680), (256, 3072), (224, 2048), (160, 1024))
_EDWARDS: Final = {"ED25519": 3072, "ED448": 7680}


def effective_key_bits(key_type: str, bits: int) -> int:
    """Return the RSA modulus that is as strong as the key (NIST SP 800-57 part 1, table 2)."""
    if key_type in _EDWARDS:
        return _EDWARDS[key_type]
    if key_type != "EC":
        return bits
    return next((modulus for size, modulus in _STRENGTHS if bits >= size), bits)


def _one(value: object) -> Values:
    return value if isinstance(value, Missing) else (value,)


ATTRIBUTES: Final[Mapping[str, Callable[[Certificate], Any]]] = {
    "dns_san": lambda certificate: certificate.dns_san or ABSENT,
    "uri_san": lambda certificate: certificate.uri_san or ABSENT,
    "email_san": lambda certificate: certificate.email_san or ABSENT,
    "ip_san": lambda certificate: certificate.ip_san or ABSENT,
    "sha256": lambda certificate: _one(certificate.sha256),
    "spki_sha256": lambda certificate: _one(certificate.spki_sha256),
    "serial": lambda certificate: _one(certificate.serial),
    "eku": lambda certificate: certificate.eku,
    "policy_oids": lambda certificate: certificate.policy_oids,
    "key_bits": lambda certificate: (effective_key_bits(certificate.key_type, certificate.key_bits),),
}


def bearer_values(
    attributes: frozenset[str], certificate: Certificate, issuer: str, lists: Mapping[str, bool | Missing]
) -> dict[str, Values]:
    """Return the values of *attributes*, those that a policy reads, as *certificate* has them."""
    values: dict[str, Values] = {}
    for attribute in attributes:
        kind, _, oid = attribute.partition(":")
        if kind == "subject":
            values[attribute] = certificate.subject.get(oid) or ABSENT
        elif kind == "issuer":
            values[attribute] = (issuer,)
        elif kind == "lists":
            values[attribute] = (lists,)
        else:
            values[attribute] = ATTRIBUTES[attribute](certificate)
    return values
