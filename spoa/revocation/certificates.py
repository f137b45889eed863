"""What revocation needs to know of a certificate, be it the one in question, its issuer or a signer of evidence."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from spoa.exceptions import CertificateError
from spoa.identity import MAX_DER_SIZE, CertificateParts, loaded, parts_from_der, read_elements
from spoa.issuers import canonical_issuer, canonical_name
from spoa.revocation.distribution import points_from_extension
from spoa.signatures import PublicKey, algorithm_from_der, is_signed

if TYPE_CHECKING:
    from spoa.issuers import CanonicalName
    from spoa.revocation.distribution import DistributionPoint
    from spoa.signatures import SignatureAlgorithm

__all__ = ["Certified"]

_MIN_RSA_EXPONENT: Final = 3  # RFC 8017 section 3.1: with 1, a message is its own signature


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """A certificate, read as far as revocation goes. Nothing here is verified.

    Attributes:
        der: the certificate.
        sha256: its fingerprint.
        parts: its elements as they were signed.
        serial: the serial number, possibly negative or zero.
        subject, issuer: the names, folded.
        key: the public key.
        key_bits: the content of subjectPublicKey, as OCSP hashes it.
        spki_sha256: SHA-256 of the SubjectPublicKeyInfo.
        not_before, not_after: validity, inclusive, seconds since the epoch.
        is_ca: basicConstraints says CA:TRUE.
        is_version_3: it could have said so.
        may_sign_certificates, may_sign_crls, may_sign_data: keyUsage has the bit, or there is no keyUsage.
        may_answer_ocsp: extendedKeyUsage names id-kp-OCSPSigning itself.
        has_nocheck: it carries ocsp-nocheck.
        has_unknown_critical: a critical extension is not known here.
        points: its CRL distribution points.
        ocsp_urls: where its authorityInfoAccess says that its status can be asked.
    """

    der: bytes
    sha256: bytes
    parts: CertificateParts
    serial: int
    subject: CanonicalName
    issuer: CanonicalName
    key: PublicKey
    key_bits: bytes
    spki_sha256: bytes
    not_before: int
    not_after: int
    is_ca: bool
    is_version_3: bool
    may_sign_certificates: bool
    may_sign_crls: bool
    may_sign_data: bool
    may_answer_ocsp: bool
    has_nocheck: bool
    has_unknown_critical: bool
    points: tuple[DistributionPoint, ...]
    ocsp_urls: tuple[str, ...]
    signature_algorithm: SignatureAlgorithm | None

    @classmethod
    def from_der(cls, der: bytes) -> Certified:
        """Read a certificate of at most 64 KiB.

        Raises:
            CertificateError: it can't be read; stage `size`, `trailing` or `load`.
        """
        if len(der) > MAX_DER_SIZE:
            raise CertificateError("size", f"{len(der)} bytes, more than {MAX_DER_SIZE}")
        parts = parts_from_der(der)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _read(der, parts)
        except Exception as error:  # the parser's failures share no class
            raise CertificateError("load", f"{type(error).__name__}: {error}") from error

    @property
    def is_self_issued(self) -> bool:
        """Issuer and subject are one name."""
        return self.subject == self.issuer

    def is_valid_at(self, now: int) -> bool:
        """Tell whether `now` lies within the validity."""
        return self.not_before <= now <= self.not_after

    def is_issued_by(self, issuer: Certified) -> bool:
        """Tell whether `issuer` has the name that this certificate gives, and the key that signed it.

        Costs one signature check, 0.1 to 0.3 ms. Whether `issuer` may issue at all is not asked.
        """
        parts = self.parts
        return (
            self.issuer == issuer.subject
            and self.signature_algorithm is not None
            and is_signed(issuer.key, self.signature_algorithm, parts.signature, parts.tbs)
        )


def _read(der: bytes, parts: CertificateParts) -> Certified:
    certificate = loaded(der)
    key = certificate.public_key()
    if not isinstance(key, PublicKey) or (
        isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e < _MIN_RSA_EXPONENT
    ):
        raise ValueError("a key that signs nothing")
    critical = [item.value for item in certificate.extensions if item.critical]
    extensions = {type(item.value): item.value for item in certificate.extensions}
    if extensions and certificate.version is not x509.Version.v3:
        raise ValueError("extensions in a certificate of version 1")
    constraints = extensions.get(x509.BasicConstraints)
    usage = extensions.get(x509.KeyUsage)
    purposes = extensions.get(x509.ExtendedKeyUsage)
    points = extensions.get(x509.CRLDistributionPoints)
    return Certified(
        der=der,
        sha256=hashlib.sha256(der).digest(),
        parts=parts,
        serial=certificate.serial_number,
        subject=canonical_name(parts.subject),
        issuer=canonical_issuer(parts.issuer),
        key=key,
        key_bits=_key_bits(parts.spki),
        spki_sha256=hashlib.sha256(parts.spki).digest(),
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        is_ca=isinstance(constraints, x509.BasicConstraints) and constraints.ca,
        is_version_3=certificate.version is x509.Version.v3,
        may_sign_certificates=not isinstance(usage, x509.KeyUsage) or usage.key_cert_sign,
        may_sign_crls=not isinstance(usage, x509.KeyUsage) or usage.crl_sign,
        may_sign_data=not isinstance(usage, x509.KeyUsage) or usage.digital_signature,
        may_answer_ocsp=isinstance(purposes, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.OCSP_SIGNING in purposes,
        has_nocheck=x509.OCSPNoCheck in extensions,
        has_unknown_critical=any(isinstance(value, x509.UnrecognizedExtension) for value in critical),
        points=points_from_extension(points) if isinstance(points, x509.CRLDistributionPoints) else (),
        ocsp_urls=_ocsp_urls(extensions.get(x509.AuthorityInformationAccess)),
        signature_algorithm=_algorithm(parts),
    )


def _ocsp_urls(access: x509.ExtensionType | None) -> tuple[str, ...]:
    if not isinstance(access, x509.AuthorityInformationAccess):
        return ()
    return tuple(
        one.access_location.value
        for one in access
        if one.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )


def _algorithm(parts: CertificateParts) -> SignatureAlgorithm | None:
    # RFC 5280 section 4.1.1.2: the two fields "MUST contain the same algorithm identifier".
    if parts.signature_algorithm != parts.tbs_signature_algorithm:
        return None
    try:
        return algorithm_from_der(parts.signature_algorithm)
    except ValueError:
        return None


def _key_bits(spki: bytes) -> bytes:
    ((_, _, fields),) = read_elements(spki)
    _, (_, _, bits) = read_elements(fields)
    return bits[1:]
