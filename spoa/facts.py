"""All that a judgement may look at: the request, and what its certificate says.

Every attribute is a value, `ABSENT` (we looked, and it is not there) or `UNAVAILABLE` (we could not look). The
difference carries the safety of the whole product: what takes access away also matches the unavailable, what gives
access never does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ABSENT", "UNAVAILABLE", "Absent", "Certificate", "Missing", "Request", "Unavailable"]


class Missing(enum.Enum):
    """Why there is no value."""

    ABSENT = "absent"
    UNAVAILABLE = "unavailable"

    def __repr__(self) -> str:
        return self.name


ABSENT: Final = Missing.ABSENT
UNAVAILABLE: Final = Missing.UNAVAILABLE
Absent: TypeAlias = Literal[Missing.ABSENT]
Unavailable: TypeAlias = Literal[Missing.UNAVAILABLE]


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """What a client certificate says, read once; nothing here is verified (that is the issuer's part).

    Attributes:
        sha256: SHA-256 of the DER, 32 bytes.
        sha1: SHA-1 of the DER, 20 bytes.
        spki_sha256: SHA-256 of the DER SubjectPublicKeyInfo, 32 bytes.
        serial: the serial number; may be negative or zero, since OpenSSL lets those pass.
        subject: dotted OID → values in order of appearance; a type that is not there is absent.
        dns_san, uri_san, email_san: subject alternative names as they stand, by type; empty when absent.
        ip_san: packed addresses, 4 or 16 bytes.
        eku: dotted OIDs of the extended key usage, or `ABSENT` without the extension.
        policy_oids: dotted OIDs of the certificate policies, or `ABSENT`.
        is_ca: basicConstraints says CA:TRUE.
        has_digital_signature: keyUsage has digitalSignature, or there is no keyUsage.
        key_type: `RSA`, `DSA`, `EC`, `ED25519` or `ED448`.
        key_bits: size of the modulus or of the curve's field.
        signature_hash: `sha256`, `sha1`, `md5`, …; empty for EdDSA, which has none of its own.
        not_before, not_after: validity, inclusive, seconds since the epoch (RFC 5280 section 4.1.2.5).
        issuer_text: the issuer's name for logs (RFC 4514); never matched.
    """

    sha256: bytes | Missing
    sha1: bytes | Missing
    spki_sha256: bytes | Missing
    serial: int | Missing
    subject: Mapping[str, tuple[str, ...]]
    dns_san: tuple[str, ...]
    uri_san: tuple[str, ...]
    email_san: tuple[str, ...]
    ip_san: tuple[bytes, ...]
    eku: tuple[str, ...] | Missing
    policy_oids: tuple[str, ...] | Missing
    is_ca: bool
    has_digital_signature: bool
    key_type: str
    key_bits: int
    signature_hash: str
    not_before: int
    not_after: int
    issuer_text: str = ""
    subject_text: str = ""


@dataclass(slots=True)
class Request:
    """One request as HAProxy described it; the defaults are those of a message that sent nothing.

    A plain mutable class: it is made for each request, and freezing it would cost five times as much.

    Attributes:
        cert: the client certificate's DER; `ABSENT` is SPOP NULL; `UNAVAILABLE` was not in the message.
        used: HAProxy's `ssl_c_used`.
        verify: HAProxy's `ssl_c_verify`: 0 or an OpenSSL X509_V_ERR number.
        resumed: the TLS session was resumed.
        source: packed address, 4 bytes for IPv4 and IPv4-mapped IPv6, else 16.
        method: as sent; `UNAVAILABLE` in TCP mode.
        path: the raw path without the query, one character a byte (latin-1); `ABSENT` is NULL.
        host: as sent.
        sni: as sent; `ABSENT` when the client sent none.
        tls: `TLSv1.2`, `TLSv1.3`, …
        headers: lower-case name → value as text; a name that is not there is unavailable.
        id: HAProxy's unique id; only logged.
        malformed: why the message could not be read as the contract demands; empty when it could.
        line: how lines of the decision log tell of it; empty until one does.
    """

    cert: bytes | Missing = UNAVAILABLE
    used: bool | Unavailable = UNAVAILABLE
    verify: int | Unavailable = UNAVAILABLE
    resumed: bool = False
    source: bytes | Unavailable = UNAVAILABLE
    method: str | Unavailable = UNAVAILABLE
    path: str | Missing = UNAVAILABLE
    host: str | Unavailable = UNAVAILABLE
    sni: str | Missing = UNAVAILABLE
    tls: str | Unavailable = UNAVAILABLE
    headers: dict[str, str | Missing] = field(default_factory=dict)
    id: str = ""
    malformed: str = ""
    line: str = field(default="", init=False, repr=False, compare=False)
