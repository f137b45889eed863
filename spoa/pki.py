"""A throw-away certificate authority: for the demo, for tests and for trying things; never for production.

It makes what a judge of certificates has to cope with, the odd ones included, and keeps no secret well: keys are not
encrypted, serial numbers are drawn on the spot, and nobody approves anything. All times are seconds since the epoch.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "CLIENT_AUTH",
    "DIGESTS",
    "KEY_KINDS",
    "REASONS",
    "SERVER_AUTH",
    "CertificateAuthority",
    "Issued",
    "PrivateKey",
    "Revocation",
    "Template",
    "digest_for",
    "moment",
    "new_key",
]

PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)

CLIENT_AUTH: Final = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
SERVER_AUTH: Final = ExtendedKeyUsageOID.SERVER_AUTH.dotted_string
_RSA_EXPONENT: Final = 65537

# What `--key` and `Template.key` accept, and how such a key is made.
KEY_KINDS: Final[dict[str, Callable[[], PrivateKey]]] = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec:521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ec:224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "rsa": lambda: rsa.generate_private_key(_RSA_EXPONENT, 2048),
    "rsa:1024": lambda: rsa.generate_private_key(_RSA_EXPONENT, 1024),  # noqa: S505 - to show that it is refused
    "rsa:2048": lambda: rsa.generate_private_key(_RSA_EXPONENT, 2048),
    "rsa:3072": lambda: rsa.generate_private_key(_RSA_EXPONENT, 3072),
    "rsa:4096": lambda: rsa.generate_private_key(_RSA_EXPONENT, 4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "dsa:2048": lambda: dsa.generate_private_key(2048),
}

# Why a certificate is revoked, in the words of RFC 5280 section 5.3.1; removeFromCRL belongs into delta CRLs only.
REASONS: Final = tuple(flag.value for flag in x509.ReasonFlags if flag is not x509.ReasonFlags.remove_from_crl)

Digest: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
DIGESTS: Final[dict[str, Digest]] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


def new_key(kind: str) -> PrivateKey:
    """Make a private key.

    Raises:
        KeyError: `kind` is none of `KEY_KINDS`.
    """
    return KEY_KINDS[kind]()


def digest_for(key: PrivateKey, name: str = "sha256") -> Digest | None:
    """Return what a signature of `key` hashes with: one of `DIGESTS`, or None for EdDSA, which has its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else DIGESTS[name]


