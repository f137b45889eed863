"""Names of object identifiers: attribute types (RFC 4514 section 3, RFC 4519), key purposes (RFC 5280), policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ANY_EKU", "CLIENT_AUTH", "CN", "EKU", "OU", "POLICIES", "SUBJECT", "O", "lookup", "name_of"]

CN: Final = "2.5.4.3"
OU: Final = "2.5.4.11"
O: Final = "2.5.4.10"  # noqa: E741 -- the attribute type's name in RFC 4514
CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
ANY_EKU: Final = "2.5.29.37.0"

_DOTTED: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")

SUBJECT: Final[Mapping[str, str]] = {
    "CN": CN,
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "O": O,
    "OU": OU,
    "C": "2.5.4.6",
    "STREET": "2.5.4.9",
    "DC": "0.9.2342.19200300.100.1.25",
    "UID": "0.9.2342.19200300.100.1.1",
    "SN": "2.5.4.4",
    "GN": "2.5.4.42",
    "T": "2.5.4.12",
    "title": "2.5.4.12",
    "givenName": "2.5.4.42",
    "initials": "2.5.4.43",
    "serialNumber": "2.5.4.5",
    "businessCategory": "2.5.4.15",
    "description": "2.5.4.13",
    "postalCode": "2.5.4.17",
    "pseudonym": "2.5.4.65",
    "dnQualifier": "2.5.4.46",
    "organizationIdentifier": "2.5.4.97",
    "emailAddress": "1.2.840.113549.1.9.1",
}

EKU: Final[Mapping[str, str]] = {
    "clientAuth": CLIENT_AUTH,
    "serverAuth": "1.3.6.1.5.5.7.3.1",
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "timeStamping": "1.3.6.1.5.5.7.3.8",
    "OCSPSigning": "1.3.6.1.5.5.7.3.9",
    "ipsecIKE": "1.3.6.1.5.5.7.3.17",
    "msSmartcardLogin": "1.3.6.1.4.1.311.20.2.2",
    "pkinitClientAuth": "1.3.6.1.5.2.3.4",
    "anyExtendedKeyUsage": ANY_EKU,
}

POLICIES: Final[Mapping[str, str]] = {"anyPolicy": "2.5.29.32.0"}


def lookup(names: Mapping[str, str], text: str) -> str | None:
    """Return the dotted form of *text*, a dotted OID or a name in any case; None when it is neither."""
    if _DOTTED.fullmatch(text):
        return text
    return next((oid for name, oid in names.items() if name.lower() == text.lower()), None)


def name_of(oid: str) -> str:
    """Return the short name of an attribute type of subjects, or the dotted OID where it has none."""
    return next((name for name, known in SUBJECT.items() if known == oid), oid)
