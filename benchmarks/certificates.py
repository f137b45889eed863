"""Client certificates for measuring: thousands of them, made once and kept.

All share one key, since only what they say matters here; it is kept, for clients that do
handshakes. A *pack* holds many in one file: for each, four bytes of
length (big endian) and its DER.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["UNITS", "Certificates", "make_certificates", "read_pack", "serial_of", "unit_of"]

#: Organizational units; certificate k is of unit k modulo this.
UNITS: Final = 20
_YEARS: Final = timedelta(days=3650)
_LENGTH: Final = struct.Struct(">I")


def unit_of(number: int) -> str:
    """Return the organizational unit of certificate *number*."""
    return f"unit-{number % UNITS:02d}"


def serial_of(number: int) -> int:
    """Return the serial number of certificate *number*."""
    return 0x10000000000000000000 + number * 7919


@dataclass(frozen=True, slots=True)
class Certificates:
    """What was made, by path.

    Attributes:
        ca: the issuer, PEM.
        usual: a pack of those that come again and again; fresh: one of those that are sent once.
        count, fresh_count: how many are in each.
    """

    ca: Path
    usual: Path
    fresh: Path
    count: int
    fresh_count: int

    @property
    def key(self) -> Path:
        """The key of all clients, PEM."""
        return self.ca.with_name("key.pem")

    @property
    def ca_key(self) -> Path:
        """The issuer's key, PEM."""
        return self.ca.with_name("ca-key.pem")

    def fingerprints(self, pack: Path) -> list[str]:
        """Return the SHA-256 of each certificate of a pack, in hex."""
        return [hashlib.sha256(der).hexdigest() for der in read_pack(pack)]


def make_certificates(directory: Path, count: int, fresh: int) -> Certificates:
    """Make an issuer and two packs in *directory*, unless they are there already.

    Args:
        directory: where they are kept; a subdirectory for each pair of numbers.
        count: of the certificates that come again.
        fresh: of those that are sent once.
    """
    home = directory / f"certificates-{count}-{fresh}"
    made = Certificates(home / "ca.pem", home / "usual.pack", home / "fresh.pack", count, fresh)
    if made.ca.exists() and made.key.exists():
        return made
    home.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    client_key = ec.generate_private_key(ec.SECP256R1())
    key = client_key.public_key()
    for file, private in ((made.ca_key, ca_key), (made.key, client_key)):
        file.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    ca = _sign(_name("Bench Clients CA"), ca_key.public_key(), ca_key, 1, _ca_extensions(ca_key.public_key()))
    usual = (_client(ca_key, key, number) for number in range(count))
    made.usual.write_bytes(b"".join(_LENGTH.pack(len(der)) + der for der in usual))
    once = (_client(ca_key, key, number) for number in range(count, count + fresh))
    made.fresh.write_bytes(b"".join(_LENGTH.pack(len(der)) + der for der in once))
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))  # last: it says that all is there
    return made


def read_pack(pack: Path) -> Iterator[bytes]:
    content = pack.read_bytes()
    position = 0
    while position < len(content):
        (length,) = _LENGTH.unpack_from(content, position)
        position += _LENGTH.size + length
        yield content[position - length : position]


def _name(common_name: str, unit: str = "PKI") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Niedersachsen"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Hannover"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Industries International Ltd"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    ca_key: ec.EllipticCurvePrivateKey,
    serial: int,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    builder = x509.CertificateBuilder(
        issuer_name=_name("Bench Clients CA"),
        subject_name=subject,
        public_key=key,
        serial_number=serial,
        not_valid_before=today - timedelta(days=1),
        not_valid_after=today + _YEARS,
        extensions=[x509.Extension(value.oid, critical, value) for value, critical in extensions],
    )
    return builder.sign(ca_key, hashes.SHA256())


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _ca_extensions(key: ec.EllipticCurvePublicKey) -> list[tuple[x509.ExtensionType, bool]]:
    return [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (_key_usage(is_ca=True), True),
    ]


def _client(ca_key: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePublicKey, number: int) -> bytes:
    """Return a certificate of some 1.1 kB, with what a company's own CA usually puts in."""
    unit = unit_of(number)
    common_name = f"client-{number:05d}.{unit}.example.test"
    links = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(f"http://{place}.pki.example.test/clients-1"))
        for method, place in (
            (AuthorityInformationAccessOID.OCSP, "ocsp"),
            (AuthorityInformationAccessOID.CA_ISSUERS, "aia"),
        )
    ]
    crl = x509.DistributionPoint(
        [x509.UniformResourceIdentifier("http://crl.pki.example.test/clients-1.crl")], None, None, None
    )
    practice = x509.PolicyInformation(
        x509.ObjectIdentifier("1.3.6.1.4.1.55555.1.2.3"), ["https://pki.example.test/certification-practice"]
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
        (_key_usage(is_ca=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (
            x509.SubjectAlternativeName(
                [
                    x509.DNSName(common_name),
                    x509.UniformResourceIdentifier(f"spiffe://example.test/ns/{unit}/sa/client-{number:05d}"),
                    x509.RFC822Name(f"{unit}+{number}@example.test"),
                ]
            ),
            False,
        ),
        (x509.AuthorityInformationAccess(links), False),
        (x509.CRLDistributionPoints([crl]), False),
        (x509.CertificatePolicies([practice]), False),
    ]
    return _sign(_name(common_name, unit), key, ca_key, serial_of(number), extensions).public_bytes(
        serialization.Encoding.DER
    )
