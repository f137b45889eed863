"""Names of object identifiers."""

from __future__ import annotations

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spoa.policy import oids


@pytest.mark.parametrize(
    ("name", "oid"),
    [
        ("CN", NameOID.COMMON_NAME),
        ("cn", NameOID.COMMON_NAME),
        ("L", NameOID.LOCALITY_NAME),
        ("ST", NameOID.STATE_OR_PROVINCE_NAME),
        ("O", NameOID.ORGANIZATION_NAME),
        ("OU", NameOID.ORGANIZATIONAL_UNIT_NAME),
        ("C", NameOID.COUNTRY_NAME),
        ("STREET", NameOID.STREET_ADDRESS),
        ("DC", NameOID.DOMAIN_COMPONENT),
        ("UID", NameOID.USER_ID),
        ("SN", NameOID.SURNAME),
        ("GN", NameOID.GIVEN_NAME),
        ("title", NameOID.TITLE),
        ("initials", NameOID.INITIALS),
        ("serialNumber", NameOID.SERIAL_NUMBER),
        ("businessCategory", NameOID.BUSINESS_CATEGORY),
        ("postalCode", NameOID.POSTAL_CODE),
        ("pseudonym", NameOID.PSEUDONYM),
        ("dnQualifier", NameOID.DN_QUALIFIER),
        ("organizationIdentifier", NameOID.ORGANIZATION_IDENTIFIER),
        ("emailAddress", NameOID.EMAIL_ADDRESS),
    ],
)
def test_attribute_types_have_their_short_names(name: str, oid: object) -> None:
    assert oids.lookup(oids.SUBJECT, name) == getattr(oid, "dotted_string", None)


@pytest.mark.parametrize(
    ("name", "oid"),
    [
        ("clientAuth", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("serverAuth", ExtendedKeyUsageOID.SERVER_AUTH),
        ("codeSigning", ExtendedKeyUsageOID.CODE_SIGNING),
        ("emailProtection", ExtendedKeyUsageOID.EMAIL_PROTECTION),
        ("timeStamping", ExtendedKeyUsageOID.TIME_STAMPING),
        ("OCSPSigning", ExtendedKeyUsageOID.OCSP_SIGNING),
        ("ipsecIKE", ExtendedKeyUsageOID.IPSEC_IKE),
        ("msSmartcardLogin", ExtendedKeyUsageOID.SMARTCARD_LOGON),
        ("pkinitClientAuth", None),
        ("anyExtendedKeyUsage", ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
    ],
)
def test_key_purposes_have_their_names(name: str, oid: object) -> None:
    assert oids.lookup(oids.EKU, name) == getattr(oid, "dotted_string", "1.3.6.1.5.2.3.4")


def test_a_dotted_oid_stands_for_itself() -> None:
    assert oids.lookup(oids.EKU, "1.2.840.113549") == "1.2.840.113549"
    assert oids.lookup(oids.POLICIES, "anyPolicy") == "2.5.29.32.0"


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "3.1", "1.02", "1..2", "1.2.", "clientauth ", "x.y", "1.2\n"])
def test_what_is_neither_a_name_nor_an_oid_is_none(text: str) -> None:
    assert oids.lookup(oids.EKU, text) is None