def moment(seconds: int) -> dt.datetime:
    """Return the UTC time that stands `seconds` after the epoch."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What a certificate shall say (the idea of RFC 4211's CertTemplate).

    Attributes:
        not_before, not_after: validity, inclusive.
        o, ou, cn: attributes of the subject, in this order; each may have any number of values.
        attributes: further ones, (dotted OID, value), after those.
        dns, uri, email, ip: subject alternative names; without any, there is no such extension.
        eku: dotted OIDs of the extended key usage; `None` leaves the extension out.
        policies: dotted OIDs of certificate policies; without any, there is no such extension.
        is_ca: a CA, which may sign certificates and CRLs.
        path_length: how many CAs may follow below a CA; `None` is any number.
        has_key_usage, digital_signature: whether there is a keyUsage at all, and that bit of it.
        ocsp_url, crl_url: where its revocation can be asked; empty leaves the extension out.
        extensions: any others, (value, critical), put in as they are.
        key: one of `KEY_KINDS`.
        serial: the serial number; `None` draws one.
        digest: what the signature hashes with, one of `DIGESTS`; EdDSA signers ignore it.
        has_pss_signature: an RSA signer uses RSASSA-PSS.
    """

    not_before: int
    not_after: int
    o: tuple[str, ...] = ()
    ou: tuple[str, ...] = ()
    cn: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    eku: tuple[str, ...] | None = (CLIENT_AUTH,)
    policies: tuple[str, ...] = ()
    is_ca: bool = False
    path_length: int | None = None
    has_key_usage: bool = True
    digital_signature: bool = True
    ocsp_url: str = ""
    crl_url: str = ""
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    key: str = "ec"
    serial: int | None = None
    digest: str = "sha256"
    has_pss_signature: bool = False

    def subject(self) -> x509.Name:
        """Return the subject's name."""
        named = ((NameOID.ORGANIZATION_NAME, self.o), (NameOID.ORGANIZATIONAL_UNIT_NAME, self.ou))
        attributes = [x509.NameAttribute(oid, value) for oid, values in named for value in values]
        attributes += [x509.NameAttribute(NameOID.COMMON_NAME, value) for value in self.cn]
        attributes += [x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in self.attributes]
        return x509.Name(attributes)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key and the certificates above it.

    Attributes:
        chain: the issuer's certificate, then its issuer's, up to and with the root.
    """

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """The chain without the root, as a TLS peer sends it."""
        return tuple(certificate for certificate in self.chain if certificate.issuer != certificate.subject)

    @property
    def chain_pem(self) -> bytes:
        """Certificate and intermediates as PEM."""
        return b"".join(c.public_bytes(Encoding.PEM) for c in (self.certificate, *self.intermediates))

    @property
    def bundle_pem(self) -> bytes:
        """Certificate, intermediates and key in one PEM, as HAProxy's `crt` and curl's `--cert` take it."""
        return self.chain_pem + self.key_pem

    def p12(self, password: str, name: str = "") -> bytes:
        """Return a PKCS#12 bundle for browsers and Windows."""
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return pkcs12.serialize_key_and_certificates(
            name.encode() or None, self.key, self.certificate, self.intermediates, encryption
        )


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of a CRL; `reason` is an RFC 5280 name (`keyCompromise`), or empty for none given."""

    serial: int
    at: int
    reason: str = ""


class CertificateAuthority:
    """A CA certificate with its key, and what it has revoked.

    Attributes:
        issued: the CA's own certificate, key and chain.
        serials: serial numbers of what it issued.
        revocations: serial number → revocation.
    """

    def __init__(self, issued: Issued) -> None:
        self.issued = issued
        self.serials: set[int] = set()
        self.revocations: dict[int, Revocation] = {}

    @classmethod
    def root(cls, template: Template) -> CertificateAuthority:
        """Make a self-signed CA; the template's `is_ca` decides whether it says so."""
        key = new_key(template.key)
        name = template.subject()
        builder = _builder(template, key, name, key)
        return cls(Issued(_signed(builder, key, template), key, ()))

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """This CA's certificate and those above it."""
        return (self.issued.certificate, *self.issued.chain)

    def issue(self, template: Template, key: PrivateKey | None = None) -> Issued:
        """Certify what the template says, for a new key or for the one given."""
        key = key or new_key(template.key)
        builder = _builder(template, key, self.issued.certificate.subject, self.issued.key)
        certificate = _signed(builder, self.issued.key, template)
        self.serials.add(certificate.serial_number)
        return Issued(certificate, key, self.chain)

    def intermediate(self, template: Template) -> CertificateAuthority:
        """Make a CA below this one; the template's `is_ca` decides whether it says so."""
        return CertificateAuthority(self.issue(template))

    def revoke(self, serial: int, at: int, reason: str = "") -> None:
        """Put a serial number on the list, from `at` on.

        Raises:
            ValueError: `reason` is not one of RFC 5280 section 5.3.1.
        """
        if reason:
            x509.ReasonFlags(reason)
        self.revocations[serial] = Revocation(serial, at, reason)

    def crl(self, *, this_update: int, next_update: int, number: int) -> bytes:
        """Sign a complete version 2 CRL (RFC 5280 section 5) and return it as DER."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.issued.certificate.subject)
            .last_update(moment(this_update))
            .next_update(moment(next_update))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(_authority_key_identifier(self.issued.key), critical=False)
        )
        for revocation in self.revocations.values():
            entry = x509.RevokedCertificateBuilder().serial_number(revocation.serial)
            entry = entry.revocation_date(moment(revocation.at))
            if revocation.reason:
                entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags(revocation.reason)), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.issued.key, digest_for(self.issued.key)).public_bytes(Encoding.DER)


def _builder(template: Template, key: PrivateKey, issuer: x509.Name, issuer_key: PrivateKey) -> x509.CertificateBuilder:
    serial = x509.random_serial_number() if template.serial is None else template.serial
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject())
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(moment(template.not_before))
        .not_valid_after(moment(template.not_after))
        .add_extension(x509.BasicConstraints(template.is_ca, template.path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_key_identifier(issuer_key), critical=False)
    )
    for extension, is_critical in (*_chosen_extensions(template), *template.extensions):
        builder = builder.add_extension(extension, critical=is_critical)
    return builder


def _chosen_extensions(template: Template) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if template.has_key_usage:
        yield _key_usage(template), True
    if template.eku is not None and not template.is_ca:
        yield x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in template.eku]), False
    names = _general_names(template)
    if names:
        # RFC 5280 section 4.1.2.6: critical where the subject is empty.
        yield x509.SubjectAlternativeName(names), not template.subject().rdns
    if template.policies:
        policies = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in template.policies]
        yield x509.CertificatePolicies(policies), False
    if template.ocsp_url:
        url = x509.UniformResourceIdentifier(template.ocsp_url)
        yield x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url)]), False
    if template.crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(template.crl_url)], None, None, None)
        yield x509.CRLDistributionPoints([point]), False


def _key_usage(template: Template) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=template.digital_signature,
        # A keyUsage without any bit is not allowed, so what may not sign may agree on keys.
        key_agreement=not template.digital_signature and not template.is_ca,
        key_cert_sign=template.is_ca,
        crl_sign=template.is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(template: Template) -> Sequence[x509.GeneralName]:
    return [
        *(x509.DNSName(value) for value in template.dns),
        *(x509.UniformResourceIdentifier(value) for value in template.uri),
        *(x509.RFC822Name(value) for value in template.email),
        *(x509.IPAddress(ipaddress.ip_address(value)) for value in template.ip),
    ]


def _authority_key_identifier(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _signed(builder: x509.CertificateBuilder, key: PrivateKey, template: Template) -> x509.Certificate:
    pss = None
    if template.has_pss_signature and isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(mgf=padding.MGF1(DIGESTS[template.digest]), salt_length=padding.PSS.DIGEST_LENGTH)
    return builder.sign(key, digest_for(key, template.digest), rsa_padding=pss)
