"""The form of a tests document (`kind: tests`): what may stand where, declared once for the reader and for editors."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from spoa.facts import ABSENT
from spoa.policy import oids
from spoa.policy.conditions import COLUMNS, digest_pattern, serial_pattern
from spoa.policy.gates import REVOCATION_REASONS
from spoa.policy.grammar import API_VERSION, IDENTITY_FIELDS, UNLESS_FIELDS
from spoa.policy.model import STATUSES
from spoa.policy.sans import packed_address
from spoa.policy.scalars import Choice, Parsed, Text, Timestamp
from spoa.policy.shapes import AnyOf, Field, ListOf, MapOf, OneOrMany, Record, document_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.facts import Missing
    from spoa.policy.reading import Schema, Shape

__all__ = ["NEGATION", "REVOCATIONS", "TESTS", "read_address", "read_request_line", "tests_schema"]

#: What stands before a key of a request in `never_allow` to mean anything but it.
NEGATION: Final = "not_"
#: What revocation may be said to say.
REVOCATIONS: Final = ("good", *REVOCATION_REASONS)

_KEYS: Final = {"rsa": "RSA", "dsa": "DSA", "ec": "EC", "ed25519": "ED25519", "ed448": "ED448"}
_FIXED_BITS: Final = {"ED25519": 256, "ED448": 456}


def read_request_line(text: str) -> tuple[str, str | Missing]:
    """Return method and raw path of `METHOD /path`, the query cut off; the asterisk is a path that is absent.

    Raises:
        ValueError: there is no path.
    """
    method, _, target = text.partition(" ")
    if not method or not target:
        raise ValueError("write a request as `GET /path`, with a method and a path")
    if target == "*":
        return method, ABSENT
    # One character a byte, as the agent reads what HAProxy sends.
    return method, target.partition("?")[0].encode("utf-8", "surrogateescape").decode("latin-1")


def read_address(text: str) -> bytes:
    """Return a packed address, IPv4-mapped IPv6 as IPv4.

    Raises:
        ValueError: it is none.
    """
    try:
        return packed_address(ipaddress.ip_address(text).packed)
    except ValueError:
        raise ValueError("write an IP address such as 10.20.1.1 or 2001:db8::1") from None


def _key(text: str) -> tuple[str, int]:
    word, _, size = text.partition(":")
    key_type = _KEYS.get(word)
    bits = _FIXED_BITS.get(key_type or "")
    is_number = size.isdecimal() and size.isascii()
    if key_type is None or (is_number if bits else not is_number):
        raise ValueError("write a key as `rsa:2048`, `ec:256`, `dsa:2048`, `ed25519` or `ed448`")
    return key_type, bits or int(size)


def _oid(names: Mapping[str, str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        oid = oids.lookup(names, text)
        if oid is None:
            raise ValueError(f"write a dotted OID or one of {', '.join(names)}")
        return oid

    return read


def _some(item: Shape) -> Shape:
    """Return the shape of one value or of a list of them, which may be empty; reads as the value or a tuple."""
    return AnyOf(scalar=item, sequence=ListOf(item, min=0))


_NAME: Final = Text(r"[^\s/@][^/@\n]*", "a name without `/` and `@`", max=64)
_TITLE: Final = Text(max=200)
_TEXTS: Final = _some(Text(min=0))

_CERTIFICATE_MAP: Final = Record(
    {
        "issuer": Field(Text(max=64), required=True, doc="Issuer, as the policy names it, or `unknown`."),
        "cn": Field(_TEXTS, doc="Common names."),
        "ou": Field(_TEXTS, doc="Organizational units."),
        "o": Field(_TEXTS, doc="Organizations."),
        "subject": Field(
            MapOf(Parsed(_oid(oids.SUBJECT)), _TEXTS), doc="Subject attributes by RFC 4514 short name or OID."
        ),
        "dns_san": Field(_TEXTS, doc="DNS names."),
        "uri_san": Field(_TEXTS, doc="URIs."),
        "email_san": Field(_TEXTS, doc="Mailboxes."),
        "ip_san": Field(_some(Parsed(read_address)), doc="IP addresses."),
        "fingerprint": Field(Parsed(lambda text: digest_pattern(text).value), doc="SHA-256 of the certificate."),
        "spki": Field(Parsed(lambda text: digest_pattern(text).value), doc="SHA-256 of the public key."),
        "serial": Field(Parsed(lambda text: serial_pattern(text).value), doc="Serial number in hex."),
        "eku": Field(_some(Parsed(_oid(oids.EKU))), doc="Extended key usages; an empty list means no extension."),
        "policy_oid": Field(_some(Parsed(_oid(oids.POLICIES))), doc="Policies; an empty list means no extension."),
        "key": Field(Parsed(_key), doc="`rsa:2048`, `ec:256`, `ed25519` …; `ec:256` unless given."),
        "in_list": Field(
            _some(Text(max=64)), doc="Lists that it is on, whatever they hold; without a digest or number on no others."
        ),
    },
    noun="a certificate",
)
_CERTIFICATE_FILE: Final = Record(
    {"pem": Field(Text(r"[^\x00]+", "a path relative to this document"), required=True, doc="A certificate file.")},
    noun="a certificate file",
)

_GIVEN: Final[dict[str, Field]] = {
    "host": Field(Text(), doc="Host header; unavailable unless given."),
    "source": Field(Parsed(read_address), doc="Client address; unavailable unless given."),
    "sni": Field(Text(), doc="Server name that TLS asked for; absent unless given."),
    "tls": Field(Text(), doc="TLS version; unavailable unless given."),
    "headers": Field(MapOf(Text(), Text(min=0)), doc="Header values; any other header is unavailable."),
    "now": Field(Timestamp(), doc="When the request comes; that of the file, or the present, unless given."),
    "open": Field(OneOrMany(Text()), doc="Break-glass switches that are open."),
    "revocation": Field(Choice(REVOCATIONS), default="good", doc="What revocation says; `good` unless given."),
}
_VERDICT: Final = Choice(("allow", "deny"))
_REQUEST: Final = Parsed(read_request_line, "a request such as `GET /path`")
_TEST: Final = Record(
    {
        "name": Field(_TITLE, doc="As reports show it."),
        "cert": Field(Text(), required=True, doc="One of `certs`, or `none`."),
        "request": Field(_REQUEST, doc="`METHOD /path`; left out, the connection is judged as in TCP mode."),
        **_GIVEN,
        "expect": Field(_VERDICT, required=True, doc="The verdict."),
        "rule": Field(Text(min=0), doc="Id of the deciding rule; empty for none."),
        "reason": Field(Text(), doc="Reason code."),
        "status": Field(Choice({str(status): status for status in (200, *STATUSES)}), doc="HTTP status."),
        "route": Field(Text(min=0), doc="Backend; empty for none."),
        "shadow": Field(Choice(("deny", "")), doc="`deny` where shadow mode or a shadow rule would have denied."),
    },
    noun="a test",
)
_MATRIX: Final = Record(
    {
        "certs": Field(OneOrMany(Text()), required=True, doc="Some of `certs`, or `none`."),
        "requests": Field(OneOrMany(_REQUEST), required=True, doc="Each is sent with each of the certificates."),
        "expect": Field(
            AnyOf(scalar=_VERDICT, mapping=MapOf(Text(), _VERDICT)),
            required=True,
            doc="The verdict, for all or for each of the certificates.",
        ),
        **_GIVEN,
    },
    noun="a matrix",
)
_NEVER_KEYS: Final[dict[str, Field]] = {
    **{key: replace(field, required=False) for key, field in IDENTITY_FIELDS.items()},
    **UNLESS_FIELDS,
    **{f"{NEGATION}{key}": replace(UNLESS_FIELDS[key], doc=f"Anything but this {key}.") for key in COLUMNS},
}
_INVARIANT: Final = Record(
    {
        "name": Field(_TITLE, required=True, doc="As reports show it."),
        "never_allow": Field(
            Record(_NEVER_KEYS, at_least_one=tuple(_NEVER_KEYS), noun="never_allow"),
            required=True,
            doc="What is never allowed: keys of an identity and of a request, and `not_` before those of a request.",
        ),
        "except": Field(OneOrMany(Text()), doc="Identities; `x@switch` excepts x while the switch is open."),
    },
    noun="an invariant",
)
TESTS: Final = Record(
    {
        "apiVersion": Field(Choice((API_VERSION,)), doc="Version of the language."),
        "kind": Field(Choice(("tests",)), required=True, doc="This file holds policy tests."),
        "now": Field(Timestamp(), doc="When all requests come that say nothing else."),
        "certs": Field(
            MapOf(_NAME, AnyOf(mapping=_CERTIFICATE_MAP, keyed={"pem": _CERTIFICATE_FILE}), min=0),
            doc="Certificates by name: maps of attributes, or files.",
        ),
        "tests": Field(ListOf(_TEST, min=0), doc="Requests, and what must come out."),
        "matrix": Field(ListOf(_MATRIX, min=0), doc="Every certificate with every request."),
        "invariants": Field(ListOf(_INVARIANT, min=0), doc="What must hold for all requests, times and switches."),
    },
    noun="a tests document",
)


def tests_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a tests document."""
    return document_schema(TESTS, "spoa-authz policy tests")
